"""What one named argument says: an event, a field, a unit, a zone, a whole number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dsl.built_ins import is_reward
from dsl.diagnostics import nearest
from dsl.parse.raw import RawEvent, RawList
from dsl.parse.reading import error
from dsl.syntax import Alternative, Duration, Literal, Modifiers, Name, Pattern, Zone
from dsl.types import Unit

if TYPE_CHECKING:
    from dsl.parse.arguments import Arguments
    from dsl.parse.raw import Named, RawPattern

_LENGTH: Final = re.compile(r"\d{1,9}[smhdw]")
MOST_FIELDS: Final = 8
"""Fields of one key, at most."""


def required(args: Arguments, name: str) -> Named | None:
    """Return an argument that must be there, None where it is missing, which is reported."""
    argument = args.named.get(name)
    if argument is None and name not in args.doubtful:
        args.wrong("ACH112", args.at, f"`{args.operator}` needs `{name}=`", args.meant(args.inside))
    return argument


def _wrong_value(argument: Named, expected: str, hint: str | None = None) -> None:
    error("ACH113", argument.value.span, f"`{argument.name.text}=` takes {expected}", hint)


def event_of(args: Arguments) -> Pattern | None:
    """Return what `event=` selects."""
    argument = required(args, "event")
    return None if argument is None else _pattern_of(argument)


def _pattern_of(argument: Named) -> Pattern | None:
    if isinstance(argument.value, RawEvent | RawList):
        return pattern(argument.value)
    _wrong_value(argument, "an event or a list of events", "write events without quotes")
    return None


def pattern(raw: RawPattern) -> Pattern:
    """Turn an event or a list of alternatives into a pattern."""
    if isinstance(raw, RawEvent):
        one = Alternative(event=raw.name, role=raw.role, where=raw.where, span=raw.span)
        return Pattern(alternatives=(one,), span=raw.span)
    alternatives: list[Alternative] = []
    for item in raw.items:
        if isinstance(item, RawEvent):
            if item.role is not None and raw.role is not None:
                hint = "write `as` behind the brackets for all, or behind each event"
                error("ACH111", item.role.span, "the role of this event is given twice", hint)
            role = item.role or raw.role
            alternatives.append(Alternative(event=item.name, role=role, where=item.where, span=item.span))
        else:
            error("ACH113", item.span, "a list of alternatives holds events, not lists")
    if not raw.items:
        error("ACH112", raw.span, "an empty list matches nothing", "name at least one event")
    return Pattern(alternatives=tuple(alternatives), where=raw.where, role=raw.role, listed=True, span=raw.span)


def name_of(args: Arguments, name: str) -> Name | None:
    """Return a plain name, or None if it is missing or something else (which is reported)."""
    argument = args.named.get(name)
    if argument is None:
        return None
    value = argument.value
    if isinstance(value, RawEvent) and _is_bare(value) and _is_field(name, value.name.text):
        return value.name
    if isinstance(value, RawEvent) and value.name.text.startswith("at.") and name == "by":
        hint = "each calendar unit by itself is `per=`: count(per=day, count(event=lesson.completed, >= 1), >= 5)"
        _wrong_value(argument, "the name of a field", hint)
    elif isinstance(value, Literal) and isinstance(value.value, str):
        _wrong_value(argument, "the name of a field", "write names without quotes")
    else:
        _wrong_value(argument, "the name of a field")
    return None


def _is_bare(value: RawEvent) -> bool:
    return value.where is None and value.role is None


def _is_field(argument: str, written: str) -> bool:
    """Return whether an argument may name this: a field, or for `distinct` something of the event's own time.

    The rewards of unlocks are fields with a dot.
    """
    return "." not in written or is_reward(written) or (argument == "distinct" and written.startswith("at."))


def unit_of(argument: Named | None) -> Name | None:
    """Return the calendar unit of `per=`, None if it is missing or something else (which is reported)."""
    if argument is None:
        return None
    value = argument.value
    if isinstance(value, RawEvent) and _is_bare(value) and "." not in value.name.text:
        return value.name
    units = "a calendar unit: minute, hour, day, week, month or year"
    if isinstance(value, Duration):
        _wrong_value(argument, units, f"did you mean within={value.text}, or per={_per_of(value)}?")
    elif isinstance(value, Literal) and value.value in set(Unit):
        _wrong_value(argument, units, "write units without quotes")
    else:
        _wrong_value(argument, units)
    return None


def _per_of(value: Duration) -> str:
    return {"m": "minute", "h": "hour", "w": "week"}.get(value.text[-1], "day")


def _within(argument: Named | None) -> Duration | None:
    if argument is None:
        return None
    value = argument.value
    if isinstance(value, Duration):
        return value
    hint = "write a duration such as 90s, 15m, 1h, 7d or 2w"
    if isinstance(value, Literal) and isinstance(value.value, str) and _LENGTH.fullmatch(value.value):
        hint = f"write durations without quotes: within={value.value}"
    if isinstance(value, RawEvent):
        word = value.name.text
        unit = word if word in set(Unit) else nearest(word, Unit)
        if unit:
            length = {"minute": "1m", "hour": "1h", "day": "1d", "week": "1w", "month": "30d", "year": "365d"}[unit]
            hint = f"did you mean within={length}, or per={unit} for the calendar {unit}?"
    _wrong_value(argument, "a duration", hint)
    return None


def _zone(argument: Named | None) -> Zone | None:
    if argument is None:
        return None
    value = argument.value
    if isinstance(value, RawEvent) and _is_bare(value):
        return zone_from(value.name)
    if isinstance(value, Literal):
        return zone_from(value)
    return zone_from(Name(text="", span=value.span))


def zone_from(value: Name | Literal) -> Zone | None:
    """Turn the right side of `tz=` into a zone."""
    match value:
        case Name(text="user"):
            return Zone(kind="user", span=value.span)
        case Name(text="event"):
            return Zone(kind="event", span=value.span)
        case Literal(value=str() as name):
            return Zone(kind="iana", name=name, span=value.span)
        case _:
            hint = 'write tz="Europe/Berlin", tz=user or tz=event'
            error("ACH113", value.span, "`tz=` takes a zone in quotes, `user` or `event`", hint)
            return None


def whole_of(args: Arguments, name: str, default: int) -> int:
    """Return a whole number, `default` where there is none."""
    argument = args.named.get(name)
    if argument is None:
        return default
    match argument.value:
        case Literal(value=int() as value) if not isinstance(value, bool):
            return value
        case _:
            _wrong_value(argument, "a whole number")
            return default


def modifiers_of(args: Arguments) -> Modifiers:
    """Return the modifiers; `per` of a streak is its unit, `by=FIELD` of a sequence its own."""
    unless = args.named.get("unless")
    return Modifiers(
        within=_within(args.named.get("within")),
        per=None if args.operator == "streak" else unit_of(args.named.get("per")),
        unless=None if unless is None else _pattern_of(unless),
        tz=_zone(args.named.get("tz")),
        by=() if args.operator == "sequence" and one_field(args) else fields(args, "by"),
    )


def one_field(args: Arguments) -> Name | None:
    """Return the field of `by=FIELD`, None where there is none, or a list."""
    argument = args.named.get("by")
    return None if argument is None or isinstance(argument.value, RawList) else name_of(args, "by")


def fields(args: Arguments, name: str) -> tuple[Name, ...]:
    """Return the fields of `by=FIELD` or `by=[FIELD, FIELD]`, and of `distinct=` likewise."""
    argument = args.named.get(name)
    if argument is None:
        return ()
    if not isinstance(argument.value, RawList):
        found = name_of(args, name)
        return () if found is None else (found,)
    items = argument.value.items
    if argument.value.where is not None or not 1 <= len(items) <= MOST_FIELDS:
        _wrong_value(argument, f"one field, or 2 to {MOST_FIELDS} of them in brackets")
        return ()
    bare = [item.name for item in items if isinstance(item, RawEvent) and _is_bare(item)]
    names = [each for each in bare if _is_field(name, each.text)]
    if len(names) < len(items):
        _wrong_value(argument, "names of fields in the brackets", f"write {name}=[course_id, lesson_id]")
        return ()
    twice = next((one for number, one in enumerate(names) if one.text in {each.text for each in names[:number]}), None)
    if twice is not None:
        error("ACH111", twice.span, f"`{twice.text}` is given twice")
    return tuple(names)
