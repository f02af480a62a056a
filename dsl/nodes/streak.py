"""Streaks: active calendar units in one run.

A unit is active with at least `minimum` matching events, and a run bridges at most `grace` inactive units between two
active ones. With `tz=user` and `tz=event` a later event may carry an earlier label, up to two days back, so the last
few units stay open: those that some clock shows, or has yet to show. What lies before them is sealed and only counted.

Measured and tried: docs/decisions/0008-hot-path/fold.md.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from dsl.calendar import MAX_OFFSET, unit_index
from dsl.event import Position
from dsl.local_time import unit_now
from dsl.nodes.late import nothing, put
from dsl.nodes.node import CLOSED, Measure, measure, only, whole
from dsl.progress import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dsl.event import Event
    from dsl.local_time import Clock, Now
    from dsl.nodes.late import LateStep, Undo
    from dsl.nodes.node import Aggregate, Gate, Reach, Step, Tests
    from dsl.progress import Grant, State
    from dsl.types import Unit


def _nothing(state: State, event: Event) -> None:
    """Step with an event that is heard and changes nothing."""
    del state, event


class Shape(NamedTuple):
    """What makes a run: the unit, how many events make one active, how many inactive ones are bridged.

    `keep` is the number of units remembered of the sealed run: zero where no start is asked for, else the bound.
    """

    unit: Unit
    minimum: int
    grace: int
    keep: int


class Streaks:
    """The runs of one pattern in one zone. `zone_types` are events that may move the zone."""

    slot = -1
    source: Aggregate | None = None
    """What tells which units are active, where that is more than the number of events in them."""

    def __init__(
        self,
        tests: Tests,
        key: str,
        shape: Shape,
        clock: Clock,
        zone_types: frozenset[str],
    ) -> None:
        self.tests = tests
        self.unit = shape.unit
        self.clock = clock
        self.minimum = shape.minimum
        self.grace = shape.grace
        self.keep = shape.keep
        self.zone_types = zone_types if shape.keep else frozenset[str]()
        self.types = frozenset(tests) | self.zone_types
        self._key = key

    def key(self) -> str:
        """See `Aggregate`."""
        return f"{self._key}#{self.keep}"

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        moves = self.gated(event_type, CLOSED) if event_type in self.tests else None
        return self._tracking(moves) if self.keep else moves or _nothing

    def gated(self, event_type: str, gate: Gate) -> Step:
        """Return the step by which events of one type make units active, with judges of the longest run behind it."""
        return only(self.tests[event_type], self.moving(gate))

    def moving(self, gate: Gate) -> Step:
        """Return the same for events that match."""
        least, top, judge = gate
        slot, unit, minimum = self.slot, self.unit, self.minimum
        index_of, note = self.clock.unit_of(unit), self._take

        def step(state: State, event: Event) -> list[Grant] | None:
            nodes: dict[int, Any] = state.nodes
            node: Run | None = nodes.get(slot)
            if node is None:
                node = nodes[slot] = Run()
            index, recent = index_of(state, event), node.recent
            if recent:
                # Most events come in a unit that is active already, and change nothing.
                last, count = recent[-1]
                if last == index and count >= minimum:
                    return None
            note(node, index, unit_index(unit, event.at - MAX_OFFSET))
            return judge(state, event) if node.best >= least and top not in state.earned else None

        return step

    def _tracking(self, moves: Step | None) -> Step:
        """Return the step that also returns where the latest run becomes long enough, in the current zone."""
        slot, begin_of, unit = self.slot, self.clock.begin, self.unit

        def step(state: State, event: Event) -> None:
            if moves is not None:
                moves(state, event)
            node = state.nodes.get(slot)
            if isinstance(node, Run) and node.unit is not None:
                begin = Position(begin_of(state, unit, node.unit), "")
                node.start = begin if node.start is None else max(node.start, begin)

        return step

    def _take(self, node: Run, index: int, before: int) -> None:
        """Count one event in unit `index`, units below `before` being final."""
        self._seal(node, before)
        if self._note(node, index):
            (self._review if self.keep else self._lengthen)(node)

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: of a unit that was active by now, or of one that is not sealed yet.

        Units are counted in any order, and a run only grows with them: the longest one of all moments is the longest
        one by now. Where starts are remembered, there is no rule: they could have been there at an earlier moment.
        """
        if self.keep or event_type not in self.tests:
            return None
        slot, unit, minimum = self.slot, self.unit, self.minimum
        index_of, test = self.clock.unit_of(unit), self.tests[event_type]

        def take(state: State, event: Event, position: Position) -> Undo | None:
            del position
            if test is not None and not test(state, event):
                return nothing
            index, node = index_of(state, event), state.nodes.get(slot)
            if isinstance(node, Run) and (index == node.last or (index, minimum) in node.recent):
                return nothing
            if state.mark is None or index < unit_index(unit, state.mark.at - MAX_OFFSET):
                return None
            run = msgspec.structs.replace(node, recent=[*node.recent], tail=[]) if isinstance(node, Run) else Run()
            self._take(run, index, unit_index(unit, event.at - MAX_OFFSET))
            return put(state, slot, run)

        return take

    def _note(self, node: Run, index: int) -> bool:
        """Count one event in unit `index`; return whether that made the unit active."""
        recent = node.recent
        at = len(recent) - 1 if recent and recent[-1][0] == index else bisect_left(recent, (index, 0))
        if at < len(recent) and recent[at][0] == index:
            count = recent[at][1]
            if count >= self.minimum:
                return False
            recent[at] = (index, count + 1)
            return count + 1 == self.minimum
        recent.insert(at, (index, 1))
        return self.minimum == 1

    def _seal(self, node: Run, before: int) -> None:
        recent = node.recent
        while recent and recent[0][0] < before:
            index, count = recent.pop(0)
            if count < self.minimum:
                continue
            if node.last is not None and index - node.last - 1 <= self.grace:
                node.sealed += 1
            else:
                node.sealed = 1
                node.tail.clear()
            node.last = index
            if self.keep:
                node.tail.append(index)
                del node.tail[: max(0, len(node.tail) - self.keep)]

    def teller(self) -> Callable[[State], int]:
        """Return a function for the longest run; slots are known by now."""
        slot = self.slot

        def best(state: State) -> int:
            nodes: dict[int, Any] = state.nodes
            node: Run | None = nodes.get(slot)
            return 0 if node is None else node.best

        return best

    def runs(self, node: Run) -> Iterator[tuple[int, int]]:
        """Yield (active unit, number of active units in its run so far) of what can still change, oldest first."""
        last, length = node.last, node.sealed
        if last is not None:
            yield last, length
        for index, count in node.recent:
            if count >= self.minimum:
                length = length + 1 if last is not None and index - last - 1 <= self.grace else 1
                last = index
                yield index, length

    def _review(self, node: Run) -> None:
        """Bring the best length, and the start of the latest run that is long enough, up to date."""
        units = list(node.tail[:-1])
        for index, length in self.runs(node):
            node.best = max(node.best, length)
            if length == 1:
                units.clear()
            units.append(index)
            if self.keep and length >= self.keep:
                node.unit = units[-self.keep]

    def _lengthen(self, node: Run) -> None:
        """Bring the best length up to date where no start is asked for: `runs`, without a call for each."""
        last, length, best, minimum, bridged = node.last, node.sealed, node.best, self.minimum, self.grace + 1
        for index, count in node.recent:
            if count >= minimum:
                length = length + 1 if last is not None and index - last <= bridged else 1
                last = index
                best = max(best, length)
        node.best = best

    def begin(self, state: State, index: int) -> Position:
        """Return the place before all events of a unit, by the clock of now."""
        return Position(self.clock.begin(state, self.unit, index), "")

    def current(self, state: State, now: Now, reach: Reach, most: int) -> int:
        """Return how many active units, up to `most`, the run that reaches to a moment has within reach.

        As many as a bound could ask for: the unit that is n-th from the end of the run has to begin within reach.
        """
        node = state.nodes.get(self.slot)
        if not isinstance(node, Run):
            return 0
        runs = list(self.runs(node))
        if not runs or unit_now(self.clock, state, now, self.unit) - runs[-1][0] - 1 > self.grace:
            return 0
        length = runs[-1][1]
        if not self.keep:
            return length
        units = reversed([*node.tail[:-1], *(index for index, _ in runs)])
        near = enumerate(islice(units, min(length, most)), 1)
        return max((n for n, index in near if reach.has(self.begin(state, index))), default=0)


