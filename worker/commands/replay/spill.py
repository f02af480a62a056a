"""Bytes that wait in a temporary file, each under a key, until they are asked for again.

The file has no name, so nothing of it is left, however the process ends. Processes that are made of this one read it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self


class Extent(NamedTuple):
    """Where some bytes lie."""

    at: int
    size: int


class Spill:
    """Takes bytes, and hands them out again. Leaving the block deletes them."""

    def __init__(self) -> None:
        self._file = TemporaryFile(prefix="ach-replay-", buffering=0)  # noqa: SIM115 - closed at the end of the block
        self._end = 0
        self.extents: defaultdict[int, list[Extent]] = defaultdict(list)
        """By key, in the order in which they came."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def add(self, key: int, data: bytes) -> None:
        """Keep some bytes.

        Raises:
            OSError: there is no room for them.
        """
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self.extents[key].append(Extent(self._end, len(data)))
        self._end += len(data)

    def put(self, key: int, data: bytes) -> None:
        """Keep some bytes in the place of all that was kept under a key.

        Raises:
            OSError: there is no room for them.
        """
        self.extents[key] = []
        self.add(key, data)

    def read(self, extents: Sequence[Extent]) -> Iterator[bytes]:
        """Yield what lies somewhere.

        Raises:
            OSError: the file cannot be read.
        """
        for at, size in extents:
            yield os.pread(self._file.fileno(), size, at)
