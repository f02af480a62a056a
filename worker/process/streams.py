"""Standard streams that lose nothing.

A write into a pipe may take a part of what it is given: because a signal came in between, or because another program
that has the same pipe open has set it not to block. Python drops the rest without an error, in the first case where
PYTHONUNBUFFERED is set, in the second case always. It takes an empty input that does not block for its end.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from typing import TextIO

    from _typeshed import ReadableBuffer, WriteableBuffer

_NAMES: Final = ("stdin", "stdout", "stderr")


class _Whole(io.RawIOBase):
    """A descriptor that is waited for: until all is written, or until there is something to read."""

    def __init__(self, descriptor: int, *, reads: bool) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._reads = reads

    def fileno(self) -> int:
        """Return the descriptor; closing this object leaves it open."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._descriptor)

    def readable(self) -> bool:
        """Return whether it is an input."""
        return self._reads

    def writable(self) -> bool:
        """Return whether it is an output."""
        return not self._reads

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read as much as there is, at least one byte; return how many, 0 at the end."""
        while True:
            try:
                return os.readv(self._descriptor, [buffer])
            except BlockingIOError:
                select.select([self._descriptor], [], [])

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of it, and return how many bytes that are."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
        return size


def lose_nothing() -> None:
    """Put such streams in the place of Python's own; those that a caller has replaced are left alone."""
    for name in _NAMES:
        own: TextIO | None = getattr(sys, f"__{name}__")
        if own is not None and getattr(sys, name) is own:
            setattr(sys, name, _whole(cast("io.TextIOWrapper", own)))


def _whole(own: io.TextIOWrapper) -> io.TextIOWrapper:
    raw = _Whole(own.fileno(), reads=own.readable())
    return io.TextIOWrapper(
        cast("io.BufferedWriter", _buffered(raw, own)),
        encoding=own.encoding,
        errors=own.errors,
        newline="\n",
        line_buffering=own.line_buffering,
        write_through=own.write_through,
    )


def _buffered(raw: _Whole, own: io.TextIOWrapper) -> io.IOBase:
    if own.readable():
        return io.BufferedReader(raw)
    # PYTHONUNBUFFERED: nothing waits in memory.
    return raw if own.write_through else io.BufferedWriter(raw)
