"""What a version of an achievement reads: event types, their fields, and traits. By its tree alone.

Declarations of what is read belong to what the version means; declarations of anything else do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.compile import tier_conditions, traits_of
from dsl.conditions import asks_unlocks, context_of, named_types
from dsl.filters import pattern_types
from dsl.local_time import TIMEZONE
from dsl.memory import Seen
from dsl.syntax import And, Combine, Count, Extreme, Not, Or, RepeatEvery, Sequence, Streak, Sum, Unlocked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.syntax import Achievement, Condition, Name, Pattern, Predicate, Zone


class Reads(NamedTuple):
    """What one version reads."""

    types: frozenset[str]
    """Event types that it names."""
    fields: frozenset[tuple[str, str]]
    """(event type, field) in filters, `distinct`, `of` and `by`."""
    traits: frozenset[str]
    """Those of `for`, and the time zone where it asks for the user's."""
    chooses: bool
    """Whether it has a `for`: then it is judged at every trait event."""
    every_type: bool
    """Whether an event of any declared type, heard or not, may move what it remembers."""


def reads_of(version: Achievement) -> Reads:
    """Return what a version reads, apart from what the achievements that it names read."""
    conditions = [each for _, when in tier_conditions(version) for each in _below(when)]
    zones = [each.mods.tz for each in conditions]
    if isinstance(version.repeat, RepeatEvery):
        zones.append(version.repeat.tz)
    traits = set[str]() if version.where is None else traits_of(version.where)
    if any(_is(zone, "user") for zone in zones):
        traits.add(TIMEZONE)
    return Reads(
        types=frozenset[str]().union(*(named_types(each) for each in conditions)),
        fields=frozenset(pair for each in conditions for pair in _fields(each)),
        traits=frozenset(traits),
        chooses=version.where is not None,
        every_type=any(_moved_by_all(version, each) for each in conditions),
    )


def _below(condition: Condition) -> Iterator[Condition]:
    """Yield a condition and all that it is made of."""
    yield condition
    if isinstance(condition, Combine):
        for part in condition.parts:
            yield from _below(part)


def _is(zone: Zone | None, kind: str) -> bool:
    return zone is not None and zone.kind == kind


def _moved_by_all(version: Achievement, condition: Condition) -> bool:
    """Return whether a condition has a span that looks at every moment of the subject, as `compile` builds it."""
    mods = condition.mods
    if mods.per is not None and _is(mods.tz, "event"):
        return True
    context = context_of(version, None)
    partial = bool(context.owner) or context.seen != Seen()
    spanned = mods.within is not None or mods.per is not None or mods.unless is not None
    return partial and spanned and asks_unlocks(condition)


# -- fields -----------------------------------------------------------------------------------------------------------


def _fields(condition: Condition) -> Iterator[tuple[str, str]]:
    """Yield what a condition reads of events by itself, apart from the conditions that it is made of."""
    if condition.mods.unless is not None:
        yield from _pattern(condition.mods.unless, None)
    match condition:
        case Count(event=event, distinct=name):
            yield from _pattern(event, name)
        case Sum(event=event, of=name) | Extreme(event=event, of=name):
            yield from _pattern(event, name)
        case Streak(event=event):
            yield from _pattern(event, None)
        case Sequence(steps=steps, by=name):
            for step in steps:
                yield from _pattern(step, name)
        case Combine() | Unlocked():
            pass


def _pattern(pattern: Pattern, name: Name | None) -> Iterator[tuple[str, str]]:
    """Yield what the filters of a pattern read, and a field by name of every event."""
    shared = set[str]() if pattern.where is None else _of(pattern.where)
    if name is not None:
        shared.add(name.text)
    for event in pattern_types(pattern):
        yield from ((event, field) for field in shared)
    for alternative in pattern.alternatives:
        own = set[str]() if alternative.where is None else _of(alternative.where)
        yield from ((alternative.event.text, field) for field in own)


def _of(predicate: Predicate) -> set[str]:
    """Return the fields that a filter reads."""
    match predicate:
        case Not(part=part):
            return _of(part)
        case And(parts=parts) | Or(parts=parts):
            return set[str]().union(*(_of(part) for part in parts))
        case _:
            return set[str]() if predicate.left.builtin else {predicate.left.name}
