"""Composition and spans: `all any at_least unlocked`, and `within per unless` on every condition with a latest start.

The table of the language's meaning, row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsl.event import Position
from dsl.local_time import alike, stretch_now, unit_now
from dsl.nodes.late import nothing, unmoved
from dsl.nodes.node import ALL, BEGINNING, CLOSED, EVERYWHERE, NOTHING, Measure, Reach, whole
from dsl.nodes.recent import ExtremeReached, NthReached, SumReached
from dsl.nodes.sequence import SequenceReached
from dsl.nodes.streak import StreakReached, Streaks
from dsl.nodes.totals import Reached, ReachedInUnit, Total
from dsl.progress import Held, Since

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from fractions import Fraction

    from dsl.event import Event
    from dsl.local_time import Clock, Now
    from dsl.nodes.late import LateStep, Lift, Undo
    from dsl.nodes.node import Aggregate, Condition, Gate, Step, Tests
    from dsl.progress import Amount, Grant, State
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

    def start_at(self, state: State, now: Now) -> Position | None:
        """Return the latest start in a moment."""
        starts = [start for part in self.parts if (start := start_at(part, state, now)) is not None]
        return sorted(starts)[-self.k] if len(starts) >= self.k else None

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """See `Condition`: the mean of the k largest."""
        if reach == EVERYWHERE:
            return self._mean([part.measure(state, now, reach).fraction for part in self.parts], [])
        if reach.has(self.start_at(state, now)):
            return ALL
        # A streak's start that lies behind the moment and out of reach is later than any other: it comes first.
        known = [(start_at(part, state, now), part.measure(state, now, reach).fraction) for part in self.parts]
        ahead = [fraction for start, fraction in known if start is not None and start.at >= reach.end]
        others = [fraction for start, fraction in known if start is None or start.at < reach.end]
        return self._mean(others, ahead)

    def _mean(self, fractions: list[Fraction], first: list[Fraction]) -> Measure:
        largest = [*sorted(first, reverse=True), *sorted(fractions, reverse=True)]
        return Measure(sum(largest[: self.k], start=NOTHING.fraction) / self.k)


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

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """See `Condition`: 0 or 1."""
        del now
        return whole(1) if reach.has(self.start(state)) else Measure(NOTHING.fraction, 0, 1)


class Grouped:
    """The base of the groups of a keyed condition."""

    slot = -1
    types: frozenset[str]
    named: tuple[int, ...]
    """Slots of the rulings that the condition names, by `unlocked` somewhere in it."""

    def key(self) -> str:
        """See `Aggregate`."""
        raise NotImplementedError

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        raise NotImplementedError(event_type)

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: no rule."""
        del event_type
        return None


class OverGroups:
    """The base of the conditions on groups; `asked` is the condition in each group."""

    def __init__(self, groups: Grouped, asked: Condition) -> None:
        self.grouped = groups
        self.asked = asked
        self.types = groups.types

    def start(self, state: State) -> Position | None:
        """See `Condition`."""
        raise NotImplementedError

    def start_at(self, state: State, now: Now) -> Position | None:
        """Return the latest start in a moment."""
        raise NotImplementedError

    def holds(self, state: State) -> bool:
        """See `Condition`."""
        raise NotImplementedError

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """See `Condition`."""
        raise NotImplementedError


