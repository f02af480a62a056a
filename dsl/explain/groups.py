"""Keyed conditions and calendar units in explanations: what an event is to a group, and what the furthest one lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl import words
from dsl.built_ins import ACTOR
from dsl.calendar import label, unit_index
from dsl.explain.unmet import shown
from dsl.nodes.over_groups import GroupsReached
from dsl.syntax import CountGroups, CountUnits, StreakUnits
from dsl.trees import in_group, key_names
from dsl.types import Unit
from dsl.values import canonical_number, minus
from dsl.watch import lacks

if TYPE_CHECKING:
    from dsl.event import Event
    from dsl.local_time import Now
    from dsl.nodes.node import Measure, Reach
    from dsl.progress import State
    from dsl.watch import Probe


def grouped(probe: Probe, state: State, now: Now, reach: Reach) -> str:
    """Return what a condition of groups lacks: so many more values or units, or what its furthest group does."""
    tree, measure = probe.tree, probe.measure(state, now, reach)
    match tree:
        case CountGroups(by=by, inner=inner):
            return f"{_more(measure)} {words.fields(by)}, each with {words.condition(inner)}"
        case CountUnits(unit=unit, inner=inner):
            return f"{_units(measure, unit.text)}, each with {words.condition(inner)}"
        case _:
            return _furthest(probe, state, now, reach)


def _more(measure: Measure) -> str:
    left = canonical_number(minus(measure.target or 0, measure.current or 0))
    return f"{left} more" if measure.current else f"{left} different"


def _units(measure: Measure, unit: str) -> str:
    left = minus(measure.target or 0, measure.current or 0)
    return words.plural(left, f"more {unit}" if measure.current else unit)


def _furthest(probe: Probe, state: State, now: Now, reach: Reach) -> str:
    """Return how far the group is that is furthest, by its value."""
    asked = words.condition(in_group(probe.tree))
    names = words.fields(probe.tree.mods.by)
    bare = probe.bare
    found = bare.furthest(state, now, reach) if isinstance(bare, GroupsReached) else None
    if found is None or not found[1].fraction:
        return f"{asked}, all with the same {names}"
    key, measure = found
    value = "one of them" if key.startswith(("\x01", "\0", "[")) else shown(key)
    how = f"{int(measure.fraction * 100)}%"
    if measure.current is not None and measure.target is not None:
        how = f"{canonical_number(measure.current)} of {canonical_number(measure.target)}"
    return f"{asked}, all with the same {names}: {how} for {value}"


def belongs(probe: Probe, state: State, event: Event) -> str:
    """Return which group an event counts in."""
    tree = probe.tree
    if isinstance(tree, CountUnits | StreakUnits):
        unit = Unit(tree.unit.text)
        return f"{unit.value} {label(unit, unit_index(unit, probe.clock.local(state, event)))}"
    names = tuple(name.text for name in tree.by) if isinstance(tree, CountGroups) else key_names(tree)
    values = (f"{name} {shown(event.user if name == ACTOR else event.fields.get(name, ''))}" for name in names)
    return f"counts for {', '.join(values)}"


def has_keys(probe: Probe, event: Event) -> bool:
    """Return whether an event has the fields that groups are made by."""
    tree = probe.tree
    names = tuple(name.text for name in (tree.by if isinstance(tree, CountGroups) else tree.mods.by))
    return lacks(event, tuple(name for name in names if name != ACTOR)) is None
