"""Groups: the values of a field, and calendar units, each with the events of its own.

A group is a stretch of the subject's history with other events left out, and a condition is asked of it as of any
history. Three kinds of events are in it: its own, from the first one on that the condition counts; those that reset it
though they are not its own; and, as moments at which nothing happens, those that earn an unlock that the condition
names, and the moment of a question.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace

from dsl import syntax
from tests.reference import wall_clock
from tests.reference.timeline import Timeline, position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dsl.event import Event, Position
    from dsl.types import Listed, Value
    from tests.reference.latest_starts import Unlock

Key = tuple[str, ...]


def keys_named(condition: syntax.Condition) -> tuple[str, ...]:
    """Return the fields in the `by=` of a condition."""
    if isinstance(condition, syntax.Sequence) and condition.by is not None:
        return (condition.by.text,)
    return tuple(name.text for name in condition.mods.by)


def asked_of_each(condition: syntax.Condition) -> syntax.Condition:
    """Return a condition without its `by=`."""
    bare = replace(condition, mods=replace(condition.mods, by=()))
    return replace(bare, by=None) if isinstance(bare, syntax.Sequence) else bare


def below(condition: syntax.Condition) -> tuple[syntax.Condition, ...]:
    """Return the conditions right inside one."""
    match condition:
        case syntax.Combine(parts=parts):
            return parts
        case syntax.CountGroups(inner=inner) | syntax.CountUnits(inner=inner) | syntax.StreakUnits(inner=inner):
            return (inner,)
        case _:
            return ()


def everything(condition: syntax.Condition) -> Iterator[syntax.Condition]:
    """Yield a condition and all inside it."""
    yield condition
    for part in below(condition):
        yield from everything(part)


def zoned(condition: syntax.Condition, tz: syntax.Zone | None) -> syntax.Condition:
    """Return a condition in a calendar unit: where it says no zone, it is the unit's."""
    mods = replace(condition.mods, tz=condition.mods.tz or tz)
    match condition:
        case syntax.Combine(parts=parts):
            return replace(condition, parts=tuple(zoned(part, tz) for part in parts), mods=mods)
        case syntax.CountGroups(inner=inner) | syntax.CountUnits(inner=inner) | syntax.StreakUnits(inner=inner):
            return replace(condition, inner=zoned(inner, tz), mods=mods)
        case _:
            return replace(condition, mods=mods)


@dataclass
class Group:
    """One group: its own history, and where each event of it stands in the whole one."""

    timeline: Timeline
    places: list[int]


def counted_patterns(condition: syntax.Condition) -> list[tuple[syntax.Pattern, syntax.Zone | None]]:
    """Return the patterns that a condition counts anywhere, with their zones."""
    found: list[tuple[syntax.Pattern, syntax.Zone | None]] = []
    for part in everything(condition):
        match part:
            case syntax.Count() | syntax.Sum() | syntax.Extreme() | syntax.Streak():
                found.append((part.event, part.mods.tz))
            case syntax.Sequence(steps=steps):
                found += [(step, part.mods.tz) for step in steps]
            case _:
                pass
    return found


def text_of(value: Value) -> str:
    """Return a value in canonical form."""
    match value:
        case bool():
            return "true" if value else "false"
        case Decimal():
            return f"{value.normalize():f}" if value else "0"
        case _:
            return str(value)


def values_of(event: Event, name: str) -> list[str]:
    """Return the values that an event has in a field: none, one, or those of a list."""
    value = cast("Value | Listed | None", event.user if name == "actor" else event.fields.get(name))
    if value is None:
        return []
    values: Listed = value if isinstance(value, tuple) else (value,)
    return list(dict.fromkeys(text_of(each) for each in values))


def groups_by_fields(
    condition: syntax.Condition, names: Sequence[str], timeline: Timeline, first: int, earned: Sequence[Unlock]
) -> dict[Key, Group]:
    """Return the groups of a condition by the values of fields."""

    def keys(i: int) -> list[Key]:
        return [] if i in timeline.foreign else list(product(*(values_of(timeline.events[i], name) for name in names)))

    def agrees(i: int, key: Key) -> bool:
        had = [values_of(timeline.events[i], name) for name in names]
        return all(not values or mine in values for values, mine in zip(had, key, strict=True))

    def strange(i: int, key: Key) -> bool:
        lacking = i in timeline.foreign or not all(values_of(timeline.events[i], name) for name in names)
        return lacking and agrees(i, key)

    return _groups(condition, timeline, first, earned, keys, strange)


def groups_by_unit(
    condition: syntax.Condition,
    unit: str,
    tz: syntax.Zone | None,
    timeline: Timeline,
    first: int,
    earned: Sequence[Unlock],
) -> dict[Key, Group]:
    """Return the groups of a condition by calendar units; the key is the index of the unit."""

    def unit_of(i: int) -> str:
        return str(wall_clock.unit_at(unit, timeline.events[i].at, timeline.clock(tz, i)))

    def keys(i: int) -> list[Key]:
        return [] if i in timeline.foreign or not timeline.events[i].type else [(unit_of(i),)]

    def strange(i: int, key: Key) -> bool:
        return i in timeline.foreign and (unit_of(i),) == key

    return _groups(condition, timeline, first, earned, keys, strange)


def _groups(
    condition: syntax.Condition,
    timeline: Timeline,
    first: int,
    earned: Sequence[Unlock],
    keys: Callable[[int], list[Key]],
    strange: Callable[[int, Key], bool],
) -> dict[Key, Group]:
    patterns = counted_patterns(condition)
    stops = [(part.mods.unless, part.mods.tz) for part in everything(condition) if part.mods.unless is not None]
    moments = first_unlocks(condition, earned)
    places: dict[Key, list[tuple[int, str]]] = {}
    for i in range(first, len(timeline.events)):
        mine = keys(i)
        counts = any(timeline.matches(pattern, tz, i) for pattern, tz in patterns)
        for key in mine:
            if counts or key in places:
                places.setdefault(key, []).append((i, "own"))
        resets = any(timeline.resets(pattern, tz, i) for pattern, tz in stops)
        for key, known in places.items():
            if key in mine:
                continue
            if resets and strange(i, key):
                known.append((i, "strange"))
            elif not timeline.events[i].type or position(timeline.events[i]) in moments:
                known.append((i, "moment"))
    return {key: _group(timeline, known) for key, known in places.items()}


def _group(timeline: Timeline, known: list[tuple[int, str]]) -> Group:
    events = [replace(timeline.events[i], type="") if kind == "moment" else timeline.events[i] for i, kind in known]
    foreign = frozenset(n for n, (_, kind) in enumerate(known) if kind == "strange")
    traits = [timeline.traits[i] for i, _ in known]
    return Group(Timeline(timeline.subject, events, 0, traits, foreign=foreign), [i for i, _ in known])


def first_unlocks(condition: syntax.Condition, earned: Sequence[Unlock]) -> set[Position]:
    """Return where what a condition names was unlocked first, each tier for itself."""
    found: dict[tuple[str, str | None], Position] = {}
    for part in everything(condition):
        if isinstance(part, syntax.Unlocked):
            for unlock in earned:
                tier = unlock.tier if part.tier is None else part.tier.text
                if (unlock.achievement, unlock.tier) == (part.achievement.text, tier):
                    key = unlock.achievement, unlock.tier
                    found[key] = min(found.get(key, unlock.by), unlock.by)
    return set(found.values())
