"""Hints outside of calls: what `repeat each FIELD` and `a / b` mean, in the words that the grammar has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

_BEFORE: Final = 80
_AFTER: Final = 60


def clause_hint(text: str, at: int, words: Collection[str]) -> str | None:
    """Return a hint on what stands at an offset, if the grammar has the words for it."""
    before, after = text[max(0, at - _BEFORE) : at], text[at : at + _AFTER]
    if "by" in words and (field := _repeated(before, after)):
        return f"`repeat by` gives one unlock for each value of a field; write: repeat by {field}"
    if "*" in words and (instead := _multiplied(before, after)):
        return f"there is no division: one that is not exact has no end. Multiply instead; write: {instead}"
    return None


def _repeated(before: str, after: str) -> str | None:
    found = re.match(r"(?:(?:each|every|for|per)\s+)*([a-z]\w*)", after)
    if found is None or not re.search(r"\brepeat\s+(?:(?:each|every|for|per)\s+)*\Z", before):
        return None
    units = ("each", "every", "minute", "hour", "day", "week", "month", "year", "hourly", "daily", "weekly", "monthly")
    return None if found[1] in (*units, "yearly", "yes", "true", "once", "always") else found[1]


def _multiplied(before: str, after: str) -> str | None:
    """Return `a > 20 * b` for `a / b > 20`."""
    left = re.search(r"([a-z]\w*)\s*\Z", before)
    right = re.match(r"/\s*([a-z]\w*|\d[\d_.]*)\s*(>=|<=|>|<|!=|==|=)\s*(\d[\d_.]*)(?![\w%])", after)
    if left is None or right is None:
        return None
    return f"{left[1]} {right[2].replace('==', '=')} {right[3]} * {right[1]}"
