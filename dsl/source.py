"""Text and spans.

A `Source` is one rule file: a name for messages and its text. A `Span` is a half-open range of character offsets into
that text. Lines and columns are counted from 1 and computed only when a message is shown.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import NamedTuple


class Span(NamedTuple):
    """Half-open range of character offsets `[start, end)`."""

    start: int
    end: int


NOWHERE = Span(0, 0)
"""The span of what was never written, such as a default that was filled in."""


class Source:
    """One rule file: the name shown in messages, and its text."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        starts.extend(i + 1 for i, char in enumerate(self.text) if char == "\n")
        return starts

    def position(self, offset: int) -> tuple[int, int]:
        """Return (line, column) of a character offset, both counted from 1."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Return the text of line `number` (from 1) without its line break."""
        start = self._line_starts[number - 1]
        end = self._line_starts[number] if number < len(self._line_starts) else len(self.text) + 1
        return self.text[start : end - 1].rstrip("\r")


class ElementSource(Source):
    """A rule file as one element of a family sees it; `element` names it in messages: `color "desert"`.

    `var` is the name of what stands for it.
    """

    def __init__(self, whole: Source, element: str, var: str) -> None:
        super().__init__(whole.name, whole.text)
        self.whole = whole
        self.element = element
        self.var = var
