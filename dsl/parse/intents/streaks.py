"""Streaks: a number of units, and no duration; weeks that begin on Monday."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dsl.parse.intents.meaning import BOUND, Meant, event_of, is_named, written

if TYPE_CHECKING:
    from dsl.parse.calls import Call
    from dsl.parse.intents.meaning import Taken

_UNITS: Final = r"(minute|min|hour|hr|h|day|d|week|w|month|year|y)s?"
_UNIT: Final = {"min": "minute", "h": "hour", "hr": "hour", "d": "day", "w": "week", "y": "year"}


def streak(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """A streak counts units: `>= 7 days` is per=day, >= 7."""
    kept: list[str] = []
    length: tuple[str, str, str] | None = None
    bounded = any(re.fullmatch(BOUND, each.text) for each in call.arguments)
    for each in call.arguments:
        found = None if bounded and each.text.startswith("within") else _length(each.text)
        if found is None or length is not None:
            kept.append(each.text)
        else:
            length = found
    per = next((each for each in kept if re.match(r"per\s*=", each)), None)
    if length is None:
        return None
    sign, number, unit = length
    named = None if per is None else per.partition("=")[2].strip().strip('"').removesuffix("s")
    if not unit:
        unit = named or "day"
    if named is not None and named != unit:
        return None
    kept = [each for each in kept if each is not per]
    if kept and not is_named(kept[0]) and event_of(kept[:1]) is not None:
        kept[0] = f"event={kept[0]}"
    return Meant(
        "a streak counts calendar units: `per=` names them, and the bound says how many in a row",
        written("streak", [*kept, f"per={unit}", f"{sign} {number}"]),
        call,
    )


def _length(text: str) -> tuple[str, str, str] | None:
    """Return sign, number and unit of an argument that says how long a streak is; the unit may be ""."""
    if found := re.fullmatch(rf"(>=|>|==|=>|=)?\s*(\d+)\s*{_UNITS}", text):
        return (">" if found[1] == ">" else ">="), found[2], _UNIT.get(found[3], found[3])
    if found := re.fullmatch(rf"{_UNITS}\s*(?:==|>=|=|>)\s*\"?(\d+)\"?", text):
        return ">=", found[2], _UNIT.get(found[1], found[1])
    if found := re.fullmatch(rf"(?:length|duration|for|last|size|within|over|in)\s*=\s*\"?(\d+)\s*{_UNITS}\"?", text):
        return ">=", found[1], _UNIT.get(found[2], found[2])
    if found := re.fullmatch(r"(?:length|duration|size|times|count|n|number|at_least)\s*=\s*(\d+)", text):
        return ">=", found[1], ""
    return None


def week(_text: str, call: Call, _taken: Taken) -> Meant | None:
    """`starts=sunday`: there is one kind of week."""
    kept = [
        each.text
        for each in call.arguments
        if not re.fullmatch(r"\w*(?:start|first|begin)\w*\s*=\s*\"?(?:sun|mon|tue|wed|thu|fri|sat)\w*\"?", each.text)
    ]
    if len(kept) == len(call.arguments):
        return None
    return Meant("weeks are those of ISO 8601: they begin on Monday", written(call.name, kept), call)
