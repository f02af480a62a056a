"""Keyed conditions of the tree to nodes: what is compiled once for each group, and what is asked of all groups.

The condition of a group is built by a memory of its own: its aggregates are shared among the parts of that condition,
and with nothing outside of it. What is seen (`active`, `fresh`) and whose it is (`repeat`) is decided outside.
"""

from __future__ import annotations

from collections import defaultdict
from math import floor
from typing import TYPE_CHECKING

import msgspec

from dsl.built_ins import ACTOR
from dsl.filters import any_of, compile_pattern, pattern_types
from dsl.memory import USER_ZONE, Context, Seen
from dsl.nodes.groups import Groups, Inside
from dsl.nodes.keys import FieldKeys, UnitKeys
from dsl.nodes.node import Condition as Node
from dsl.nodes.over_groups import ActiveUnits, GroupsReached
from dsl.nodes.streak import Shape, StreakReached
from dsl.syntax import CountGroups, CountUnits, StreakUnits
from dsl.trees import all_counted, counted, fields_of, in_group, key_names, key_text, resets, walk, with_zone
from dsl.types import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dsl.filters import Test
    from dsl.memory import Fields, Memory
    from dsl.nodes.keys import Keys
    from dsl.nodes.node import Tests
    from dsl.syntax import Cmp, Condition, Nested

    Build = Callable[[Memory, Condition, Context], "Made"]


class Made(msgspec.Struct, frozen=True):
    """A condition: its node, and its canonical form with bounds."""

    node: Node
    key: str


class _Asked(msgspec.Struct, frozen=True):
    """What each group is asked: its condition, what makes it, its fields, and whether each earns something."""

    inside: Inside
    key: str
    reads: frozenset[tuple[str, str]]


def grouped(memory: Memory, tree: Condition, context: Context, build: Build) -> Made:
    """Build `C by=F`: it holds when C holds in one group."""
    names = key_names(tree)
    asked = _asked(memory, in_group(tree), context, names, build)
    owned = context.owner.startswith("by ")
    key = f"{asked.key} by {key_text(names)}"
    groups = _share(memory, context, asked, key, FieldKeys(names, labels=owned), owned=owned)
    return Made(GroupsReached(groups, 1, counting=False), f"({key})")


def nested(memory: Memory, tree: Nested, context: Context, build: Build) -> Made:
    """Build a condition that is asked of each value, or of each calendar unit."""
    match tree:
        case CountGroups():
            return _count_groups(memory, tree, context, build)
        case CountUnits():
            return _count_units(memory, tree, context, build)
        case StreakUnits():
            return _streak_units(memory, tree, context, build)


def _count_groups(memory: Memory, tree: CountGroups, context: Context, build: Build) -> Made:
    """Build `count(by=F, C, CMP)`: so many values of F for which C holds."""
    names, need = tuple(name.text for name in tree.by), at_least(tree.cmp)
    asked = _asked(memory, tree.inner, context, names, build)
    key = f"{asked.key} by {key_text(names)}"
    groups = _share(memory, context, asked, key, FieldKeys(names))
    return Made(GroupsReached(groups, need, counting=True), f"count({key})>={need}")


def _count_units(memory: Memory, tree: CountUnits, context: Context, build: Build) -> Made:
    """Build `count(per=UNIT, C, CMP)`: so many calendar units on whose events C holds."""
    unit, clock, need = Unit(tree.unit.text), memory.clock(tree.mods), at_least(tree.cmp)
    context = memory.spending(context, unit, clock)
    asked = _asked(memory, with_zone(tree.inner, tree.mods.tz), context, (), build)
    key = f"{asked.key} in {unit.value}@{clock.key}"
    groups = _share(memory, context, asked, key, UnitKeys(unit, clock))
    return Made(GroupsReached(groups, need, counting=True), f"count({key})>={need}")


def _streak_units(memory: Memory, tree: StreakUnits, context: Context, build: Build) -> Made:
    """Build `streak(per=UNIT, C, CMP)`: so many units in a row on whose events C holds."""
    unit, clock, need = Unit(tree.unit.text), memory.clock(tree.mods), at_least(tree.cmp)
    keep = need if context.tracked else 0
    context = memory.spending(context, unit, clock)
    held = msgspec.structs.replace(context, tracked=False)
    asked = _asked(memory, with_zone(tree.inner, tree.mods.tz), held, (), build)
    key = f"streak({asked.key} in {unit.value}@{clock.key} grace {tree.grace})"
    groups = _share(memory, held, asked, f"units of {key}#{keep}", UnitKeys(unit, clock), owned=True)
    zone_types = memory.ticks(clock) if clock.key == "user" else frozenset[str]()

    def make() -> ActiveUnits:
        return ActiveUnits(groups, key, Shape(unit, 1, tree.grace, keep), clock, zone_types)

    streaks = memory.share(f"{key}#{keep}", context, make, asked.reads)
    return Made(StreakReached(streaks, need), f"{key}>={need}")


def _share(memory: Memory, context: Context, asked: _Asked, key: str, keys: Keys, *, owned: bool = False) -> Groups:
    full = f"groups {key}/{'tracked' if context.tracked else 'held'}/{context.horizon}"

    def make() -> Groups:
        return Groups(asked.inside, keys, full, tracked=context.tracked, owned=owned)

    return memory.share(full, context, make, asked.reads)


def _asked(memory: Memory, tree: Condition, context: Context, names: Sequence[str], build: Build) -> _Asked:
    inner = memory.inside()
    made = build(
        inner, tree, Context(Seen(), tracked=context.tracked, horizon=context.horizon, spender=context.spender)
    )
    inner.number()
    memory.uses_user_zone |= inner.uses_user_zone
    inside = Inside(tuple(inner.entries.values()), made.node, _tests(memory, tree), USER_ZONE in made.key)
    return _Asked(inside, made.key, _reads(tree, names))


def _tests(memory: Memory, tree: Condition) -> Tests:
    """Return what a condition counts anywhere: per event type a test, None where every event is counted."""
    found: defaultdict[str, list[Test | None]] = defaultdict(list)
    for part in walk(tree):
        clock = memory.clock(part.mods)
        for pattern in counted(part):
            for event_type, test in compile_pattern(pattern, clock).items():
                found[event_type].append(test)
    return {event_type: any_of(tests) for event_type, tests in found.items()}


def _reads(tree: Condition, names: Sequence[str]) -> Fields:
    """Return all fields that a condition and the keys of its groups read, of every event that it names."""
    found: Fields = frozenset[tuple[str, str]]().union(*(fields_of(part) for part in walk(tree)))
    for pattern in (*all_counted(tree), *resets(tree)):
        for name in names:
            found |= frozenset() if name == ACTOR else {(event, name) for event in pattern_types(pattern)}
    return found


def at_least(cmp: Cmp) -> int:
    """Return the smallest whole number that satisfies a lower bound."""
    least = floor(cmp.bound)
    return least if cmp.op == ">=" and least == cmp.bound else least + 1
