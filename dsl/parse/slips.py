"""Slips that newcomers make, by what stands before and at the place where the reader stumbled.

Each is a pattern over one line of text: the innermost open bracket, `|`, what stands before the place, `»`, what stands
there. They only choose the hint; what is wrong is told as always.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dsl.parse.reading import Reading

_BEFORE: Final = 80
_AFTER: Final = 40
_SPACE: Final = re.compile(r"\s+")

_UNITS: Final = {"hour": "hour", "dai": "day", "week": "week", "month": "month", "year": "year"}
_CLAUSES: Final = {
    "title": ("name", "label", "headline", "display_name"),
    "about": ("description", "desc", "text", "summary", "help"),
    "when": ("if", "condition", "conditions", "criteria", "rule", "requires_events"),
    "for": ("audience", "segment", "users", "only"),
    "after": ("requires", "depends", "depends_on", "prerequisite", "needs"),
    "reward": ("rewards", "points", "xp", "gives", "grant", "prize"),
    "reveal": ("hidden", "secret", "visible", "visibility", "show"),
    "repeat": ("repeats", "repeatable", "recurring", "every", "each"),
    "active": ("start", "starts", "end", "ends", "until", "during", "valid"),
    "family": ("group", "category", "tag", "tags"),
    "settle": ("delay", "wait", "grace"),
    "tier": ("level", "levels", "tiers", "rank"),
}
_MEANT: Final = {word: clause for clause, words in _CLAUSES.items() for word in words}

_SLIPS: Final = tuple(
    (re.compile(pattern), hint)
    for pattern, hint in (
        (r"^\{\|.*\)\s*»(and|or|\|\||&&|\||&)", "conditions are combined with all(..., ...) and any(..., ...)"),
        (r"^\{\|.*\)\s*»[<>=]", "the bound stands among the arguments: count(event=lesson.completed, >= 10)"),
        (r"\bwhen »not\b", "a condition is not negated; `unless=` names what takes it back"),
        (r"\bwhen »([a-z_]+\.[a-z_.]+)", r"to count events write count(event=\1, >= 1)"),
        (r"\b(achievement|event|tier|family|scope) »\"", "names are written without quotes; `title` is for words"),
        (r"\bachievement [\w.]+ »(when|title|about|tier|reward)\b", "is the `{` missing?"),
        (r"\b(event|traits from|achievement|tier) [\w.]+ ?»\(", "a declaration stands in braces: { ... }"),
        (r"^\|.*\bevent [\w.]+ ?»$", "an event without a payload is declared with {}"),
        (r"»between\b", "write: seconds >= 5 and seconds <= 10"),
        (
            r"»(like|matches|contains|startswith|starts_with)\b",
            "strings are compared as a whole, with =, != or in [...]",
        ),
        (r"\bis »null\b", "write `is not present`"),
        (r"\bis not »null\b", "write `is present`"),
        (r"\bin »\(", 'the values stand in brackets: in ["a", "b"]'),
        (r"=\s*(\d+) »([smhdw])(ec|econd|in|inute|our|ay|eek)?s?\b", r"a duration is one word: \1\2"),
        (r"\breward »", "rewards stand in braces: reward { xp: 10 }"),
        (r"\breward \{.*»;", "a comma stands between the parts"),
        (r"^\{\|.*\breward \{[^}]*?(\"?\w+\"?) »=", r"write \1: ..."),
        (r"^\{\|.*: *\w+\??( >= \d+)?»;", "a comma stands between fields"),
        (r"\brepeat every »", "a calendar unit follows: hour, day, week, month or year"),
        (r"\bafter »\[", "names follow one another with commas: after first, second"),
        (r"\breveal »\d+%", "write: reveal at 30%"),
        (r"\bactive [\dTtZz:.+-]+ »", "a span is written FROM .. TO"),
        (
            r"^\{\|.*\bevent [\w.]+ \{.*\b(optional|nullable|null) ?»",
            "an optional field has a `?` behind its type: id: string?",
        ),
        (r"^\{\|.*\b(event|traits from) [\w.]+ \{[^}]*\b(\w+) »(string|int|decimal|bool|timestamp)\b", r"write \2: \3"),
        (r"^\{\|.*\b(event|traits from) [\w.]+ \{[^}]*: »\"(\w+)\"", r"types are written without quotes: \2"),
        (r"^\{\|.*\bevent [\w.]+ \{[^}]*»\[", "a field is bounded from below alone: >= 0"),
        (
            r"\b(event|unless)\s*=\s*»(?![=:\"'])",
            r"an event is named here, or a list: \1=[lesson.completed, quiz.passed]",
        ),
    )
)
_REPEAT: Final = re.compile(r"\brepeat »(hour|dai|week|month|year)ly\b")
_CLAUSE: Final = re.compile(r"^\{\|.*»([a-z_]+)\b")


def hint_for(reading: Reading, start: int, *, clause: bool) -> str | None:
    """Return the hint for a known slip at an offset; `clause` tells that a clause would do there."""
    text = reading.source.text
    bracket = reading.open[-1].value if reading.open else ""
    before = _SPACE.sub(" ", text[max(0, start - _BEFORE) : start])
    line = f"{bracket}|{before}»{_SPACE.sub(' ', text[start : start + _AFTER])}".strip()
    for pattern, hint in _SLIPS:
        found = pattern.search(line)
        if found is not None:
            return found.expand(hint)
    repeat = _REPEAT.search(line)
    if repeat is not None:
        return f"write: repeat every {_UNITS[repeat[1]]}"
    word = _CLAUSE.search(line) if clause else None
    meant = None if word is None else _MEANT.get(word[1])
    return None if meant is None else f"did you mean `{meant}`?"
