"""Counts, distinct counts, sums and extremes with a latest start: they remember recent positions.

How many is bounded by the highest bound that asks (`cap`) and by the longest span that any question can reach back
(`horizon`, microseconds; None where nothing bounds it). Both are part of the key: raising them means another aggregate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.event import Position
from dsl.nodes.late import nothing, put
from dsl.nodes.node import Measure, measure
from dsl.nodes.totals import add
from dsl.progress import Peak, Recent, RecentAmounts, RecentValues
from dsl.values import minus, value_key

if TYPE_CHECKING:
    from dsl.event import Event
    from dsl.local_time import Now
    from dsl.nodes.bound import Bound
    from dsl.nodes.late import LateStep, Undo
    from dsl.nodes.node import Reach, Step, Tests
    from dsl.progress import Amount, State


class _Positions:
    """What the aggregates of this file share: tests, key, cap and horizon."""

    slot = -1

    def __init__(self, tests: Tests, key: str, horizon: int | None) -> None:
        self.tests = tests
        self.types = frozenset(tests)
        self.horizon = horizon
        self.cap: Amount = 0
        self._key = key

    def key(self) -> str:
        """See `Aggregate`."""
        return f"{self._key}#{self.cap}/{self.horizon}"

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: no rule."""
        del event_type
        return None

    def oldest(self, event: Event) -> int:
        """Return the instant before which nothing matters any more."""
        return event.at - self.horizon if self.horizon is not None else -(2**63)


class RecentEvents(_Positions):
    """The `cap` most recent matching events."""

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, test, cap = self.slot, self.tests[event_type], self.cap

        def step(state: State, event: Event) -> None:
            if test is not None and not test(state, event):
                return
            node = state.nodes.get(slot)
            if not isinstance(node, Recent):
                node = state.nodes[slot] = Recent()
            positions = node.positions
            positions.append(Position(event.at, event.id))
            oldest = self.oldest(event)
            while len(positions) > cap or positions[0].at < oldest:
                del positions[0]

        return step

    def positions(self, state: State) -> list[Position]:
        """Return the stored positions, oldest first."""
        node = state.nodes.get(self.slot)
        return node.positions if isinstance(node, Recent) else []


class RecentDistinct(_Positions):
    """Per value its most recent event, of the `cap` most recent values."""

    def __init__(self, tests: Tests, key: str, horizon: int | None, field: str) -> None:
        super().__init__(tests, key, horizon)
        self.field = field

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, test, field, cap = self.slot, self.tests[event_type], self.field, self.cap

        def step(state: State, event: Event) -> None:
            value = event.fields.get(field)
            if value is None or (test is not None and not test(state, event)):
                return
            node = state.nodes.get(slot)
            if not isinstance(node, RecentValues):
                node = state.nodes[slot] = RecentValues()
            last, key = node.last, value_key(value)
            last.pop(key, None)
            last[key] = Position(event.at, event.id)
            oldest = self.oldest(event)
            while len(last) > cap or next(iter(last.values())).at < oldest:
                del last[next(iter(last))]

        return step

    def positions(self, state: State) -> list[Position]:
        """Return the stored positions, oldest first."""
        node = state.nodes.get(self.slot)
        return list(node.last.values()) if isinstance(node, RecentValues) else []


class RecentSum(_Positions):
    """The shortest run of recent events whose amounts, added up backwards, are more than `cap`, and their total.

    Amounts are never negative here, the checker sees to it: only the first of a run can be one too many.
    """

    def __init__(self, tests: Tests, key: str, horizon: int | None, field: str) -> None:
        super().__init__(tests, key, horizon)
        self.field = field

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, test, field, cap = self.slot, self.tests[event_type], self.field, self.cap

        def step(state: State, event: Event) -> None:
            value = event.fields.get(field)
            if value is None or isinstance(value, str) or not value or (test is not None and not test(state, event)):
                return
            node = state.nodes.get(slot)
            if not isinstance(node, RecentAmounts):
                node = state.nodes[slot] = RecentAmounts()
            items = node.items
            total = add(total_of(node), value)
            items.append((Position(event.at, event.id), value))
            oldest, beyond = self.oldest(event), 0
            for at, amount in items:
                rest = minus(total, amount)
                if at.at >= oldest and rest <= cap:
                    break
                total = rest
                beyond += 1
            del items[:beyond]
            node.total = total

        return step


def total_of(node: RecentAmounts) -> Amount:
    """Return the sum of all amounts that are remembered."""
    return 0 if node.total is None else node.total


class RecentExtreme(_Positions):
    """A monotone queue: an event is dropped once a later one is at least as far out."""

    def __init__(self, tests: Tests, key: str, horizon: int | None, field: str, sign: int) -> None:
        super().__init__(tests, key, horizon)
        self.field = field
        self.sign = sign

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, test, field, sign = self.slot, self.tests[event_type], self.field, self.sign

        def step(state: State, event: Event) -> None:
            value = event.fields.get(field)
            if value is None or isinstance(value, str) or (test is not None and not test(state, event)):
                return
            node = state.nodes.get(slot)
            if not isinstance(node, RecentAmounts):
                node = state.nodes[slot] = RecentAmounts()
            items = node.items
            while items and _farther(value, items[-1][1], sign):
                items.pop()
            items.append((Position(event.at, event.id), value))
            oldest = self.oldest(event)
            while items[0][0].at < oldest:
                del items[0]

        return step