class StreakReached:
    """A run with at least `need` active units."""

    def __init__(self, streaks: Streaks, need: int) -> None:
        self.streaks = streaks
        self.need = need
        self.types = streaks.types

    def start(self, state: State) -> Position | None:
        """See `Condition`."""
        node = state.nodes.get(self.streaks.slot)
        return node.start if isinstance(node, Run) else None

    def holds(self, state: State) -> bool:
        """See `Condition`."""
        node = state.nodes.get(self.streaks.slot)
        return isinstance(node, Run) and node.best >= self.need

    def asker(self) -> Callable[[State], bool]:
        """Return `holds` as a closure of its own; slots are known by now."""
        best, need = self.streaks.teller(), self.need
        return lambda state: best(state) >= need

    def start_at(self, state: State, now: Now) -> Position | None:
        """Return the latest start in a moment: the zone of the user may have changed since the last event seen."""
        node = state.nodes.get(self.streaks.slot)
        if now.event is not None or not isinstance(node, Run) or node.unit is None:
            return self.start(state)
        begin = self.streaks.begin(state, node.unit)
        return begin if node.start is None else max(node.start, begin)

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """See `Condition`."""
        if reach.has(self.start_at(state, now)) if self.streaks.keep else self.holds(state):
            return whole(self.need)
        return measure(self.streaks.current(state, now, reach, self.need - 1), self.need)
