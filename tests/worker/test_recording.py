"""Recorded streams are read whole, whatever they are compressed with, or it is said that they are not."""

from __future__ import annotations

import gzip
from random import Random
from typing import TYPE_CHECKING, Final

import pytest
import zstandard

from worker.recording import RecordingError, lines, pieces

if TYPE_CHECKING:
    from pathlib import Path

BOM: Final = b"\xef\xbb\xbf"
LINES: Final = [b'{"n":"%x"}' % Random(n).getrandbits(256) for n in range(9000)]  # noqa: S311 - no secret
CONTENT: Final = b"\n".join(LINES)
HALF: Final = len(CONTENT) // 2


def read(path: Path) -> list[bytes]:
    found = [line for piece in pieces([str(path)]) for line in piece]
    assert found == [*lines([str(path)])]
    return found


def test_all_frames_of_a_file_are_read(tmp_path: Path) -> None:
    pack = zstandard.ZstdCompressor().compress
    for number, parts in enumerate([(CONTENT,), (CONTENT[:HALF], CONTENT[HALF:]), (b"", CONTENT, b"")]):
        path = tmp_path / f"{number}.zst"
        path.write_bytes(b"".join(map(pack, parts)))
        assert read(path) == LINES
    several = tmp_path / "several.gz"
    several.write_bytes(gzip.compress(CONTENT[:HALF]) + gzip.compress(CONTENT[HALF:]))
    assert read(several) == LINES


@pytest.mark.parametrize("left", [5, 1000, -1])
def test_a_file_that_is_cut_short_is_no_recording(tmp_path: Path, left: int) -> None:
    for name, pack in (("cut.zst", zstandard.compress), ("cut.gz", gzip.compress)):
        path = tmp_path / name
        path.write_bytes(pack(CONTENT)[:left])
        with pytest.raises(RecordingError, match=name):
            read(path)


def test_a_file_that_is_damaged_is_no_recording(tmp_path: Path) -> None:
    checked = zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT)
    for name, packed in (("spoilt.zst", checked), ("spoilt.gz", gzip.compress(CONTENT))):
        for at in (20, len(packed) // 2, len(packed) - 6):
            path = tmp_path / name
            path.write_bytes(packed[:at] + bytes([packed[at] ^ 0xFF]) + packed[at + 1 :])
            with pytest.raises(RecordingError, match=name):
                read(path)


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    for name, pack in (("plain", bytes), ("a.zst", zstandard.compress), ("a.gz", gzip.compress)):
        path = tmp_path / name
        path.write_bytes(pack(BOM + b"1\r\n\r\n" + BOM + b"2\r\n"))
        assert read(path) == [b"1", BOM + b"2"]
        path.write_bytes(pack(b""))
        assert read(path) == []
