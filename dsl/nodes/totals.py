"""Counts, sums and distinct counts that need no positions: without a span, in a calendar unit, or since an event.

The three spans share one shape: a value grows with each matching event, and resets when the unit changes or an
`unless` event comes. What was reached once is kept in `best`, since a condition that held goes on holding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsl.calendar import unit_index
from dsl.local_time import unit_now
from dsl.nodes.late import nothing, put
from dsl.nodes.node import CLOSED, Measure, only, whole
from dsl.progress import SinceTally, SinceValues, Tally, UnitTally, UnitValues, Values
from dsl.values import EXACT, value_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from dsl.event import Event, Position
    from dsl.local_time import Clock, Now
    from dsl.nodes.bound import Bound
    from dsl.nodes.late import LateStep, Undo
    from dsl.nodes.node import Gate, Reach, Step, Tests
    from dsl.progress import Amount, Grant, State
    from dsl.types import Unit


def _amount_of(field: str) -> Callable[[Event], Amount | None]:
    def amount(event: Event) -> Amount | None:
        value = event.fields.get(field)
        return None if value is None or isinstance(value, str) else value

    return amount


def add(total: Amount, amount: Amount) -> Amount:
    """Return the exact sum."""
    if type(total) is int and type(amount) is int:
        return total + amount
    result: Decimal = EXACT.add(total, amount)
    return result


class Total:
    """`count(E)`, or `sum(E, of=FIELD)`: everything so far."""

    slot = -1

    def __init__(self, tests: Tests, field: str | None, key: str) -> None:
        self.tests = tests
        self.field = field
        self.types = frozenset(tests)
        self.name = key

    def key(self) -> str:
        """See `Aggregate`."""
        return self.name

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        return self.gated(event_type, CLOSED)

    def gated(self, event_type: str, gate: Gate) -> Step:
        """Return the step, with judges of the total behind it."""
        step = self._counting(gate) if self.field is None else self.adding_up(self.field, gate)
        return only(self.tests[event_type], step)

    def _counting(self, gate: Gate) -> Step:
        slot, (least, top, judge) = self.slot, gate

        def count(state: State, event: Event) -> list[Grant] | None:
            nodes: dict[int, Any] = state.nodes
            node: Tally | None = nodes.get(slot)
            if node is None:
                node = Tally()
                nodes[slot] = node
            total = node.total + 1
            node.total = total
            return judge(state, event) if total >= least and top not in state.earned else None

        return count

    def adding_up(self, field: str, gate: Gate) -> Step:
        """Return the step of a sum, for events that match."""
        slot, (least, top, judge) = self.slot, gate

        def add_up(state: State, event: Event) -> list[Grant] | None:
            fields: dict[str, Any] = event.fields
            amount: Amount | None = fields.get(field)
            if amount is None:
                return None
            nodes: dict[int, Any] = state.nodes
            node: Tally | None = nodes.get(slot)
            if node is None:
                nodes[slot] = Tally(amount)
                total = amount
            else:
                total = node.total
                # Whole numbers need no context that is wide enough.
                total = total + amount if type(total) is int and type(amount) is int else add(total, amount)
                node.total = total
            return judge(state, event) if total >= least and top not in state.earned else None

        return add_up

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: numbers are added up in any order."""
        slot, test, field = self.slot, self.tests[event_type], self.field

        def take(state: State, event: Event, position: Position) -> Undo | None:
            del position
            amount = 1 if field is None else event.fields.get(field)
            if amount is None or isinstance(amount, str) or (test is not None and not test(state, event)):
                return nothing
            node = state.nodes.get(slot)
            return put(state, slot, Tally(add(node.total, amount) if isinstance(node, Tally) else amount))

        return take

    def best(self, state: State) -> Amount:
        """Return the total."""
        node = state.nodes.get(self.slot)
        return node.total if isinstance(node, Tally) else 0

    def teller(self) -> Callable[[State], Amount]:
        """Return `best` as a closure of its own; slots are known by now."""
        slot = self.slot

        def total(state: State) -> Amount:
            nodes: dict[int, Any] = state.nodes
            node: Tally | None = nodes.get(slot)
            return 0 if node is None else node.total

        return total if type(self) is Total else self.best

    def current(self, state: State, now: Now) -> Amount:
        """Return the total."""
        del now
        return self.best(state)


