"""Sequences: steps in order, other events may lie between.

An event that matches step i takes the latest start of a match up to step i-1 for its own; the steps are tried from last
to first so that one event fills one step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsl.event import Position
from dsl.nodes.late import nothing
from dsl.nodes.node import Measure, in_turn, measure, whole
from dsl.progress import KeyedSteps, Steps
from dsl.values import value_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dsl.event import Event
    from dsl.filters import Test
    from dsl.local_time import Now
    from dsl.nodes.late import LateStep, Lift, Undo
    from dsl.nodes.node import Reach, Step, Tests
    from dsl.progress import Grant, State

    Places = tuple[tuple[int, Test | None], ...]


class Sequences:
    """Per step the latest start of a match up to it; with `by`, per value of a field.

    `horizon` (microseconds) bounds how long a value is remembered whose steps are all older.
    """

    slot = -1

    def __init__(self, steps: Sequence[Tests], by: str | None, key: str, horizon: int | None) -> None:
        self.steps = tuple(steps)
        self.by = by
        self.horizon = horizon if by is not None else None
        self.types = frozenset[str]().union(*steps)
        self._key = key

    @property
    def length(self) -> int:
        """The number of steps."""
        return len(self.steps)

    def key(self) -> str:
        """See `Aggregate`."""
        return f"{self._key}/{self.horizon}"

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        return self.followed(event_type, ()) if self.by is None else self._keyed_step(event_type, self.by)

    def followed(self, event_type: str, others: Sequence[Step]) -> Step:
        """Return the step, without `by`, and behind it others that only concern what has moved."""
        slot, length, places = self.slot, self.length, self._places(event_type)
        begins = any(i == 0 for i, _ in places)
        after, single = in_turn(others), places[0][0] if len(places) == 1 else 0

        def step(state: State, event: Event) -> list[Grant] | None:
            nodes: dict[int, Any] = state.nodes
            node: Steps | None = nodes.get(slot)
            if node is None:
                if not begins:
                    return None
                node = Steps([None] * length)
                if not _advance(node.best, places, state, event):
                    return None
                nodes[slot] = node
                return after(state, event)
            best = node.best
            if single and best[single] is best[single - 1]:  # filled from the same start, or not begun: nothing moves
                return None
            return after(state, event) if _advance(best, places, state, event) else None

        return step

    def _keyed_step(self, event_type: str, by: str) -> Step:
        slot, length, places = self.slot, self.length, self._places(event_type)

        def step(state: State, event: Event) -> None:
            value = event.fields.get(by)
            if value is None:
                return
            node = state.nodes.get(slot)
            if not isinstance(node, KeyedSteps):
                node = KeyedSteps()
            key = value_key(value)
            best: list[Position | None] = node.best.get(key) or [None] * length
            if _advance(best, places, state, event):
                state.nodes[slot] = node
                node.best[key] = best
                self._settle(node, best, event)

        return step

    def _places(self, event_type: str) -> Places:
        """Return the steps that an event of one type may fill, last to first, each with its test."""
        steps = reversed(list(enumerate(self.steps)))
        return tuple((i, tests[event_type]) for i, tests in steps if event_type in tests)

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: nothing changes where no new match starts behind the latest full one.

        best[i] never lies behind best[i-1], so what does not lift the last step lifts none. Where values are forgotten
        with time, there is no rule.
        """
        if self.horizon is not None:
            return None
        lift, best_of = self.lift(event_type), self._best_of

        def take(state: State, event: Event, position: Position) -> Undo | None:
            highest = lift(state, event, position)
            if highest is None:
                return nothing
            best = best_of(state, event)
            done = None if best is None else best[-1]
            return None if done is None or done < highest else nothing

        return take

    def lift(self, event_type: str) -> Lift:
        """Return how far late events of one type can lift the start of a match up to any step.

        A new match has the event as some step i, and starts where a match up to step i-1 did that ended before it: not
        behind best[i-1] as it is by now, and before the event. Without one by now, there is no new match.
        """
        by, places, best_of = self.by, self._places(event_type), self._best_of

        def highest(state: State, event: Event, position: Position) -> Position | None:
            if by is not None and event.fields.get(by) is None:
                return None
            best, found = best_of(state, event), None
            for i, test in places:
                before = position if i == 0 else None if best is None else best[i - 1]
                if before is None or (found is not None and before <= found):
                    continue
                if test is None or test(state, event):
                    found = min(before, position)
            return found

        return highest

    def _best_of(self, state: State, event: Event) -> Sequence[Position | None] | None:
        """Return the steps that an event could fill as they are, None where nothing is known of any."""
        node = state.nodes.get(self.slot)
        if isinstance(node, KeyedSteps):
            return node.best.get(value_key(event.fields[self.by or ""]))
        return node.best if isinstance(node, Steps) else None

    def _settle(self, node: KeyedSteps, best: list[Position | None], event: Event) -> None:
        node.longest = max(node.longest, _matched(best))
        done = best[-1]
        if done is not None:
            node.start = done if node.start is None else max(node.start, done)
        if self.horizon is not None:
            oldest = event.at - self.horizon
            stale = [key for key, steps in node.best.items() if all(p is None or p.at < oldest for p in steps)]
            for key in stale:
                del node.best[key]


def _advance(best: list[Position | None], places: Places, state: State, event: Event) -> bool:
    """Let an event fill the steps it matches, last to first; return whether anything moved."""
    moved = False
    for i, test in places:
        here = best[i]
        if i:
            before = best[i - 1]
            # Most events find the step filled from the same start, by an event before them.
            if before is None or before is here:
                continue
        else:
            before = Position(event.at, event.id)
        if (test is None or test(state, event)) and (here is None or before > here):
            best[i] = before
            moved = True
    return moved


def _matched(best: Sequence[Position | None]) -> int:
    return max((i + 1 for i, position in enumerate(best) if position is not None), default=0)


class SequenceReached:
    """The latest start of a full match."""

    def __init__(self, sequences: Sequences) -> None:
        self.sequences = sequences
        self.types = sequences.types

    def start(self, state: State) -> Position | None:
        """See `Condition`."""
        node = state.nodes.get(self.sequences.slot)
        if node is None:
            return None
        if isinstance(node, KeyedSteps):
            return node.start
        return node.best[-1] if isinstance(node, Steps) else None

    def starter(self) -> Callable[[State], Position | None]:
        """Return `start` as a closure of its own; slots are known by now."""
        slot = self.sequences.slot
        if self.sequences.by is not None:
            return self.start

        def start(state: State) -> Position | None:
            nodes: dict[int, Any] = state.nodes
            node: Steps | None = nodes.get(slot)
            return None if node is None else node.best[-1]

        return start

    def holds(self, state: State) -> bool:
        """See `Condition`."""
        return self.start(state) is not None

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """See `Condition`."""
        del now
        if reach.has(self.start(state)):
            return whole(self.sequences.length)
        node = state.nodes.get(self.sequences.slot)
        longest = 0
        if isinstance(node, KeyedSteps):
            longest = max((_longest(best, reach) for best in node.best.values()), default=0)
        elif isinstance(node, Steps):
            longest = _longest(node.best, reach)
        return measure(longest, self.sequences.length)


def _longest(best: Sequence[Position | None], reach: Reach) -> int:
    return max((i + 1 for i, position in enumerate(best) if reach.has(position)), default=0)
