"""Plans folded strand by strand: a strand is an aggregate that only the judges of its own bounds look at.

What a strand remembers and earns depends on nothing else of the state. So a run of events may go through one strand
after the other: each takes it in bulk (dsl/nodes/in_bulk.py). All other operations take it event by event, as before.
State and grants are the same; only grants at one event may stand in another order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.event import Position
from dsl.judge import Judge, gate_of
from dsl.memory import Entry, Seen
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
    from dsl.nodes.node import Gate, Step, Tests
    from dsl.progress import Grant, State


class Strand(NamedTuple):
    """An aggregate with its judges."""

    types: frozenset[str]
    tests: Tests | None
    """What events of the types must pass; None where all do."""
    bulk: Bulk
    ends: frozenset[int]
    """Slots of what it earns: nothing is left once all of them are earned."""


class Rest(NamedTuple):
    """All that is no strand."""

    steps: Mapping[str, Sequence[Step]]
    """By event type."""
    ends: frozenset[int] | None
    """As of a strand; None where something is earned again and again."""

    def over(self, state: State) -> bool:
        """Tell whether nothing is left to be earned."""
        return self.ends is not None and state.earned.keys() >= self.ends

    def take(self, state: State, events: Sequence[Event], *, kept: bool) -> list[Grant]:
        """Fold events one by one; where one cannot be folded, it is the mark."""
        grants: list[Grant] = []
        for event in events:
            try:
                for step in self.steps.get(event.type, ()):
                    if earned := step(state, event):
                        grants += earned
            except Exception:
                state.mark = Position(event.at, event.id)
                raise
            if grants and not kept and self.over(state):
                break
        return grants


class Strands:
    """A plan, strand by strand."""

    def __init__(self, strands: Sequence[Strand], rest: Rest) -> None:
        self._strands = tuple(strands)
        self._rest = rest

    def take(self, state: State, events: Sequence[Event], *, kept: bool) -> list[Grant]:
        """Fold events of one subject, in canonical order; return what they earn, in that order.

        Without `kept`, what has earned all that it may is folded no further.
        """
        found: list[list[Grant]] = []
        types = {event.type for event in events}
        chosen: dict[frozenset[str], Sequence[Event]] = {}
        for strand in self._strands:
            if not kept and state.earned.keys() >= strand.ends:
                continue
            own = chosen.get(strand.types)
            if own is None:
                own = events if types <= strand.types else [event for event in events if event.type in strand.types]
                chosen[strand.types] = own
            if (tests := strand.tests) is not None:
                own = [event for event in own if (test := tests[event.type]) is None or test(state, event)]
            if own and (grants := strand.bulk(state, own)):
                found.append(grants)
        rest = self._rest
        if not rest.steps.keys().isdisjoint(types) and (kept or not rest.over(state)):
            found.append(rest.take(state, events, kept=kept))
        if len(found) == 1:
            return found[0]
        return sorted([grant for grants in found for grant in grants], key=_place)


def _place(grant: Grant) -> tuple[int, str]:
    return grant.earned_at, grant.event_id


def strands_of(operations: Sequence[Operation], types: frozenset[str]) -> Strands | None:
    """Return the strands of operations on events of some types; None where there is none.

    No event of the types may bring a trait, or be a copy. An operation may not look at others but through aggregates.
    """
    judges = [each for each in operations if isinstance(each, Judge)]
    entries = [each for each in operations if isinstance(each, Entry)]
    if len(judges) + len(entries) < len(operations) or any(asked_for(judge.version) for judge in judges):
        return None
    asking: dict[int, list[Judge]] = {entry.aggregate.slot: [] for entry in entries}
    for judge in judges:
        for aggregate in judge.asked():
            if judge not in (known := asking.setdefault(aggregate.slot, [])):
                known.append(judge)
    strands: list[Strand] = []
    taken: set[int] = set()
    for entry in entries:
        own = asking[entry.aggregate.slot]
        rungs = [(rung, judge) for judge in own if (rung := judge.rung()) is not None]
        if own and len(rungs) == len(own) and (strand := _strand(entry, rungs)) is not None:
            strands.append(strand)
            taken |= {id(entry), *map(id, own)}
    if not strands:
        return None
    others = [each for each in operations if id(each) not in taken]
    return Strands(strands, _rest(others, types))


def _strand(entry: Entry, rungs: Sequence[tuple[Rung, Judge]]) -> Strand | None:
    """Return the strand of an aggregate with all its judges; None where it takes no events in bulk."""
    aggregate = entry.aggregate
    heard = all(rung.aggregate is aggregate and judge.types >= entry.types for rung, judge in rungs)
    if not heard or entry.seen != Seen() or entry.is_spent is not None:
        return None
    bulk = _bulk(aggregate, gate_of(rungs, ""))
    if bulk is None or not isinstance(aggregate, Total | Streaks):
        return None
    tests = aggregate.tests if any(test is not None for test in aggregate.tests.values()) else None
    return Strand(entry.types, tests, bulk, frozenset(judge.ruling.slot for _, judge in rungs))


def _bulk(aggregate: object, gate: Gate) -> Bulk | None:
    if type(aggregate) is Distinct:
        return distinct(aggregate, gate)
    if type(aggregate) is Total:
        return counting(aggregate, gate) if aggregate.field is None else adding_up(aggregate, aggregate.field, gate)
    return streaks(aggregate, gate) if type(aggregate) is Streaks else None


def _rest(operations: Sequence[Operation], types: frozenset[str]) -> Rest:
    judges = [each for each in operations if isinstance(each, Judge)]
    steps: dict[str, tuple[Step, ...]] = {}
    for name in types:
        if heard := tuple(Wiring([each for each in operations if name in each.types], name).steps()):
            steps[name] = heard
    once = all(judge.version.repeat is None for judge in judges)
    return Rest(steps, frozenset(judge.ruling.slot for judge in judges) if once else None)
