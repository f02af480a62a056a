"""Composition and spans: `all any at_least unlocked`, and `within per unless` on whatever has a latest start.

The table of the language's meaning, row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.event import Position
from dsl.nodes.node import ALL, NOTHING, Measure, whole
from dsl.progress import Held, Since

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.clock import Clock
    from dsl.event import Event
    from dsl.nodes.node import Condition, Step, Tests
    from dsl.progress import State
    from dsl.types import Unit


class Combined:
    """`k` of the parts hold: the k-th latest of their starts."""

    def __init__(self, parts: Sequence[Condition], k: int) -> None:
        self.parts = tuple(parts)
        self.k = k
        self.types = frozenset[str]().union(*(part.types for part in parts))

    def start(self, state: State) -> Position | None:
        """See `Condition`."""
        starts = [start for part in self.parts if (start := part.start(state)) is not None]
        return sorted(starts)[-self.k] if len(starts) >= self.k else None

    def holds(self, state: State) -> bool:
        """See `Condition`."""
        missing = self.k
        for part in self.parts:
            if part.holds(state):
                missing -= 1
                if not missing:
                    return True
        return False

    def measure(self, state: State, now: int, floor: Position) -> Measure:
        """See `Condition`: the mean of the k largest."""
        fractions = sorted((part.measure(state, now, floor).fraction for part in self.parts), reverse=True)
        return Measure(sum(fractions[: self.k], start=NOTHING.fraction) / self.k)


class Has:
    """`unlocked(x)`: the event that earned it, the earliest over `slots` (tiers)."""

    def __init__(self, slots: Sequence[int], types: frozenset[str]) -> None:
        self.slots = tuple(slots)
        self.types = types

    def start(self, state: State) -> Position | None:
        """See `Condition`."""
        earned = state.earned
        return min((earned[slot].first for slot in self.slots if slot in earned), default=None)

    def holds(self, state: State) -> bool:
        """See `Condition`."""
        return any(slot in state.earned for slot in self.slots)

    def measure(self, state: State, now: int, floor: Position) -> Measure:
        """See `Condition`: nought or one."""
        del now
        start = self.start(state)
        return whole(1) if start is not None and start >= floor else Measure(NOTHING.fraction, 0, 1)


class _Span:
    """What the spans share: the latest start that the inner condition had while the span held it.

    `ticks` are event types that are moments of their own, though the inner condition does not move at them.
    """

    slot = -1

    def __init__(self, inner: Condition, key: str, ticks: frozenset[str]) -> None:
        self.inner = inner
        self.types = inner.types | ticks
        self._key = key

    def key(self) -> str:
        """See `Aggregate`."""
        return self._key

    def start(self, state: State) -> Position | None:
        """See `Condition`."""
        node = state.nodes.get(self.slot)
        return node.start if isinstance(node, (Held, Since)) else None

    def holds(self, state: State) -> bool:
        """See `Condition`."""
        return self.start(state) is not None

    def floor(self, state: State, now: int) -> Position:
        """Return where the span that reaches to `now` begins."""
        raise NotImplementedError

    def measure(self, state: State, now: int, floor: Position) -> Measure:
        """See `Condition`: full once it held, else of what lies in the span that reaches to `now`."""
        inner = self.inner.measure(state, now, max(floor, self.floor(state, now)))
        start = self.start(state)
        if start is None or start < floor:
            return inner
        return whole(inner.target) if inner.target is not None else ALL

    def _hold(self, state: State, start: Position) -> None:
        node = state.nodes.get(self.slot)
        if not isinstance(node, Held):
            state.nodes[self.slot] = Held(start)
        elif node.start is None or start > node.start:
            node.start = start


class Within(_Span):
    """The latest start at a moment when it lay less than `length` microseconds before that moment."""

    def __init__(self, inner: Condition, key: str, length: int, ticks: frozenset[str]) -> None:
        super().__init__(inner, key, ticks)
        self.length = length

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        del event_type
        inner, length, hold = self.inner.start, self.length, self._hold

        def step(state: State, event: Event, position: Position) -> None:
            del position
            start = inner(state)
            if start is not None and event.at - start.at < length:
                hold(state, start)

        return step

    def floor(self, state: State, now: int) -> Position:
        """See `_Span`."""
        del state
        return Position(now - self.length + 1, "")


class Per(_Span):
    """The latest start at a moment in whose calendar unit it lay; `ticks` are types that may bring another zone."""

    def __init__(self, inner: Condition, key: str, unit: Unit, clock: Clock, ticks: frozenset[str]) -> None:
        super().__init__(inner, key, ticks)
        self.unit = unit
        self.clock = clock

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        del event_type
        inner, unit, same_unit, hold = self.inner.start, self.unit, self.clock.same_unit, self._hold

        def step(state: State, event: Event, position: Position) -> None:
            del position
            start = inner(state)
            if start is not None and same_unit(state, event, start.at, unit):
                hold(state, start)

        return step

    def floor(self, state: State, now: int) -> Position:
        """See `_Span`."""
        index = self.clock.now_unit(state, now, self.unit)
        return Position(self.clock.begin(state, self.unit, index), "")


class Unless(_Span):
    """The latest start at a moment when the last E lay before it."""

    def __init__(self, inner: Condition, key: str, unless: Tests, ticks: frozenset[str]) -> None:
        super().__init__(inner, key, ticks | frozenset(unless))
        self.unless = unless

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, inner = self.slot, self.inner.start
        breaks, stop = event_type in self.unless, self.unless.get(event_type)

        def step(state: State, event: Event, position: Position) -> None:
            node = state.nodes.get(slot)
            if not isinstance(node, Since):
                node = state.nodes[slot] = Since()
            if breaks and (stop is None or stop(state, event)):
                node.last = position
            start = inner(state)
            if start is not None and (node.last is None or start > node.last):
                node.start = start if node.start is None else max(start, node.start)

        return step

    def floor(self, state: State, now: int) -> Position:
        """See `_Span`."""
        del now
        node = state.nodes.get(self.slot)
        last = node.last if isinstance(node, Since) else None
        return Position(-(2**63), "") if last is None else Position(last.at, last.id + "\x00")