class _Span:
    """The base of all spans: the latest start that the inner condition had while the span held it.

    `ticks` are event types that count as moments, though the inner condition does not move at them.
    """

    slot = -1

    def __init__(self, inner: Condition, key: str, ticks: frozenset[str]) -> None:
        self.inner = inner
        self.ticks = ticks
        self.types = inner.types | ticks
        self._key = key

    def key(self) -> str:
        """See `Aggregate`."""
        return self._key

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: no rule."""
        del event_type
        return None

    def start(self, state: State) -> Position | None:
        """See `Condition`."""
        node = state.nodes.get(self.slot)
        return node.start if isinstance(node, (Held, Since)) else None

    def holds(self, state: State) -> bool:
        """See `Condition`."""
        return self.start(state) is not None

    def asker(self) -> Callable[[State], bool]:
        """Return `holds` as a closure of its own; slots are known by now."""
        slot = self.slot

        def holds(state: State) -> bool:
            nodes: dict[int, Any] = state.nodes
            node: Held | Since | None = nodes.get(slot)
            return node is not None and node.start is not None

        return holds

    def reach(self, state: State, now: Now) -> Reach:
        """Return the reach of the span that ends at a moment."""
        raise NotImplementedError

    def admits(self, state: State, now: Now, start: Position) -> bool:
        """Return whether the span holds a start in a moment between events."""
        raise NotImplementedError

    def start_at(self, state: State, now: Now) -> Position | None:
        """Return the latest start in a moment: between events, that which an event would find."""
        held = self.start(state)
        if now.event is not None:
            return held
        start = start_at(self.inner, state, now)
        if start is None or (held is not None and start <= held) or not self.admits(state, now, start):
            return held
        return start

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """See `Condition`: full once it held, otherwise the progress in the span that ends at the moment."""
        inner = self.inner.measure(state, now, reach.meet(self.reach(state, now)))
        if not reach.has(self.start_at(state, now)):
            return inner
        return whole(inner.target) if inner.target is not None else ALL

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        raise NotImplementedError(event_type)

    def looker(self, event_type: str) -> Step:
        """Return the step that only looks at the latest start: in a group, at what the subject has unlocked."""
        return self.stepper(event_type)

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
        return self.gated(event_type, CLOSED)

    def gated(self, event_type: str, gate: Gate) -> Step:
        """Return the step, with judges behind it of whether anything was ever held."""
        del event_type
        inner, slot, length, (_, top, judge) = starter(self.inner), self.slot, self.length, gate

        def step(state: State, event: Event) -> list[Grant] | None:
            start = inner(state)
            nodes: dict[int, Any] = state.nodes
            node: Held | None = nodes.get(slot)
            held = None if node is None else node.start
            if start is held:  # as at most events, also where there is none
                return None
            if start is not None and event.at - start.at < length:
                if node is None or held is None:
                    nodes[slot] = Held(start)
                    return judge(state, event) if top not in state.earned else None
                if start > held:
                    node.start = start
            return None

        return step

    def late(self, event_type: str) -> LateStep | None:
        """See `Aggregate`: nothing changes where no start is lifted behind the one held, or into the span.

        Where nothing is lifted, the event is one more moment, at which the start lies further back than at the moment
        before: it is held already. What is lifted to a start lies as far back, or further, at every later moment.
        """
        lift, slot, length = self.lift(event_type), self.slot, self.length
        if lift is None or self.ticks:
            return None

        def take(state: State, event: Event, position: Position) -> Undo | None:
            start = lift(state, event, position)
            if start is None or event.at - start.at >= length:
                return nothing
            node = state.nodes.get(slot)
            held = node.start if isinstance(node, Held) else None
            return None if held is None or held < start else nothing

        return take

    def lift(self, event_type: str) -> Lift | None:
        """Return how far late events of one type can lift what is held: as far as the start of what is within."""
        return lift_of(self.inner, event_type)

    def reach(self, state: State, now: Now) -> Reach:
        """See `_Span`."""
        del state
        return Reach(Position(now.at - self.length + 1, ""))

    def admits(self, state: State, now: Now, start: Position) -> bool:
        """See `_Span`."""
        del state
        return now.at - start.at < self.length


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

        def step(state: State, event: Event) -> None:
            start = inner(state)
            if start is not None and same_unit(state, event, start.at, unit):
                hold(state, start)

        return step

    def reach(self, state: State, now: Now) -> Reach:
        """See `_Span`."""
        return reach_of(self.clock, state, now, self.unit)

    def admits(self, state: State, now: Now, start: Position) -> bool:
        """See `_Span`."""
        return alike(self.clock, state, now, start.at, self.unit)


class Unless(_Span):
    """The latest start at a moment when the last E lay before it."""

    def __init__(self, inner: Condition, key: str, unless: Tests, ticks: frozenset[str]) -> None:
        super().__init__(inner, key, ticks | frozenset(unless))
        self.unless = unless

    def stepper(self, event_type: str) -> Step:
        """See `Aggregate`."""
        slot, inner = self.slot, self.inner.start
        breaks, stop = event_type in self.unless, self.unless.get(event_type)

        def step(state: State, event: Event) -> None:
            node = state.nodes.get(slot)
            if not isinstance(node, Since):
                node = state.nodes[slot] = Since()
            if breaks and (stop is None or stop(state, event)):
                node.last = Position(event.at, event.id)
            start = inner(state)
            if start is not None and (node.last is None or start > node.last):
                node.start = start if node.start is None else max(start, node.start)

        return step

    def looker(self, event_type: str) -> Step:
        """See `_Span`: no event that resets."""
        del event_type
        slot, inner = self.slot, self.inner.start

        def look(state: State, event: Event) -> None:
            del event
            node, start = state.nodes.get(slot), inner(state)
            if not isinstance(node, Since):
                node = state.nodes[slot] = Since()
            if start is not None and (node.last is None or start > node.last):
                node.start = start if node.start is None else max(start, node.start)

        return look

    def reset(self, state: State, position: Position) -> None:
        """Take in an event that resets."""
        node = state.nodes.get(self.slot)
        if not isinstance(node, Since):
            node = state.nodes[self.slot] = Since()
        node.last = position

    def _last(self, state: State) -> Position | None:
        """Return the last E."""
        node = state.nodes.get(self.slot)
        return node.last if isinstance(node, Since) else None

    def reach(self, state: State, now: Now) -> Reach:
        """See `_Span`: everything after the last E."""
        del now
        last = self._last(state)
        return Reach(BEGINNING if last is None else Position(last.at, last.id + "\x00"))

    def admits(self, state: State, now: Now, start: Position) -> bool:
        """See `_Span`."""
        del now
        last = self._last(state)
        return last is None or start > last


def reach_of(clock: Clock, state: State, now: Now, unit: Unit) -> Reach:
    """Return the reach of the calendar unit of a moment."""
    begin, end = stretch_now(clock, state, now, unit)
    return Reach(Position(begin, ""), end)


def start_at(node: Condition, state: State, now: Now) -> Position | None:
    """Return the latest start of a condition in a moment. At an event that is its start by now.

    Between events it is that which an event would find that matches nothing; only asked where it was compiled to be
    tracked.
    """
    match node:
        case Combined() | Within() | Per() | Unless() | StreakReached() | OverGroups():
            return node.start_at(state, now)
        case _:
            return node.start(state)


def holds_at(node: Condition, state: State, now: Now) -> bool:
    """Return whether a condition holds in a moment, as an event would find that matches nothing."""
    match node:
        case Combined(parts=parts, k=k):
            return sum(holds_at(part, state, now) for part in parts) >= k
        case Within() | Per() | Unless():
            return node.start_at(state, now) is not None
        case _:
            return node.holds(state)


def holds_in_unit(node: Condition, state: State, now: Now, unit: Unit, clock: Clock) -> bool:
    """Return whether a condition under `repeat every` holds in a moment, within the unit of the moment."""
    if isinstance(node, ReachedInUnit):
        return node.holds_in(state, unit_now(clock, state, now, unit))
    start = start_at(node, state, now)
    return start is not None and alike(clock, state, now, start.at, unit)


def starter(node: Condition) -> Callable[[State], Position | None]:
    """Return `start` of a condition, as a closure of its own where that is quicker; slots are known by now."""
    return node.starter() if isinstance(node, SequenceReached) else node.start


def asker(node: Condition) -> Callable[[State], bool]:
    """Return `holds` of a condition, as a closure of its own where that is quicker; slots are known by now."""
    match node:
        case Reached() | StreakReached():
            return node.asker()
        case Within() | Per() | Unless():
            return node.asker()
        case _:
            return node.holds


def teller(aggregate: Aggregate) -> Callable[[State], Amount]:
    """Return a function for the progress of a growing aggregate: zero or one for a span, zero if unknown."""
    match aggregate:
        case Total() | Streaks():
            return aggregate.teller()
        case Within():
            holds = aggregate.asker()
            return lambda state: int(holds(state))
        case _:
            raise AssertionError(aggregate.key())


# -- late events ------------------------------------------------------------------------------------------------------


def lift_of(node: Condition, event_type: str) -> Lift | None:
    """Return how far late events of one type can lift the start of a condition, None if unknown."""
    if event_type not in node.types:
        return unmoved
    match node:
        case SequenceReached(sequences=sequences):
            return sequences.lift(event_type)
        case Has():  # no late event is taken that moves a grant
            return unmoved
        case Within():
            return node.lift(event_type)
        case Combined(parts=parts):
            return _farthest([lift_of(part, event_type) for part in parts])
        case _:
            return None


def _farthest(lifts: Sequence[Lift | None]) -> Lift | None:
    """Return how far the k-th latest of some starts can be lifted: no farther than any of them."""
    known = [lift for lift in lifts if lift is not None]
    if len(known) < len(lifts):
        return None

    def farthest(state: State, event: Event, position: Position) -> Position | None:
        found = (lift(state, event, position) for lift in known)
        return max((start for start in found if start is not None), default=None)

    return farthest


def asked_by(node: Condition) -> Iterator[Aggregate]:
    """Yield the aggregates that a condition looks at, those below its spans too."""
    match node:
        case Combined(parts=parts):
            for part in parts:
                yield from asked_by(part)
        case Within() | Per() | Unless():
            yield node
            yield from asked_by(node.inner)
        case StreakReached(streaks=aggregate):
            if aggregate.source is not None:
                yield aggregate.source
            yield aggregate
        case Reached(total=aggregate) | SequenceReached(sequences=aggregate) | OverGroups(grouped=aggregate):
            yield aggregate
        case NthReached(recent=aggregate) | SumReached(amounts=aggregate) | ExtremeReached(values=aggregate):
            yield aggregate
        case _:
            pass


def named_by(aggregate: Aggregate) -> Iterator[int]:
    """Yield the slots of rulings that a span looks at, by `unlocked` somewhere below it; none of other aggregates."""
    match aggregate:
        case Within() | Per() | Unless():
            yield from named_in(aggregate.inner)
        case Grouped(named=named):
            yield from named
        case Streaks(source=Grouped(named=named)):
            yield from named
        case _:
            pass


def named_in(node: Condition) -> Iterator[int]:
    """Yield the slots of rulings that a condition looks at, by `unlocked` somewhere in it."""
    match node:
        case Has(slots=slots):
            yield from slots
        case Combined(parts=parts):
            for part in parts:
                yield from named_in(part)
        case Within() | Per() | Unless():
            yield from named_in(node.inner)
        case OverGroups(grouped=groups):
            yield from groups.named
        case StreakReached(streaks=streaks):
            yield from named_by(streaks)
        case _:
            pass


def start_lasts(node: Condition) -> bool:
    """Return whether a condition with a start goes on having one: without one by now, it has never had one."""
    match node:
        case Combined(parts=parts):
            return all(start_lasts(part) for part in parts)
        case Has() | Within() | Per() | Unless() | StreakReached() | SequenceReached() | OverGroups():
            return True
        case _:
            return False


def lasting(node: Condition) -> bool:
    """Return whether a condition that holds goes on holding: what does not hold by now has never held."""
    match node:
        case Reached(falls=falls):
            return not falls
        case Combined(parts=parts):
            return all(lasting(part) for part in parts)
        case OverGroups(asked=asked):
            return lasting(asked)
        case _:
            return True
