"""Distinct counts of what one event may have several values of: the elements of a list, and what is no field.

They differ from the counts of a plain field in their steps alone; states, bounds and progress are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.calendar import unit_index
from dsl.event import Position
from dsl.nodes.late import nothing, put
from dsl.nodes.node import only
from dsl.nodes.recent import RecentDistinct
from dsl.nodes.totals import Distinct, SinceDistinct, UnitDistinct
from dsl.progress import RecentValues, SinceValues, UnitValues, Values

if TYPE_CHECKING:
    from collections.abc import Collection

    from dsl.event import Event
    from dsl.filters import Keys
    from dsl.local_time import Clock
    from dsl.nodes.late import LateStep, Undo
    from dsl.nodes.node import Gate, Step, Tests
    from dsl.progress import Grant, State
    from dsl.types import Unit


def _fill(seen: set[str], keys: Collection[str], cap: int) -> None:
    """Add keys in their order until there are `cap` of them: more decide nothing."""
    for key in keys:
        if len(seen) >= cap:
            return
        seen.add(key)


class DistinctKeys(Distinct):
    """See `Distinct`."""

    def __init__(self, tests: Tests, keys: Keys, key: str) -> None:
        super().__init__(tests, "", key)
        self.keys = keys

    def gated(self, event_type: str, gate: Gate) -> Step:
        """See `Total`."""
        slot, keys_of, cap, (least, top, judge) = self.slot, self.keys, self.cap, gate

        def step(state: State, event: Event) -> list[Grant] | None:
            keys = keys_of(state, event)
            if not keys:
                return None
            node = state.nodes.get(slot)
            if not isinstance(node, Values):
                node = state.nodes[slot] = Values()
            _fill(node.seen, keys, cap)
            return judge(state, event) if len(node.seen) >= least and top not in state.earned else None

        return only(self.tests[event_type], step)

    def late(self, event_type: str) -> LateStep | None:
        """See `Distinct`."""
        slot, test, keys_of, cap = self.slot, self.tests[event_type], self.keys, self.cap

        def take(state: State, event: Event, position: Position) -> Undo | None:
            del position
            keys = keys_of(state, event)
            if not keys or (test is not None and not test(state, event)):
                return nothing
            node = state.nodes.get(slot)
            seen = set(node.seen) if isinstance(node, Values) else set[str]()
            _fill(seen, keys, cap)
            return put(state, slot, Values(seen))

        return take


class UnitDistinctKeys(UnitDistinct):
    """See `UnitDistinct`."""

    def __init__(self, tests: Tests, keys: Keys, key: str, unit: Unit, clock: Clock) -> None:
        super().__init__(tests, "", key, unit, clock)
        self.keys = keys

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, test, keys_of, cap = self.slot, self.tests[event_type], self.keys, self.cap
        unit, local = self.unit, self.clock.local

        def step(state: State, event: Event) -> None:
            keys = keys_of(state, event)
            if not keys or (test is not None and not test(state, event)):
                return
            index = unit_index(unit, local(state, event))
            node = state.nodes.get(slot)
            if not isinstance(node, UnitValues):
                node = state.nodes[slot] = UnitValues(index)
            if node.unit != index:
                node.unit, node.seen = index, set()
            _fill(node.seen, keys, cap)
            node.best = max(node.best, len(node.seen))

        return step


class SinceDistinctKeys(SinceDistinct):
    """See `SinceDistinct`."""

    def __init__(self, tests: Tests, keys: Keys, key: str, unless: Tests) -> None:
        super().__init__(tests, "", key, unless)
        self.keys = keys

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, keys_of, cap = self.slot, self.keys, self.cap
        matches, test = event_type in self.tests, self.tests.get(event_type)
        breaks, stop = event_type in self.unless, self.unless.get(event_type)

        def step(state: State, event: Event) -> None:
            node = state.nodes.get(slot)
            if breaks and (stop is None or stop(state, event)):
                if isinstance(node, SinceValues):
                    node.seen.clear()
                return
            keys = keys_of(state, event) if matches else ()
            if not keys or (test is not None and not test(state, event)):
                return
            if not isinstance(node, SinceValues):
                node = state.nodes[slot] = SinceValues()
            _fill(node.seen, keys, cap)
            node.best = max(node.best, len(node.seen))

        return step


class RecentDistinctKeys(RecentDistinct):
    """See `RecentDistinct`."""

    def __init__(self, tests: Tests, key: str, horizon: int | None, keys: Keys) -> None:
        super().__init__(tests, key, horizon, "")
        self.keys = keys

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, test, keys_of, cap = self.slot, self.tests[event_type], self.keys, self.cap

        def step(state: State, event: Event) -> None:
            keys = keys_of(state, event)
            if not keys or (test is not None and not test(state, event)):
                return
            node = state.nodes.get(slot)
            if not isinstance(node, RecentValues):
                node = state.nodes[slot] = RecentValues()
            last, position = node.last, Position(event.at, event.id)
            for key in keys:
                last.pop(key, None)
                last[key] = position
            oldest = self.oldest(event)
            while len(last) > cap or next(iter(last.values())).at < oldest:
                del last[next(iter(last))]

        return step
