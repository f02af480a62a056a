"""What is asked of all groups of a keyed condition: whether enough of them hold, and runs of units that do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsl.calendar import MAX_OFFSET, unit_index
from dsl.nodes.compose import OverGroups, start_at
from dsl.nodes.node import NOTHING, Measure, in_turn, measure, whole
from dsl.nodes.streak import Streaks
from dsl.progress import KeyedGroups, Run, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.event import Event, Position
    from dsl.local_time import Clock, Now
    from dsl.nodes.groups import Groups
    from dsl.nodes.node import Reach, Step
    from dsl.nodes.streak import Shape


class GroupsReached(OverGroups):
    """At least `need` groups hold. `counting` where it is their number that is asked for, and not that there is one."""

    def __init__(self, groups: Groups, need: int, *, counting: bool) -> None:
        super().__init__(groups, groups.inside.node)
        self.groups = groups
        self.need = need
        self.counting = counting
        if groups.tracked:
            groups.cap = max(groups.cap, need)

    def start(self, state: State) -> Position | None:
        """See `Condition`: the n-th latest of the groups' latest starts."""
        node = self.groups.node_of(state)
        if node is None or node.holding < self.need:
            return None
        return node.start if self.need == 1 else node.latest[-self.need][0]

    def start_at(self, state: State, now: Now) -> Position | None:
        """Return the latest start in a moment."""
        if now.event is not None or not self.groups.restless:
            return self.start(state)
        starts = sorted(self._starts(state, now))
        return starts[-self.need] if len(starts) >= self.need else None

    def holds(self, state: State) -> bool:
        """See `Condition`."""
        node = self.groups.node_of(state)
        return node is not None and node.holding >= self.need

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """See `Condition`: of the group that is furthest, or the number of those that hold."""
        return self._number(state, now, reach) if self.counting else self._furthest(state, now, reach)

    def _number(self, state: State, now: Now, reach: Reach) -> Measure:
        groups = self.groups
        node = groups.node_of(state)
        if node is None:
            return measure(0, self.need)
        if not groups.tracked:
            return measure(node.holding, self.need)
        if groups.restless and now.event is None:
            return measure(sum(map(reach.has, self._starts(state, now))), self.need)
        if self.need == 1:
            return measure(int(reach.has(node.start)), 1)
        return measure(sum(reach.has(start) for start, _ in node.latest), self.need)

    def furthest(self, state: State, now: Now, reach: Reach) -> tuple[str, Measure] | None:
        """Return the key and the progress of the group that is furthest, those left out that have earned."""
        inner = self.groups.inside.node
        found = ((key, inner.measure(each, now, reach)) for key, each in self.groups.seen(state))
        return max(found, key=lambda pair: pair[1].fraction, default=None)

    def _furthest(self, state: State, now: Now, reach: Reach) -> Measure:
        groups = self.groups
        inner = groups.inside.node
        none = _none(inner.measure(State(), now, reach))
        full = self.holds(state) and (not groups.tracked or reach.has(self.start_at(state, now)))
        if groups.owned:
            node = groups.node_of(state)
            full = node is not None and bool(node.ready)
        if full:
            return whole(none.target) if none.target is not None else Measure(none.fraction + 1)
        found = self.furthest(state, now, reach)
        return none if found is None else found[1]

    def _starts(self, state: State, now: Now) -> Iterator[Position]:
        inner = self.groups.inside.node
        for _, each in self.groups.seen(state):
            start = start_at(inner, each, now)
            if start is not None:
                yield start


def _none(empty: Measure) -> Measure:
    """Return the progress where there is no group, from that of a condition without events."""
    return NOTHING if empty.target is None else Measure(NOTHING.fraction, 0, empty.target)


class ActiveUnits(Streaks):
    """The runs of calendar units in which a condition holds, as its groups tell."""

    def __init__(self, groups: Groups, key: str, shape: Shape, clock: Clock, zone_types: frozenset[str]) -> None:
        super().__init__({}, key, shape, clock, zone_types)
        self.source = self._groups = groups
        self.types = groups.types | self.zone_types

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        moves = self._taking() if event_type in self._groups.types else None
        return self._tracking(moves) if self.keep else moves or in_turn(())

    def _taking(self) -> Step:
        """Return the step that takes the units over in which the condition has come to hold."""
        slot, source, unit = self.slot, self._groups.slot, self.unit
        sealing = not self._groups.named

        def take(state: State, event: Event) -> None:
            nodes: dict[int, Any] = state.nodes
            groups: KeyedGroups | None = nodes.get(source)
            if groups is None or not groups.ready:
                return
            run: Run | None = nodes.get(slot)
            if run is None:
                run = nodes[slot] = Run()
            before = unit_index(unit, event.at - MAX_OFFSET) if sealing else -(2**63)
            for index in sorted(map(int, groups.ready)):
                self._take(run, index, before)
            groups.ready.clear()

        return take
