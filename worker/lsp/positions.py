"""Offsets and the protocol's positions.

The language counts characters from the begin of a text. The protocol counts lines, and in a line the units of an
encoding that editor and server agree on: mostly UTF-16, in which a character outside the basic plane counts twice.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from lsprotocol.types import Position, PositionEncodingKind, Range

from dsl.source import Span

_BREAK: Final = re.compile(r"\r\n|\r|\n")
_LAST_OF_BASIC_PLANE: Final = 0xFFFF


class Lines:
    """The lines of one text, for an encoding."""

    def __init__(self, text: str, encoding: PositionEncodingKind | str = PositionEncodingKind.Utf16) -> None:
        self._text = text
        self._encoding = encoding
        self._starts = [0, *(match.end() for match in _BREAK.finditer(text))]

    def position(self, offset: int) -> Position:
        """Return where an offset lies; what is outside the text lies at its nearer end."""
        offset = min(max(offset, 0), len(self._text))
        line = bisect_right(self._starts, offset) - 1
        return Position(line, self._units(self._text[self._starts[line] : offset]))

    def range(self, span: Span) -> Range:
        """Return where a span lies."""
        return Range(self.position(span.start), self.position(max(span.start, span.end)))

    def offset(self, position: Position) -> int:
        """Return the offset of a position; what is outside a line or the text lies at its nearer end."""
        if position.line >= len(self._starts):
            return len(self._text)
        text = self._line(position.line)
        start = self._starts[position.line]
        if text.isascii():
            return start + min(position.character, len(text))
        units = 0
        for at, char in enumerate(text):
            units += self._units(char)
            if units > position.character:
                return start + at
        return start + len(text)

    def span(self, where: Range) -> Span:
        """Return the span of a range."""
        return Span(self.offset(where.start), self.offset(where.end))

    def _line(self, number: int) -> str:
        """Return a line without its break."""
        last = number + 1 == len(self._starts)
        text = self._text[self._starts[number] : None if last else self._starts[number + 1]]
        return text.rstrip("\r\n")

    def _units(self, text: str) -> int:
        if text.isascii() or self._encoding == PositionEncodingKind.Utf32:
            return len(text)
        if self._encoding == PositionEncodingKind.Utf8:
            return len(text.encode("utf-8", "surrogatepass"))
        return len(text) + sum(ord(char) > _LAST_OF_BASIC_PLANE for char in text)
