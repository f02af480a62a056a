"""Lists of more elements than any rule set needs: reported, and cut before the parser takes minutes over them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dsl.parse.reading import error
from dsl.source import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ELEMENTS: Final = 100_000
"""Elements of one list."""

_OPENING: Final = re.compile(r"^list\s+[a-z]\w*\s*=\s*\[|\bfor\s+each\s+[a-z]\w*\s+in\s*\[|\bin\s*\[", re.MULTILINE)
_BODY: Final = re.compile(r'(?:[^"\[\]{}#]++|"(?:[^"\\\n]|\\.)*+"|#[^\n]*+)*+')
_ELEMENT: Final = re.compile(r'[^",#]*+(?:"(?:[^"\\\n]|\\.)*+"|#[^\n]*+|[^",#]++)*+,')
_LONG: Final = 2 * MAX_ELEMENTS
"""Characters that a list of too many elements has at least."""


def cut(text: str) -> str:
    """Return a text in which lists that are too long have their first element alone, with all else in its place."""
    if len(text) < _LONG:
        return text
    for start, end in list(_too_long(text)):
        first = _ELEMENT.match(text, start, end)
        if first is not None:
            span = Span(start, min(end, start + 1))
            hint = "keep such data in the payload: a field that says what the rule wants to know"
            error(
                "ACH446", span, f"a list has at most {MAX_ELEMENTS:,} elements; the rest of this one was not read", hint
            )
            text = text[: first.end()] + re.sub(r"[^\n]+", _spaces, text[first.end() : end]) + text[end:]
    return text


def _spaces(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _too_long(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the elements of each list begin and end that has too many."""
    for opening in _OPENING.finditer(text):
        start = opening.end()
        end = _end(text, start)
        if end - start >= _LONG and _elements(text, start, end) > MAX_ELEMENTS:
            yield start, end


def _end(text: str, start: int) -> int:
    body = _BODY.match(text, start)
    return start if body is None else body.end()


def _elements(text: str, start: int, end: int) -> int:
    if text.count(",", start, end) < MAX_ELEMENTS:
        return 0
    return 1 + sum(1 for _ in _ELEMENT.finditer(text, start, end))
