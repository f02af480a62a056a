"""What a condition is made of: the conditions below it, the fields that make groups, its own patterns.

All that walks trees asks here, so that an operator with conditions inside is walked everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from dsl.built_ins import ACTOR
from dsl.filters import fields_read, pattern_types
from dsl.syntax import (
    Combine,
    Count,
    CountGroups,
    CountUnits,
    Extreme,
    Modifiers,
    RepeatBy,
    Sequence,
    Streak,
    StreakUnits,
    Sum,
    Unlocked,
    Zone,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Sequence as Several

    from dsl.syntax import Achievement, Condition, Name, Pattern


def whens(version: Achievement) -> Iterator[Condition]:
    """Yield the conditions of a version: its `when`, or those of its tiers."""
    if version.when is not None:
        yield version.when
    for tier in version.tiers:
        yield tier.when


def below(tree: Condition) -> tuple[Condition, ...]:
    """Return the conditions right below one: the parts of a composition, or what a value or a unit is asked."""
    match tree:
        case Combine(parts=parts):
            return parts
        case CountGroups(inner=inner) | CountUnits(inner=inner) | StreakUnits(inner=inner):
            return (inner,)
        case _:
            return ()


def walk(tree: Condition) -> Iterator[Condition]:
    """Yield a condition and all conditions within it."""
    yield tree
    for part in below(tree):
        yield from walk(part)


def asks_unlocks(tree: Condition) -> bool:
    """Return whether a condition names an achievement anywhere."""
    return any(isinstance(part, Unlocked) for part in walk(tree))


def counted(tree: Condition) -> tuple[Pattern, ...]:
    """Return the patterns that an operator itself counts: one, or one a step; none of `unless`, none from below."""
    match tree:
        case Count() | Sum() | Extreme() | Streak():
            return (tree.event,)
        case Sequence(steps=steps):
            return steps
        case _:
            return ()


def all_counted(tree: Condition) -> tuple[Pattern, ...]:
    """Return the patterns that a condition counts anywhere."""
    return tuple(pattern for part in walk(tree) for pattern in counted(part))


def resets(tree: Condition) -> Iterator[Pattern]:
    """Yield the patterns of `unless` anywhere in a condition."""
    for part in walk(tree):
        if part.mods.unless is not None:
            yield part.mods.unless


def with_patterns(version: Achievement, change: Callable[[Pattern], Pattern]) -> Achievement:
    """Return a version with other patterns in the place of its own."""
    when = None if version.when is None else _changed(version.when, change)
    tiers = tuple(replace(tier, when=_changed(tier.when, change)) for tier in version.tiers)
    return replace(version, when=when, tiers=tiers)


def _changed(tree: Condition, change: Callable[[Pattern], Pattern]) -> Condition:
    if tree.mods.unless is not None:
        tree = replace(tree, mods=replace(tree.mods, unless=change(tree.mods.unless)))
    match tree:
        case Combine(parts=parts):
            return replace(tree, parts=tuple(_changed(part, change) for part in parts))
        case Sequence(steps=steps):
            return replace(tree, steps=tuple(map(change, steps)))
        case Unlocked():
            return tree
        case CountGroups() | CountUnits() | StreakUnits():
            return replace(tree, inner=_changed(tree.inner, change))
        case _:
            return replace(tree, event=change(tree.event))


def key_of(tree: Condition) -> tuple[Name, ...]:
    """Return the fields whose values split the events of a condition into groups, none where nothing does."""
    if isinstance(tree, Sequence) and tree.by is not None:
        return (tree.by,)
    return tree.mods.by


def key_names(tree: Condition) -> tuple[str, ...]:
    """Return the names of these fields."""
    return tuple(name.text for name in key_of(tree))


def key_text(names: Several[str]) -> str:
    """Return fields as `by=` and `distinct=` write them: one as it is, several in brackets."""
    return names[0] if len(names) == 1 else f"[{','.join(names)}]"


def in_group(tree: Condition) -> Condition:
    """Return what is asked of each group: the condition with all its modifiers but `by`."""
    if isinstance(tree, Sequence) and tree.by is not None:
        return replace(tree, by=None)
    return replace(tree, mods=replace(tree.mods, by=())) if tree.mods.by else tree


def judged(version: Achievement, when: Condition) -> Condition:
    """Return the condition that decides: under `repeat by FIELD` it has that `by`, written or not."""
    repeat = version.repeat
    if not isinstance(repeat, RepeatBy):
        return when
    if key_of(when) and key_names(when) != (repeat.field.text,):
        # Groups within groups: the outer ones around a composition of one.
        return Combine(kind="all", k=1, parts=(when,), mods=Modifiers(by=(repeat.field,)), span=when.span)
    bare = in_group(when)
    return replace(bare, mods=replace(bare.mods, by=(repeat.field,)))


def unit_of(tree: Condition) -> Name | None:
    """Return the calendar unit that a condition goes by itself."""
    match tree:
        case Streak(unit=unit) | StreakUnits(unit=unit) | CountUnits(unit=unit):
            return unit
        case _:
            return tree.mods.per


def with_zone(tree: Condition, tz: Zone | None) -> Condition:
    """Return a condition inside a calendar unit: what says no zone of its own goes by that of the unit."""
    if tz is None:
        return tree
    mods = tree.mods if tree.mods.tz is not None else replace(tree.mods, tz=tz)
    match tree:
        case Combine(parts=parts):
            return replace(tree, parts=tuple(with_zone(part, tz) for part in parts), mods=mods)
        case CountGroups(inner=inner) | CountUnits(inner=inner) | StreakUnits(inner=inner):
            return replace(tree, inner=with_zone(inner, tz), mods=mods)
        case _:
            return replace(tree, mods=mods)


def fields_of(tree: Condition) -> frozenset[tuple[str, str]]:
    """Return (event type, field) of all that a condition reads of events by itself, apart from those below it.

    Its keys are read of every event that it counts anywhere.
    """
    found = frozenset[tuple[str, str]]()
    if tree.mods.unless is not None:
        found |= fields_read(tree.mods.unless)
    match tree:
        case Count(event=event, distinct=names):
            found |= fields_read(event, *(name.text for name in names))
        case Sum(event=event, of=name) | Extreme(event=event, of=name):
            found |= fields_read(event, name.text)
        case Streak(event=event):
            found |= fields_read(event)
        case Sequence(steps=steps):
            found |= frozenset[tuple[str, str]]().union(*(fields_read(step) for step in steps))
        case _:
            pass
    return found | _keys_in(tree, all_counted(tree))


def reset_fields_of(tree: Condition) -> frozenset[tuple[str, str]]:
    """Return (event type, field) of what keeps events of `unless` to their own groups, if they have it."""
    return _keys_in(tree, tuple(resets(tree)))


def _keys_in(tree: Condition, patterns: tuple[Pattern, ...]) -> frozenset[tuple[str, str]]:
    names = {*key_names(tree), *(each.text for each in (tree.by if isinstance(tree, CountGroups) else ()))} - {ACTOR}
    return frozenset((event, name) for pattern in patterns for event in pattern_types(pattern) for name in names)
