"""Lines in order, however many: those that are too many for the memory wait in a temporary file.

The algorithm is the external merge sort.
"""

from __future__ import annotations

from contextlib import ExitStack
from heapq import merge
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import IO, Self

IN_MEMORY: Final = 32 * 1024 * 1024
"""Bytes of lines that are kept in memory; with what Python adds, some 50 MB."""


class SortedLines:
    """Takes lines, and yields them in order. A line has no line break. Leaving the block deletes the files."""

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._most = in_memory
        self._held: list[bytes] = []
        self._size = 0
        self._runs: list[IO[bytes]] = []
        self._files = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._files.close()

    def add(self, lines: Iterable[bytes]) -> None:
        """Take lines, in any order.

        Raises:
            OSError: they have to be written to a file, and cannot be.
        """
        before = len(self._held)
        self._held.extend(lines)
        self._size += sum(map(len, self._held[before:]))
        if self._size > self._most:
            self._write()

    def _write(self) -> None:
        run = self._files.enter_context(TemporaryFile(prefix="ach-sorted-"))  # noqa: SIM115 - the stack closes it
        self._held.sort()
        run.writelines(line + b"\n" for line in self._held)
        run.flush()
        self._runs.append(run)
        self._held, self._size = [], 0

    def __iter__(self) -> Iterator[bytes]:
        """Yield all lines in order, once.

        Raises:
            OSError: a file cannot be read.
        """
        return merge(sorted(self._held), *map(_lines, self._runs))


def _lines(run: IO[bytes]) -> Iterator[bytes]:
    run.seek(0)
    return (line[:-1] for line in run)