class UnitTotal(Total):
    """The same within one calendar unit of a fixed zone."""

    def __init__(self, tests: Tests, field: str | None, key: str, unit: Unit, clock: Clock) -> None:
        super().__init__(tests, field, key)
        self.unit = unit
        self.clock = clock

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, test, field, unit, local = self.slot, self.tests[event_type], self.field, self.unit, self.clock.local
        amount_of = None if field is None else _amount_of(field)

        def step(state: State, event: Event) -> None:
            if test is not None and not test(state, event):
                return
            amount = 1 if amount_of is None else amount_of(event)
            if amount is None:
                return
            index = unit_index(unit, local(state, event))
            node = state.nodes.get(slot)
            if not isinstance(node, UnitTally):
                node = state.nodes[slot] = UnitTally()
            node.total = add(node.total, amount) if node.unit == index else amount
            node.unit = index
            node.best = max(node.best, node.total)

        return step

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: of earlier units nothing is known."""
        del event_type
        return None

    def best(self, state: State) -> Amount:
        """Return the most that any unit reached."""
        node = state.nodes.get(self.slot)
        return node.best if isinstance(node, UnitTally) else 0

    def current(self, state: State, now: Now) -> Amount:
        """Return the total of the unit of `now`."""
        node = state.nodes.get(self.slot)
        return self.within(state, unit_now(self.clock, state, now, self.unit)) if isinstance(node, UnitTally) else 0

    def within(self, state: State, index: int) -> Amount:
        """Return the total of one unit, zero unless it is the latest one."""
        node = state.nodes.get(self.slot)
        return node.total if isinstance(node, UnitTally) and node.unit == index else 0


class SinceTotal(Total):
    """The same since the last event that resets it."""

    def __init__(self, tests: Tests, field: str | None, key: str, unless: Tests) -> None:
        super().__init__(tests, field, key)
        self.unless = unless
        self.types = frozenset(tests) | frozenset(unless)

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, field = self.slot, self.field
        matches, test = event_type in self.tests, self.tests.get(event_type)
        breaks, stop = event_type in self.unless, self.unless.get(event_type)
        amount_of = None if field is None else _amount_of(field)

        def step(state: State, event: Event) -> None:
            node = state.nodes.get(slot)
            if breaks and (stop is None or stop(state, event)):
                if isinstance(node, SinceTally):
                    node.total = 0
                return
            if not matches or (test is not None and not test(state, event)):
                return
            amount = 1 if amount_of is None else amount_of(event)
            if amount is None:
                return
            if not isinstance(node, SinceTally):
                node = state.nodes[slot] = SinceTally(0, amount)
            node.total = add(node.total, amount)
            node.best = max(node.best, node.total)

        return step

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: the events between it and the next reset are unknown."""
        del event_type
        return None

    def reset(self, state: State, position: Position) -> None:
        """Take in an event that resets."""
        del position
        node = state.nodes.get(self.slot)
        if isinstance(node, SinceTally):
            node.total = 0

    def best(self, state: State) -> Amount:
        """Return the most that was ever reached."""
        node = state.nodes.get(self.slot)
        return node.best if isinstance(node, SinceTally) else 0

    def current(self, state: State, now: Now) -> Amount:
        """Return the total since the last event that reset it."""
        del now
        node = state.nodes.get(self.slot)
        return node.total if isinstance(node, SinceTally) else 0


class SinceTotalOrNothing(SinceTotal):
    """The same where a total of nothing is enough: every event is a moment in which the total may be that.

    `moments` are the types of all of them.
    """

    def __init__(self, tests: Tests, field: str, key: str, unless: Tests, moments: frozenset[str]) -> None:
        super().__init__(tests, field, key, unless)
        self.types |= moments

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, move = self.slot, super().stepper(event_type)

        def step(state: State, event: Event) -> None:
            move(state, event)
            node = state.nodes.get(slot)
            if not isinstance(node, SinceTally):
                node = state.nodes[slot] = SinceTally()
            node.best = max(node.best, node.total)

        return step