def _farther(value: Amount, other: Amount, sign: int) -> bool:
    return value >= other if sign > 0 else value <= other


class Best(_Positions):
    """`max(E, of=FIELD)` or, with `sign` -1, `min`, where no start is asked for: the value farthest out."""

    def __init__(self, tests: Tests, key: str, field: str, sign: int) -> None:
        super().__init__(tests, key, None)
        self.field = field
        self.sign = sign

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, test, field, sign = self.slot, self.tests[event_type], self.field, self.sign

        def step(state: State, event: Event) -> None:
            value = event.fields.get(field)
            if value is None or isinstance(value, str) or (test is not None and not test(state, event)):
                return
            node = state.nodes.get(slot)
            if not isinstance(node, Peak):
                state.nodes[slot] = Peak(value)
            elif node.best is None or not _farther(node.best, value, sign):
                node.best = value

        return step

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: the farthest value is the same in any order."""
        slot, test, field, sign = self.slot, self.tests[event_type], self.field, self.sign

        def take(state: State, event: Event, position: Position) -> Undo | None:
            del position
            value = event.fields.get(field)
            if value is None or isinstance(value, str) or (test is not None and not test(state, event)):
                return nothing
            node = state.nodes.get(slot)
            if isinstance(node, Peak) and node.best is not None and _farther(node.best, value, sign):
                return nothing
            return put(state, slot, Peak(value))

        return take


# -- conditions -------------------------------------------------------------------------------------------------------


class NthReached:
    """The n-th most recent of some positions."""

    def __init__(self, recent: RecentEvents | RecentDistinct, need: int) -> None:
        self.recent = recent
        self.need = need
        self.types = recent.types
        recent.cap = max(recent.cap, need)

    def start(self, state: State) -> Position | None:
        """See `Condition`."""
        positions = self.recent.positions(state)
        return positions[-self.need] if len(positions) >= self.need else None

    def holds(self, state: State) -> bool:
        """See `Condition`."""
        return len(self.recent.positions(state)) >= self.need

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """See `Condition`."""
        del now
        return measure(sum(1 for position in self.recent.positions(state) if reach.has(position)), self.need)


class CountReached(NthReached):
    """The n-th most recent matching event."""


class DistinctReached(NthReached):
    """The n-th latest among each value's most recent event."""


class SumReached:
    """The event at which the total, added up backwards, reaches the bound."""

    def __init__(self, amounts: RecentSum, bound: Bound) -> None:
        self.amounts = amounts
        self.bound = bound
        self._twice = add(bound.bound, bound.bound)
        self.types = amounts.types
        amounts.cap = max(amounts.cap, bound.bound)

    def _items(self, state: State) -> list[tuple[Position, Amount]]:
        node = state.nodes.get(self.amounts.slot)
        return node.items if isinstance(node, RecentAmounts) else []

    def start(self, state: State) -> Position | None:
        """See `Condition`."""
        node = state.nodes.get(self.amounts.slot)
        if not isinstance(node, RecentAmounts) or not self.bound.reached(total_of(node)):
            return None
        # The highest bound is reached near the start of what is remembered, a low one near its end.
        high = self._twice > self.amounts.cap
        return self._forwards(node) if high else self._backwards(node)

    def _forwards(self, node: RecentAmounts) -> Position | None:
        rest, found = total_of(node), None
        for position, amount in node.items:
            if not self.bound.reached(rest):
                break
            rest, found = minus(rest, amount), position
        return found

    def _backwards(self, node: RecentAmounts) -> Position | None:
        total: Amount = 0
        for position, amount in reversed(node.items):
            total = add(total, amount)
            if self.bound.reached(total):
                return position
        return None

    def holds(self, state: State) -> bool:
        """See `Condition`."""
        return self.start(state) is not None

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """See `Condition`."""
        del now
        total: Amount = 0
        for position, amount in self._items(state):
            if reach.has(position):
                total = add(total, amount)
        return self.bound.measure(total)


class ExtremeReached:
    """The most recent event that reaches the bound."""

    def __init__(self, values: RecentExtreme | Best, bound: Bound) -> None:
        self.values = values
        self.bound = bound
        self.types = values.types

    def start(self, state: State) -> Position | None:
        """See `Condition`."""
        node = state.nodes.get(self.values.slot)
        if isinstance(node, RecentAmounts):
            for position, value in reversed(node.items):
                if self.bound.reached(value):
                    return position
        return None

    def _best(self, state: State, reach: Reach) -> Amount | None:
        node = state.nodes.get(self.values.slot)
        if isinstance(node, Peak):
            return node.best
        if isinstance(node, RecentAmounts):
            return next((value for position, value in node.items if reach.has(position)), None)
        return None

    def holds(self, state: State) -> bool:
        """See `Condition`."""
        node = state.nodes.get(self.values.slot)
        if isinstance(node, Peak):
            return node.best is not None and self.bound.reached(node.best)
        return self.start(state) is not None

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """See `Condition`. `min` is reached or not, there is no way there."""
        del now
        best = self._best(state, reach)
        if self.values.sign < 0:
            return measure(1 if best is not None and self.bound.reached(best) else 0, 1)
        return measure(0, self.bound.target) if best is None else self.bound.measure(best)
