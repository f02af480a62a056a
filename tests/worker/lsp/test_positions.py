from __future__ import annotations

import pytest
from lsprotocol.types import Position, PositionEncodingKind

from dsl.source import Span
from worker.lsp.positions import Lines

TEXT = 'a "🎉é"\r\nb\rc\n\nlast'


@pytest.mark.parametrize(
    ("encoding", "columns"),
    [
        (PositionEncodingKind.Utf8, [0, 1, 2, 3, 7, 9, 10]),
        (PositionEncodingKind.Utf16, [0, 1, 2, 3, 5, 6, 7]),
        (PositionEncodingKind.Utf32, [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_columns_count_units_of_the_encoding(encoding: PositionEncodingKind, columns: list[int]) -> None:
    lines = Lines(TEXT, encoding)
    assert [lines.position(offset).character for offset in range(7)] == columns


@pytest.mark.parametrize("encoding", [*PositionEncodingKind])
def test_every_offset_comes_back(encoding: PositionEncodingKind) -> None:
    lines = Lines(TEXT, encoding)
    for offset in range(len(TEXT) + 1):
        if TEXT[offset : offset + 1] != "\n" or TEXT[offset - 1] != "\r":
            assert lines.offset(lines.position(offset)) == offset


def test_lines_end_with_any_break() -> None:
    lines = Lines(TEXT)
    starts = [TEXT.index("b"), TEXT.index("c"), TEXT.index("\n\n") + 1, TEXT.index("last")]
    assert [lines.position(offset).line for offset in starts] == [1, 2, 3, 4]


def test_what_is_outside_lies_at_the_nearer_end() -> None:
    lines = Lines(TEXT)
    assert lines.offset(Position(0, 99)) == TEXT.index("\r")
    assert lines.offset(Position(99, 0)) == len(TEXT)
    assert lines.position(-5) == Position(0, 0)
    assert lines.range(Span(len(TEXT), 999)).end == Position(4, 4)
    # In the middle of a character that counts twice: its begin.
    assert lines.offset(Position(0, 4)) == TEXT.index("🎉")
