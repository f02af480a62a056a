"""Recorded streams: JSON Lines files of events, plain or compressed, and standard input."""

from __future__ import annotations

import io
import sys
import zlib
from codecs import BOM_UTF8
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

STDIN: Final = "-"
PIECE_BYTES: Final = 120 * 1024
"""Of lines that are read together, about."""
_COMPRESSION: Final = 10
"""Bytes of JSON Lines for one compressed byte, about."""
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


class RecordingError(ValueError):
    """A recording cannot be read; the message names it."""


@contextmanager
def _opened(name: str) -> Generator[BinaryIO]:
    if name == STDIN:
        with _decompressed(cast("io.BufferedReader", sys.stdin.buffer)) as plain:
            yield plain
        return
    with Path(name).open("rb") as file, _decompressed(file) as plain:
        yield plain


@contextmanager
def _decompressed(file: io.BufferedReader) -> Generator[BinaryIO]:
    """Yield what a file holds, without a byte order mark."""
    # The format is in the first bytes; the name may say anything.
    head = file.peek(len(_ZSTD))
    plain: io.BufferedReader = file
    with ExitStack() as opened:
        if head.startswith(_GZIP):
            import gzip  # noqa: PLC0415 - most recordings of an author are plain and small

            plain = cast("io.BufferedReader", opened.enter_context(gzip.open(file)))
        elif head.startswith(_ZSTD):
            from worker.zstd_frames import Frames  # noqa: PLC0415 - the same

            plain = io.BufferedReader(Frames(file))
        if plain.peek(len(BOM_UTF8)).startswith(BOM_UTF8):
            plain.read(len(BOM_UTF8))
        yield plain


def pieces(names: Iterable[str]) -> Iterator[list[bytes]]:
    """Yield the lines of recordings in their order, many together, blank ones left out.

    Raises:
        RecordingError: a file is missing, cannot be read, or ends in the middle of its compression.
    """
    for name in names:
        with _readable(name) as file:
            while some := file.readlines(PIECE_BYTES):
                yield [text for line in some if (text := line.strip())]


def lines(names: Iterable[str]) -> Iterator[bytes]:
    """Yield the lines of recordings, one after the other, blank ones left out.

    Raises:
        RecordingError: as in `pieces`.
    """
    for name in names:
        with _readable(name) as file:
            for line in file:
                text = line.strip()
                if text:
                    yield text


def size_of(names: Iterable[str]) -> int:
    """Return about how many bytes recordings have, once they are decompressed; 0 for what is no file.

    Raises:
        RecordingError: a file cannot be read.
    """
    return sum(_size_of(Path(name)) for name in names if name != STDIN)


def _size_of(path: Path) -> int:
    if not path.is_file():  # a pipe is opened once
        return 0
    with _readable_errors(str(path)), path.open("rb") as file:
        compressed = file.read(len(_ZSTD)).startswith((_GZIP, _ZSTD))
        return path.stat().st_size * (_COMPRESSION if compressed else 1)


@contextmanager
def _readable(name: str) -> Generator[BinaryIO]:
    with _readable_errors(name), _opened(name) as file:
        yield file


@contextmanager
def _readable_errors(name: str) -> Generator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RecordingError(f"{name}: {why}") from error
