"""Hints outside of calls: what `repeat each FIELD` and `a / b` mean, in the words that the grammar has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dsl.diagnostics import Suggestion
from dsl.source import Span

if TYPE_CHECKING:
    from collections.abc import Collection

_BEFORE: Final = 80
_AFTER: Final = 60
_AGAIN: Final = r"(?:(?:each|every|for|per)\s+)*"
_UNITS: Final = "each every minute hour day week month year".split()  # noqa: SIM905 - a list of words
_OFTEN: Final = "hourly daily weekly monthly yearly yes true once always by".split()  # noqa: SIM905 - another


def clause_hint(text: str, at: int, words: Collection[str]) -> Suggestion | None:
    """Return a hint on what stands at an offset, if the grammar has the words for it."""
    before, after = text[max(0, at - _BEFORE) : at], text[at : at + _AFTER]
    if "by" in words and (found := _repeated(before, after, at)):
        return found
    return _multiplied(before, after, at) if "*" in words else None


def _repeated(before: str, after: str, at: int) -> Suggestion | None:
    """Return `repeat by FIELD` for `repeat each FIELD`."""
    field = re.match(rf"{_AGAIN}([a-z]\w*)", after)
    begun = re.search(rf"\brepeat\s+{_AGAIN}\Z", before)
    if field is None or begun is None or field[1] in (*_UNITS, *_OFTEN):
        return None
    instead = f"repeat by {field[1]}"
    hint = f"`repeat by` gives one unlock for each value of a field; write: {instead}"
    return Suggestion(hint, Span(at - len(begun[0]), at + field.end()), instead)


def _multiplied(before: str, after: str, at: int) -> Suggestion | None:
    """Return `a > 20 * b` for `a / b > 20`."""
    left = re.search(r"([a-z]\w*)\s*\Z", before)
    right = re.match(r"/\s*([a-z]\w*|\d[\d_.]*)\s*(>=|<=|>|<|!=|==|=)\s*(\d[\d_.]*)(?![\w%])", after)
    if left is None or right is None:
        return None
    instead = f"{left[1]} {right[2].replace('==', '=')} {right[3]} * {right[1]}"
    hint = f"there is no division: many quotients have no end. Multiply instead; write: {instead}"
    return Suggestion(hint, Span(at - len(left[0]), at + right.end()), instead)
