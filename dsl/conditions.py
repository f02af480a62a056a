"""Conditions of the tree to nodes: the aggregates that each one needs, shared if they are the same.

A condition is *tracked* if something above it needs its latest start: a span, or `repeat every`. An untracked one
remembers less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dsl import grouping
from dsl.built_ins import ACTOR, COUNTED, ZONED
from dsl.filters import compile_pattern, fields_read, keys_of, pattern_key, pattern_types
from dsl.grouping import Made, at_least
from dsl.local_time import Clock, UserClock
from dsl.memory import Context, Seen
from dsl.nodes.bound import Bound
from dsl.nodes.compose import Combined, Has, Per, Unless, Within
from dsl.nodes.elements import DistinctKeys, RecentDistinctKeys, SinceDistinctKeys, UnitDistinctKeys
from dsl.nodes.node import Condition as Node
from dsl.nodes.recent import (
    Best,
    CountReached,
    DistinctReached,
    ExtremeReached,
    RecentDistinct,
    RecentEvents,
    RecentExtreme,
    RecentSum,
    SumReached,
)
from dsl.nodes.sequence import SequenceReached, Sequences
from dsl.nodes.streak import Shape, StreakReached, Streaks
from dsl.nodes.totals import (
    Distinct,
    Reached,
    ReachedInUnit,
    SinceDistinct,
    SinceTotal,
    SinceTotalOrNothing,
    Total,
    UnitDistinct,
    UnitTotal,
)
from dsl.prove.clocks import steady
from dsl.syntax import (
    Alternative,
    Cmp,
    Combine,
    Count,
    CountGroups,
    CountUnits,
    Extreme,
    Name,
    Pattern,
    RepeatBy,
    RepeatEach,
    RepeatEvery,
    Sequence,
    Streak,
    StreakUnits,
    Sum,
    Unlocked,
)
from dsl.trees import all_counted, asks_unlocks, judged, key_of, key_text, resets
from dsl.types import DAY, HOUR, MINUTE, Unit
from dsl.values import canonical_number

if TYPE_CHECKING:
    from dsl.filters import Keys
    from dsl.memory import Memory
    from dsl.syntax import Achievement, Condition

_LONGEST = {
    Unit.MINUTE: MINUTE,
    Unit.HOUR: HOUR,
    Unit.DAY: DAY,
    Unit.WEEK: 7 * DAY,
    Unit.MONTH: 31 * DAY,
    Unit.YEAR: 366 * DAY,
}


class Built(msgspec.Struct, frozen=True):
    """A whole `when`: under `repeat every` with its unit and zone."""

    node: Node
    key: str
    unit: Unit | None = None
    clock: Clock | None = None


def build(memory: Memory, when: Condition, version: Achievement, tier: str | None) -> Built:
    """Build the `when` of one achievement, version and tier."""
    context, repeat, when = context_of(version, tier), version.repeat, judged(version, when)
    if not isinstance(repeat, RepeatEvery):
        made = condition(memory, when, context)
        return Built(node=made.node, key=made.key)
    unit, clock = Unit(repeat.unit.text), memory.clock(repeat)
    made = _in_unit(memory, when, context, repeat, clock)
    if made is None:
        made = condition(memory, when, context.spanning(_LONGEST[unit] + DAY))
    return Built(node=made.node, key=f"{made.key} every {unit.value}@{clock.key}", unit=unit, clock=clock)


def condition(memory: Memory, tree: Condition, context: Context) -> Made:
    """Build a condition with its modifiers: `within` first, `per` on that, `unless` on that; `by` around them all."""
    if is_keyed(memory, tree):
        return grouping.grouped(memory, tree, context, condition)
    made = None if context.tracked else _fused(memory, tree, context)
    if made is not None:
        return made
    mods, clock = tree.mods, memory.clock(tree.mods)
    inner = context
    if mods.unless is not None:
        inner = inner.spanning(None)
    if mods.per is not None:
        unit = Unit(mods.per.text)
        inner = memory.spending(inner.spanning(_LONGEST[unit] + DAY), unit, clock)
    if mods.within is not None:
        inner = inner.spanning(mods.within.us)
    return _spans(memory, _operator(memory, tree, inner, clock), tree, context, clock)


def _spans(memory: Memory, made: Made, tree: Condition, context: Context, clock: Clock) -> Made:
    node, key, mods = made.node, made.key, tree.mods
    # What was unlocked is a fact also for a span that has forgotten it (`repeat each`) or did not see its event
    # (`active`, `fresh`): such a span takes it up at the very next moment, at any event.
    partial = bool(context.owner) or context.seen != Seen()
    ticks = memory.all_types if partial and asks_unlocks(tree) else frozenset[str]()
    if mods.within is not None:
        length = mods.within.us
        key = f"({key} within {length})"
        node = memory.share(key, context, lambda inner=node, key=key: Within(inner, key, length, ticks))
    if mods.per is not None:
        unit, zone_ticks = Unit(mods.per.text), ticks | memory.ticks(clock)
        key = f"({key} per {unit.value}@{clock.key})"
        node = memory.share(key, context, lambda inner=node, key=key: Per(inner, key, unit, clock, zone_ticks))
    if mods.unless is not None:
        stops = compile_pattern(mods.unless, clock)
        key = f"({key} unless {pattern_key(mods.unless, clock)})"
        node = memory.share(
            key, context, lambda inner=node, key=key: Unless(inner, key, stops, ticks), fields_read(mods.unless)
        )
    return Made(node, key)


def heard_any(memory: Memory, types: frozenset[str], version: Achievement, tier: str | None) -> Node:
    """Return the condition that an event of some types was seen."""
    alternatives = tuple(Alternative(event=Name(text=name)) for name in sorted(types))
    pattern = Pattern(alternatives=alternatives, listed=True)
    tree = Count(event=pattern, distinct=(), cmp=Cmp(op=">=", bound=1))
    return condition(memory, tree, context_of(version, tier)).node


def is_keyed(memory: Memory, tree: Condition) -> bool:
    """Return whether a condition takes groups, each with a memory of its own.

    A sequence by one field remembers the steps of each value by itself. That is the same as long as an `unless` resets
    all values at once, as it does where its events do not have the field.
    """
    if not isinstance(tree, Sequence) or tree.by is None:
        return bool(key_of(tree))
    field, unless = tree.by.text, tree.mods.unless
    if field == ACTOR or any(memory.listed(step, field) for step in tree.steps):
        return True
    return unless is not None and any(memory.declared(event, field) for event in pattern_types(unless))


def _operator(memory: Memory, tree: Condition, context: Context, clock: Clock) -> Made:
    match tree:
        case Count():
            return _count(memory, tree, context, clock)
        case Sum():
            return _sum(memory, tree, context, clock)
        case Extreme():
            return _extreme(memory, tree, context, clock)
        case Streak():
            return _streak(memory, tree, context, clock)
        case Sequence():
            return _sequence(memory, tree, context, clock)
        case Combine(parts=parts, k=k):
            made = [condition(memory, part, context) for part in parts]
            keys = ",".join(sorted(part.key for part in made))
            return Made(Combined([part.node for part in made], k), f"at_least({k},{keys})")
        case Unlocked(achievement=name, tier=tier):
            slots = memory.slots[name.text]
            wanted = tuple(slots.values()) if tier is None else (slots[tier.text],)
            key = f"unlocked({name.text}{'' if tier is None else '.' + tier.text})"
            return Made(Has(wanted, memory.hears[name.text]), key)
        case CountGroups() | CountUnits() | StreakUnits():
            return grouping.nested(memory, tree, context, condition)


# -- atoms ------------------------------------------------------------------------------------------------------------


def _count(memory: Memory, tree: Count, context: Context, clock: Clock) -> Made:
    if tree.distinct:
        return _distinct(memory, tree, context, clock)
    name, tests, reach = _name(tree, clock), compile_pattern(tree.event, clock), context.horizon
    key, read = name + _bound_key(tree), fields_read(tree.event)
    if context.tracked:
        recent = f"recent {name}"
        events = memory.share(f"{recent}/{reach}", context, lambda: RecentEvents(tests, recent, reach), read)
        return Made(CountReached(events, at_least(tree.cmp)), key)
    total = memory.share(name, context, lambda: Total(tests, None, name), read)
    return Made(Reached(total, whole_bound(tree.cmp)), key)


def _distinct(memory: Memory, tree: Count, context: Context, clock: Clock) -> Made:
    fields, keys = _counted(memory, tree, clock)
    name, tests, reach = _name(tree, clock), compile_pattern(tree.event, clock), context.horizon
    key, need, read = name + _bound_key(tree), at_least(tree.cmp), fields_read(tree.event, *fields)
    if context.tracked:
        recent = f"recent {name}"

        def make() -> RecentDistinct:
            if keys is None:
                return RecentDistinct(tests, recent, reach, fields[0])
            return RecentDistinctKeys(tests, recent, reach, keys)

        return Made(DistinctReached(memory.share(f"{recent}/{reach}", context, make, read), need), key)

    def total() -> Distinct:
        return Distinct(tests, fields[0], name) if keys is None else DistinctKeys(tests, keys, name)

    distinct = memory.share(name, context, total, read)
    distinct.cap = max(distinct.cap, need)
    return Made(Reached(distinct, whole_bound(tree.cmp)), key)


def _counted(memory: Memory, tree: Count, clock: Clock) -> tuple[tuple[str, ...], Keys | None]:
    """Return what `distinct=` names, and what reads the values of an event; None for a single field of one value."""
    names = tuple(name.text for name in tree.distinct)
    plain = len(names) == 1 and names[0] not in COUNTED and not memory.listed(tree.event, names[0])
    return names, None if plain else keys_of(names, clock)


def _sum(memory: Memory, tree: Sum, context: Context, clock: Clock) -> Made:
    field, tests, reach = tree.of.text, compile_pattern(tree.event, clock), context.horizon
    name, read = _name(tree, clock), fields_read(tree.event, field)
    key, bound = name + _bound_key(tree), _bound(memory, tree)
    if context.tracked:
        # States once rounded decimals in a window to 28 digits; they are folded again.
        recent = f"recent {name}" if bound.integral else f"recent exact {name}"
        amounts = memory.share(f"{recent}/{reach}", context, lambda: RecentSum(tests, recent, reach, field), read)
        return Made(SumReached(amounts, bound), key)
    total = memory.share(name, context, lambda: Total(tests, field, name), read)
    return Made(Reached(total, bound, falls=memory.signed(tree.event, field)), key)


def _extreme(memory: Memory, tree: Extreme, context: Context, clock: Clock) -> Made:
    field, sign = tree.of.text, 1 if tree.kind == "max" else -1
    tests, reach = compile_pattern(tree.event, clock), context.horizon
    name, read = f"{tree.kind}({pattern_key(tree.event, clock)} of {field})", fields_read(tree.event, field)
    key, bound = name + _bound_key(tree), _bound(memory, tree)
    if context.tracked:
        recent = f"recent {name}"
        queue = memory.share(
            f"{recent}/{reach}", context, lambda: RecentExtreme(tests, recent, reach, field, sign), read
        )
        return Made(ExtremeReached(queue, bound), key)
    best = memory.share(name, context, lambda: Best(tests, name, field, sign), read)
    return Made(ExtremeReached(best, bound), key)


def _streak(memory: Memory, tree: Streak, context: Context, clock: Clock) -> Made:
    unit, need = Unit(tree.unit.text), at_least(tree.cmp)
    keep = need if context.tracked else 0
    context = memory.spending(context, unit, clock)
    name = f"streak({pattern_key(tree.event, clock)} per {unit.value}@{clock.key} min {tree.min} grace {tree.grace})"
    zone_types = memory.ticks(clock) if isinstance(clock, UserClock) else frozenset[str]()

    def make() -> Streaks:
        tests = compile_pattern(tree.event, clock)
        return Streaks(tests, name, Shape(unit, tree.min, tree.grace, keep), clock, zone_types)

    streaks = memory.share(f"{name}#{keep}", context, make, fields_read(tree.event))
    return Made(StreakReached(streaks, need), f"{name}>={need}")


def _sequence(memory: Memory, tree: Sequence, context: Context, clock: Clock) -> Made:
    by = None if tree.by is None else tree.by.text
    reach = context.horizon if context.tracked and by is not None else None
    key = f"sequence({','.join(pattern_key(step, clock) for step in tree.steps)} by {by})"
    tests = [compile_pattern(step, clock) for step in tree.steps]
    fields = () if by is None else (by,)
    read = frozenset[tuple[str, str]]().union(*(fields_read(step, *fields) for step in tree.steps))
    sequences = memory.share(f"{key}/{reach}", context, lambda: Sequences(tests, by, key, reach), read)
    return Made(SequenceReached(sequences), key)


# -- fused forms: what needs no positions though it has a span --------------------------------------------------------


def _fused(memory: Memory, tree: Condition, context: Context) -> Made | None:
    """Build a count or sum with one `per` of a fixed zone, or one `unless`; None for anything else.

    Of a unit whose label may come back, what was counted before is not forgotten: such a zone takes positions.
    """
    if not isinstance(tree, Count | Sum) or tree.mods.within is not None:
        return None
    mods, clock = tree.mods, memory.clock(tree.mods)
    if mods.unless is not None and mods.per is None:
        return _since(memory, tree, mods.unless, context, clock)
    if mods.per is not None and mods.unless is None and clock.fixed and steady(mods.tz, Unit(mods.per.text)):
        unit = Unit(mods.per.text)
        total, key = _unit_total(memory, tree, memory.spending(context, unit, clock), unit, clock, clock)
        return Made(Reached(total, _bound_of(memory, tree)), key)
    return None


def _in_unit(memory: Memory, tree: Condition, context: Context, repeat: RepeatEvery, zone: Clock) -> Made | None:
    """Build a plain count or sum under `repeat every` in a fixed zone; None where it is something else."""
    unit = Unit(repeat.unit.text)
    if not isinstance(tree, Count | Sum) or not zone.fixed or not steady(repeat.tz, unit):
        return None
    mods = tree.mods
    if mods.within is not None or mods.per is not None or mods.unless is not None or mods.by:
        return None
    total, key = _unit_total(memory, tree, context, unit, zone, memory.clock(tree.mods))
    return Made(ReachedInUnit(total, _bound_of(memory, tree)), key)


def _unit_total(
    memory: Memory, tree: Count | Sum, context: Context, unit: Unit, zone: Clock, filters: Clock
) -> tuple[UnitTotal | UnitDistinct, str]:
    tests = compile_pattern(tree.event, filters)
    name = f"{_name(tree, filters)} per {unit.value}@{zone.key}"
    key = name + _bound_key(tree)
    if isinstance(tree, Count) and tree.distinct:
        fields, keys = _counted(memory, tree, filters)
        read = fields_read(tree.event, *fields)

        def make() -> UnitDistinct:
            if keys is None:
                return UnitDistinct(tests, fields[0], name, unit, zone)
            return UnitDistinctKeys(tests, keys, name, unit, zone)

        values = memory.share(name, context, make, read)
        values.cap = max(values.cap, at_least(tree.cmp))
        return values, key
    of = tree.of.text if isinstance(tree, Sum) else None
    read = fields_read(tree.event, *(() if of is None else (of,)))
    return memory.share(name, context, lambda: UnitTotal(tests, of, name, unit, zone), read), key


def _since(memory: Memory, tree: Count | Sum, unless: Pattern, context: Context, clock: Clock) -> Made:
    tests, stops = compile_pattern(tree.event, clock), compile_pattern(unless, clock)
    name = f"{_name(tree, clock)} since {pattern_key(unless, clock)}"
    key, bound = name + _bound_key(tree), _bound_of(memory, tree)
    if isinstance(tree, Count) and tree.distinct:
        fields, keys = _counted(memory, tree, clock)
        read = fields_read(tree.event, *fields) | fields_read(unless)

        def make() -> SinceDistinct:
            return (
                SinceDistinct(tests, fields[0], name, stops)
                if keys is None
                else SinceDistinctKeys(tests, keys, name, stops)
            )

        values = memory.share(name, context, make, read)
        values.cap = max(values.cap, at_least(tree.cmp))
        return Made(Reached(values, bound), key)
    of = tree.of.text if isinstance(tree, Sum) else None
    read = fields_read(tree.event, *(() if of is None else (of,))) | fields_read(unless)
    if of is None or not bound.reached(0):
        total = memory.share(name, context, lambda: SinceTotal(tests, of, name, stops), read)
        return Made(Reached(total, bound), key)
    name, moments = f"{name} or nothing", memory.all_types
    total = memory.share(name, context, lambda: SinceTotalOrNothing(tests, of, name, stops, moments), read)
    return Made(Reached(total, bound), key)


# -- small things -----------------------------------------------------------------------------------------------------


def owner_of(version: Achievement, tier: str | None) -> str:
    """Return the owner of a condition's memory, the achievement and tier, if it repeats for itself; otherwise none.

    Under `repeat each` what is remembered is reset, and under `repeat by` a group is forgotten that has earned.
    """
    match version.repeat:
        case RepeatEach():
            return f"each {version.name.text}.{tier} "
        case RepeatBy():
            return f"by {version.name.text}.{tier} "
        case _:
            return ""


def context_of(version: Achievement, tier: str | None) -> Context:
    """Return where the whole `when` of an achievement, version and tier stands."""
    owner = owner_of(version, tier)
    each = isinstance(version.repeat, RepeatEach)
    return Context(seen=_seen(version), owner=owner, spender=owner if each else "")


def _seen(version: Achievement) -> Seen:
    active, since = version.active, version.since
    start = None if active is None or active.start is None else active.start.us
    if version.fresh and since is not None:
        start = since.us if start is None else max(start, since.us)
    return Seen(start, None if active is None or active.end is None else active.end.us)


def whole_bound(cmp: Cmp) -> Bound:
    """Return a lower bound on whole numbers as `>=`."""
    return Bound(">=", at_least(cmp), integral=True)


def _name(tree: Count | Sum, clock: Clock) -> str:
    pattern = pattern_key(tree.event, clock)
    if isinstance(tree, Sum):
        return f"sum({pattern} of {tree.of.text})"
    if not tree.distinct:
        return f"count({pattern})"
    names = [name.text for name in tree.distinct]
    zone = "" if ZONED.keys().isdisjoint(names) else f"@{clock.key}"
    return f"count({pattern} distinct {key_text(names)}{zone})"


def _bound(memory: Memory, tree: Sum | Extreme) -> Bound:
    return Bound(tree.cmp.op, tree.cmp.bound, integral=memory.integral(tree.event, tree.of.text))


def _bound_of(memory: Memory, tree: Count | Sum) -> Bound:
    return _bound(memory, tree) if isinstance(tree, Sum) else whole_bound(tree.cmp)


def _bound_key(tree: Count | Sum | Extreme) -> str:
    if isinstance(tree, Count):
        return f">={at_least(tree.cmp)}"
    return f"{tree.cmp.op}{canonical_number(tree.cmp.bound)}"


def named_types(condition: Condition) -> frozenset[str]:
    """Return the event types that a condition names, those of `unless` included; `unlocked` names none."""
    patterns = (*all_counted(condition), *resets(condition))
    return frozenset[str]().union(*map(pattern_types, patterns))