class Distinct(Total):
    """`count(E, distinct=FIELD)`: values seen, remembered up to the highest bound that asks."""

    def __init__(self, tests: Tests, field: str, key: str) -> None:
        super().__init__(tests, field, key)
        self.distinct = field
        self.cap = 0

    def key(self) -> str:
        """See `Aggregate`."""
        return f"{self.name}#{self.cap}"

    def gated(self, event_type: str, gate: Gate) -> Step:
        """See `Total`. At the cap all bounds are reached, and all that is judged by nothing else is earned."""
        slot, field, cap, (least, top, judge) = self.slot, self.distinct, self.cap, gate

        def step(state: State, event: Event) -> list[Grant] | None:
            nodes: dict[int, Any] = state.nodes
            node: Values | None = nodes.get(slot)
            if node is not None and len(node.seen) >= cap:
                return None
            value = event.fields.get(field)
            if value is None:
                return None
            if node is None:
                node = nodes[slot] = Values()
            seen = node.seen
            seen.add(value_key(value))
            return judge(state, event) if len(seen) >= least and top not in state.earned else None

        return only(self.tests[event_type], step)

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: the number of values does not depend on the order; at the cap the values do not matter."""
        slot, test, field, cap = self.slot, self.tests[event_type], self.distinct, self.cap

        def take(state: State, event: Event, position: Position) -> Undo | None:
            del position
            value = event.fields.get(field)
            if value is None or (test is not None and not test(state, event)):
                return nothing
            node, key = state.nodes.get(slot), value_key(value)
            if not isinstance(node, Values):
                return put(state, slot, Values({key}))
            seen = node.seen
            if key in seen or len(seen) >= cap:
                return nothing
            seen.add(key)
            return lambda state: seen.discard(key)

        return take

    def teller(self) -> Callable[[State], Amount]:
        """See `Total`."""
        slot = self.slot

        def number(state: State) -> int:
            nodes: dict[int, Any] = state.nodes
            node: Values | None = nodes.get(slot)
            return 0 if node is None else len(node.seen)

        return number if type(self) is Distinct else self.best

    def best(self, state: State) -> Amount:
        """Return the number of values."""
        node = state.nodes.get(self.slot)
        return len(node.seen) if isinstance(node, Values) else 0


class UnitDistinct(Distinct):
    """The same within one calendar unit of a fixed zone."""

    def __init__(self, tests: Tests, field: str, key: str, unit: Unit, clock: Clock) -> None:
        super().__init__(tests, field, key)
        self.unit = unit
        self.clock = clock

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, test, field, cap = self.slot, self.tests[event_type], self.distinct, self.cap
        unit, local = self.unit, self.clock.local

        def step(state: State, event: Event) -> None:
            value = event.fields.get(field)
            if value is None or (test is not None and not test(state, event)):
                return
            index = unit_index(unit, local(state, event))
            node = state.nodes.get(slot)
            if not isinstance(node, UnitValues):
                node = state.nodes[slot] = UnitValues(index)
            if node.unit != index:
                node.unit, node.seen = index, set()
            if len(node.seen) < cap:
                node.seen.add(value_key(value))
                node.best = max(node.best, len(node.seen))

        return step

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: of earlier units nothing is known."""
        del event_type
        return None

    def best(self, state: State) -> Amount:
        """Return the most that any unit reached."""
        node = state.nodes.get(self.slot)
        return node.best if isinstance(node, UnitValues) else 0

    def current(self, state: State, now: Now) -> Amount:
        """Return the number of values in the unit of `now`."""
        node = state.nodes.get(self.slot)
        return self.within(state, unit_now(self.clock, state, now, self.unit)) if isinstance(node, UnitValues) else 0

    def within(self, state: State, index: int) -> Amount:
        """Return the number of values of one unit, zero unless it is the latest one."""
        node = state.nodes.get(self.slot)
        return len(node.seen) if isinstance(node, UnitValues) and node.unit == index else 0


class SinceDistinct(Distinct):
    """The same since the last event that resets it."""

    def __init__(self, tests: Tests, field: str, key: str, unless: Tests) -> None:
        super().__init__(tests, field, key)
        self.unless = unless
        self.types = frozenset(tests) | frozenset(unless)

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, field, cap = self.slot, self.distinct, self.cap
        matches, test = event_type in self.tests, self.tests.get(event_type)
        breaks, stop = event_type in self.unless, self.unless.get(event_type)

        def step(state: State, event: Event) -> None:
            node = state.nodes.get(slot)
            if breaks and (stop is None or stop(state, event)):
                if isinstance(node, SinceValues):
                    node.seen.clear()
                return
            value = event.fields.get(field)
            if not matches or value is None or (test is not None and not test(state, event)):
                return
            if not isinstance(node, SinceValues):
                node = state.nodes[slot] = SinceValues()
            if len(node.seen) < cap:
                node.seen.add(value_key(value))
                node.best = max(node.best, len(node.seen))

        return step

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: the events between it and the next reset are unknown."""
        del event_type
        return None

    def reset(self, state: State, position: Position) -> None:
        """Take in an event that resets."""
        del position
        node = state.nodes.get(self.slot)
        if isinstance(node, SinceValues):
            node.seen = set()

    def best(self, state: State) -> Amount:
        """Return the most that was ever reached."""
        node = state.nodes.get(self.slot)
        return node.best if isinstance(node, SinceValues) else 0

    def current(self, state: State, now: Now) -> Amount:
        """Return the number of values since the last event that reset it."""
        del now
        node = state.nodes.get(self.slot)
        return len(node.seen) if isinstance(node, SinceValues) else 0


class Reached:
    """A bound on a total; `falls` marks the sum of a field that may be negative, which may fall back."""

    def __init__(self, total: Total, bound: Bound, *, falls: bool = False) -> None:
        self.total = total
        self.bound = bound
        self.types = total.types
        self.falls = falls

    def start(self, state: State) -> Position | None:
        """Never asked: totals remember no positions."""
        raise NotImplementedError(self.total.key())

    def holds(self, state: State) -> bool:
        """See `Condition`."""
        return self.bound.reached(self.total.best(state))

    def asker(self) -> Callable[[State], bool]:
        """Return `holds` as a closure of its own, for the many events at which it does not; slots are known by now."""
        best, bound = self.total.teller(), self.bound.bound
        return self.holds if self.bound.op != ">=" else lambda state: best(state) >= bound

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """See `Condition`."""
        del reach
        if self.holds(state):
            return whole(self.bound.target)
        return self.bound.measure(self.total.current(state, now))


class ReachedInUnit(Reached):
    """A bound on the total of the running unit alone: `repeat every`."""

    def __init__(self, total: UnitTotal | UnitDistinct, bound: Bound) -> None:
        super().__init__(total, bound)
        self.in_unit = total

    def holds_in(self, state: State, index: int) -> bool:
        """Return whether the bound is reached within unit `index`."""
        return self.bound.reached(self.in_unit.within(state, index))

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """See `Condition`."""
        del reach
        return self.bound.measure(self.total.current(state, now))
