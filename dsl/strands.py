"""Plans folded strand by strand: a strand is an aggregate that only the judges of its own bounds look at.

What a strand remembers and earns depends on nothing else of the state. So a run of events may go through one strand
after the other: each takes it in bulk (dsl/nodes/in_bulk.py). All other operations take it event by event, as before.
State and grants are the same; only grants at one event may stand in another order.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.judge import Judge, gate_of
from dsl.memory import USER_ZONE, Entry, Seen
from dsl.nodes.in_bulk import adding_up, counting, distinct, streaks
from dsl.nodes.streak import Streaks
from dsl.nodes.totals import Distinct, Total
from dsl.unlocks import asked_for
from dsl.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.event import Event
    from dsl.judge import Rung
    from dsl.memory import Operation
    from dsl.nodes.in_bulk import Bulk
    from dsl.nodes.node import Gate, Tests
    from dsl.progress import Grant, State
    from dsl.wiring import Dispatch


EACH: Final = 6
"""Events for each strand from which on a run goes faster strand by strand."""
CHOICES: Final = 4
"""Ways to choose events by their types: each goes through the whole run."""
KNOWN: Final = 1024
"""Sets of event types whose strands are remembered."""


class Strand(NamedTuple):
    """An aggregate with its judges."""

    types: frozenset[str]
    tests: Tests | None
    """What events of the types must pass; None where all do."""
    bulk: Bulk
    ends: frozenset[int]
    """Slots of what it earns: nothing is left once all of them are earned."""


class Strands:
    """A plan, strand by strand.

    `rest` is what the plan does at an event besides, by event type; `ends` are the slots of what that earns, None where
    something of it is earned again and again.
    """

    def __init__(self, strands: Sequence[Strand], rest: Mapping[str, Dispatch], ends: frozenset[int] | None) -> None:
        self._strands = tuple(strands)
        self._chosen: dict[frozenset[str], tuple[Strand, ...] | None] = {}
        self.rest = rest
        self._ends = ends

    def over(self, state: State) -> bool:
        """Tell whether the rest has earned all that it can earn."""
        return self._ends is not None and state.earned.keys() >= self._ends

    def of(self, events: Sequence[Event]) -> tuple[Strand, ...] | None:
        """Return the strands that hear a run of events; None where it takes less to go through it event by event."""
        types = frozenset([event.type for event in events])
        try:
            chosen = self._chosen[types]
        except KeyError:
            if len(self._chosen) >= KNOWN:
                self._chosen.clear()
            chosen = self._chosen[types] = self._hearing(types)
        return None if chosen is None or len(events) < EACH * len(chosen) else chosen

    def _hearing(self, types: frozenset[str]) -> tuple[Strand, ...] | None:
        chosen = tuple(strand for strand in self._strands if not strand.types.isdisjoint(types))
        choices = {strand.types & types for strand in chosen}
        return None if len(choices) > CHOICES else chosen


def by_strands(chosen: Sequence[Strand], state: State, events: Sequence[Event], *, kept: bool) -> list[list[Grant]]:
    """Fold a run of events by strands that hear it, in canonical order; return what each earns, in that order.

    Without `kept`, a strand that has earned all that it can earn takes no more.
    """
    found: list[list[Grant]] = []
    own_of: dict[frozenset[str], Sequence[Event]] = {}
    for strand in chosen:
        if not kept and state.earned.keys() >= strand.ends:
            continue
        own = own_of.get(strand.types)
        if own is None:
            own = own_of[strand.types] = [event for event in events if event.type in strand.types]
        if (tests := strand.tests) is not None:
            own = [event for event in own if (test := tests[event.type]) is None or test(state, event)]
        if own and (grants := strand.bulk(state, own)):
            found.append(grants)
    return found


def strands_of(operations: Sequence[Operation], dispatch: Mapping[str, Dispatch]) -> Strands | None:
    """Return the strands of the operations of a plan; None where there is none."""
    judges = [each for each in operations if isinstance(each, Judge)]
    entries = [each for each in operations if isinstance(each, Entry)]
    if len(judges) + len(entries) < len(operations):
        return None
    asking: dict[int, dict[int, Judge]] = {entry.aggregate.slot: {} for entry in entries}
    for judge in judges:
        for aggregate in judge.asked():
            asking.setdefault(aggregate.slot, {})[id(judge)] = judge
    # What others name is judged at its event, before these, and so is what hears copies or traits.
    asks = [asked_for(judge.version) for judge in judges]
    named = frozenset[str]().union(*asks)
    rung_of = {
        id(judge): rung
        for judge, names in zip(judges, asks, strict=True)
        if not names and judge.version.name.text not in named and (rung := judge.rung()) is not None
    }
    plain = frozenset(name for name, entry in dispatch.items() if entry.once is None and not entry.traits)
    strands: list[Strand] = []
    taken: set[int] = set()
    for entry in entries:
        own = asking[entry.aggregate.slot]
        if not own or not own.keys() <= rung_of.keys() or not entry.types <= plain:
            continue
        strand = _strand(entry, [(rung_of[key], judge) for key, judge in own.items()])
        if strand is not None:
            strands.append(strand)
            taken |= {id(entry), *own}
    if not strands:
        return None
    others = [each for each in operations if id(each) not in taken]
    return Strands(strands, _rest(others, dispatch), _ends(others))


def _strand(entry: Entry, rungs: Sequence[tuple[Rung, Judge]]) -> Strand | None:
    """Return the strand of an aggregate with all its judges; None where it takes no events in bulk."""
    aggregate = entry.aggregate
    if not isinstance(aggregate, Total | Streaks) or entry.seen != Seen() or entry.is_spent is not None:
        return None
    if USER_ZONE in entry.key():
        return None  # another event may move it
    if not all(rung.aggregate is aggregate and judge.types >= entry.types for rung, judge in rungs):
        return None
    bulk = _bulk(aggregate, gate_of(rungs, ""))
    if bulk is None:
        return None
    tests = aggregate.tests if any(test is not None for test in aggregate.tests.values()) else None
    return Strand(entry.types, tests, bulk, frozenset(judge.ruling.slot for _, judge in rungs))


def _bulk(aggregate: Total | Streaks, gate: Gate) -> Bulk | None:
    if type(aggregate) is Distinct:
        return distinct(aggregate, gate)
    if type(aggregate) is Total:
        return counting(aggregate, gate) if aggregate.field is None else adding_up(aggregate, aggregate.field, gate)
    return streaks(aggregate, gate) if type(aggregate) is Streaks else None


def _rest(operations: Sequence[Operation], dispatch: Mapping[str, Dispatch]) -> dict[str, Dispatch]:
    heard: defaultdict[str, list[Operation]] = defaultdict(list)
    for each in operations:
        for name in each.types:
            heard[name].append(each)
    rest: dict[str, Dispatch] = {}
    for name, entry in dispatch.items():
        steps = tuple(Wiring(heard[name], name).steps())
        if steps or entry.once is not None or entry.traits:
            rest[name] = msgspec.structs.replace(entry, steps=steps)
    return rest


def _ends(operations: Sequence[Operation]) -> frozenset[int] | None:
    judges = [each for each in operations if isinstance(each, Judge)]
    once = all(judge.version.repeat is None for judge in judges)
    return frozenset(judge.ruling.slot for judge in judges) if once else None
