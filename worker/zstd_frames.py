"""Reads what zstandard has compressed: all frames of a file, to the end of the last one.

The library's own reader ends behind the first frame, and takes a file that was cut short for a whole one.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import zstandard

if TYPE_CHECKING:
    from typing import BinaryIO

    from typing_extensions import Buffer

PIECE_BYTES: Final = 4096
"""Of a compressed file that are read at once; what a hostile one makes of them is some 128 MB at the most."""


class Frames(io.RawIOBase):
    """The content of a compressed file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._rest = b""
        """Of what was read, behind the end of a frame."""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Read up to as many bytes as a buffer takes; return how many, 0 at the end.

        Raises:
            EOFError: the file ends within a frame.
            OSError: it cannot be read, or is damaged.
        """
        while not self._ready:
            data = self._rest or self._file.read(PIECE_BYTES)
            if not data:
                if self._frame is not None:
                    raise EOFError("Compressed file ended before the end of its last frame")
                return 0
            self._decompress(data)
        into = memoryview(buffer).cast("B")
        size = min(len(into), len(self._ready))
        into[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _decompress(self, data: bytes) -> None:
        frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
        try:
            self._ready = memoryview(frame.decompress(data))
        except zstandard.ZstdError as error:
            raise OSError(str(error)) from error
        self._rest = frame.unused_data if frame.eof else b""
        self._frame = None if frame.eof else frame
