"""Earning: when a subject gets an achievement.

A *ruling* is one achievement and tier: its slot among what a subject has earned. A *judge* is one version of it: it
listens to the types the version hears, and at an event that lies in the version's effective span grants what holds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.calendar import MAX_OFFSET, label, unit_index
from dsl.event import Event, Position
from dsl.filters import compile_test, predicate_key
from dsl.local_time import Now, unit_now
from dsl.memory import Spender
from dsl.moments import moment_of
from dsl.nodes.bound import Bound
from dsl.nodes.compose import (
    Within,
    asked_by,
    asker,
    holds_at,
    holds_in_unit,
    lasting,
    reach_of,
    start_lasts,
    teller,
)
from dsl.nodes.node import ALL, EVERYWHERE, Condition, Gate, Measure, Step, whole
from dsl.nodes.over_groups import GroupsReached
from dsl.nodes.streak import StreakReached
from dsl.nodes.totals import Distinct, Reached, ReachedInUnit, Total
from dsl.progress import Amount, Earned, Grant, State
from dsl.syntax import Active, RepeatBy, RepeatEach
from dsl.types import Unit

if TYPE_CHECKING:
    from dsl.conditions import Built
    from dsl.filters import Getter, Test
    from dsl.nodes.groups import Groups
    from dsl.nodes.node import Aggregate
    from dsl.syntax import Achievement, Ref
    from dsl.types import Value

LateJudgement = Callable[[State, Position], bool]
"""Returns, once all aggregates have taken a late event at a position, whether it moves no grant."""
Opening = Callable[[State, Event], int | None]
"""Returns the open occurrence that holds at an event, None if there is none."""


class OfUnlocks(NamedTuple):
    """What a version hears of unlocks."""

    names: frozenset[str]
    """Achievements whose unlocks it may hear."""
    hears: Test
    """Whether it hears one of them."""
    counted: frozenset[int]
    """Slots of the rulings whose unlocks its achievement counts."""
    sources: frozenset[str]
    """Event types that may earn what it asks for."""


def deaf(state: State, event: Event) -> bool:
    """Hear no unlock."""
    del state, event
    return False


NO_UNLOCKS: Final = OfUnlocks(frozenset(), deaf, frozenset(), frozenset())


class Ruling:
    """One achievement and tier over all its versions; `slot` is its index in a subject's earned set."""

    def __init__(self, slot: int, achievement: str, tier: str | None) -> None:
        self.slot = slot
        self.achievement = achievement
        self.tier = tier
        self.judges: list[Judge] = []

    def in_effect(self, at: int) -> Judge | None:
        """Return the judge of the version in effect at an instant."""
        return next((judge for judge in self.judges if judge.covers(at)), None)


class Terms(msgspec.Struct, frozen=True):
    """The data to judge a version, besides its tree.

    `until` is the instant (microseconds) at which the next version takes over; `after` holds, per name in `after`, the
    slots where one must be earned; `types` are the event types heard; `own` are the node slots that reset
    after a grant of `repeat each`, and `spender` knows which calendar units such a grant uses up.
    """

    until: int | None
    after: tuple[tuple[int, ...], ...]
    types: frozenset[str]
    own: Callable[[], tuple[int, ...]]
    spender: Callable[[], Spender | None]
    decimal_traits: frozenset[str]
    heard: Condition | None = None
    """What tells whether an event was heard, where the condition holds before the first one and there is a moment."""
    unlocks: OfUnlocks | None = None
    """The unlocks that count for it."""


class Judge:
    """One version of a ruling."""

    def __init__(
        self,
        ruling: Ruling,
        version: Achievement,
        built: Built,
        terms: Terms,
    ) -> None:
        self.ruling = ruling
        self.slot = ruling.slot
        self.version = version
        self.built = built
        self.since = None if version.since is None else version.since.us
        self.heard = terms.heard
        self.until = terms.until
        self.after = terms.after
        self.types = terms.types
        self._own = terms.own
        self.spender = terms.spender
        self.unlocks = terms.unlocks or NO_UNLOCKS
        self.moment = moment_of(version)
        self._who = None if version.where is None else compile_test(version.where, trait_getter(terms.decimal_traits))

    def asked(self) -> Iterator[Aggregate]:
        """Yield the aggregates that it looks at."""
        yield from asked_by(self.built.node)
        if self.heard is not None:
            yield from asked_by(self.heard)

    def covers(self, at: int) -> bool:
        """Return whether the version is in effect at an instant."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)

    @property
    def described(self) -> str:
        """Everything about the judgement that a stored state depends on, as text."""
        version, tier = self.version, self.ruling.tier
        active = version.active or Active(start=None, end=None)
        who = None if version.where is None else predicate_key(version.where)
        repeat = "each" if isinstance(version.repeat, RepeatEach) else self._remembered
        if (spender := self.spender()) is not None:
            repeat = f"each, and uses up {sorted(spender.rulers)}"
        if isinstance(version.repeat, RepeatBy):
            repeat = f"by {version.repeat.field.text}"
        span = [None if end is None else end.us for end in (active.start, active.end)]
        settle = 0 if version.settle is None else version.settle.us
        return (
            f"{version.name.text} {tier} v{version.version} {self.since}..{self.until} "
            f"when {self.built.key} repeat {repeat} for {who} after {self.after} "
            f"active {span} settle {settle} hears {sorted(self.types)}{'' if self.moment is None else ' moment'}"
        )

    @property
    def _remembered(self) -> str:
        """Return the earned occurrences in a state: one, or those of all hours that may come back.

        This applies only to the hours of events: older states dropped some of them, so they are folded again.
        """
        hours = self.built.unit is Unit.HOUR and self.built.clock is not None and self.built.clock.key == "event"
        return "once in every hour" if hours else "once"

    def stepper(self, event_type: str) -> Step:
        """Return the judgement on an event."""
        del event_type
        slot, version, tier = self.ruling.slot, self.version.version, self.ruling.tier
        name = self.version.name.text
        settle = 0 if self.version.settle is None else self.version.settle.us
        low, high = self.hearing()
        if self.version.repeat is None:
            return self._once(low, high, settle)
        if isinstance(self.version.repeat, RepeatBy):
            return self._by_value(low, high, settle)
        opening, occurrence_of, record = self._opening(), self._occurrence(), self._record()

        def judge(state: State, event: Event) -> list[Grant] | None:
            if not low <= event.at < high:
                return None
            occurrence = opening(state, event)
            if occurrence is None or not self._admits(state, event):
                return None
            earned = state.earned.get(slot)
            if earned is None:
                earned = state.earned[slot] = Earned(Position(event.at, event.id), 0)
            record(state, earned, occurrence, event)
            return [Grant(name, tier, occurrence_of(occurrence), version, event.at, event.id, settle)]

        return judge

    def _once(self, low: int, high: int, settle: int) -> Step:
        """Return the judgement of an achievement that is earned once: most events end at its first line."""
        slot, name, version, tier = self.ruling.slot, self.version.name.text, self.version.version, self.ruling.tier
        holds = asker(self.built.node)

        def judge(state: State, event: Event) -> list[Grant] | None:
            if slot in state.earned or not holds(state) or not low <= event.at < high or not self._admits(state, event):
                return None
            state.earned[slot] = Earned(Position(event.at, event.id))
            return [Grant(name, tier, None, version, event.at, event.id, settle)]

        return judge

    def _by_value(self, low: int, high: int, settle: int) -> Step:
        """Return the judgement of an achievement that is earned once for each value: most events end at its line two.

        Its versions are about different groups, but what one has granted is earned under all of them.
        """
        slot, name, version, tier = self.ruling.slot, self.version.name.text, self.version.version, self.ruling.tier
        node = self.built.node
        if not isinstance(node, GroupsReached):
            raise TypeError(self.described)
        groups, own = node.groups, self._own_groups()

        def judge(state: State, event: Event) -> list[Grant] | None:
            known = groups.node_of(state)
            if known is None or not known.ready or not low <= event.at < high or not self._admits(state, event):
                return None
            values = sorted(known.ready)
            for each in own:
                each.finish(state, values)
            earned = state.earned.setdefault(slot, Earned(Position(event.at, event.id), 0))
            earned.times += len(values)
            return [Grant(name, tier, value, version, event.at, event.id, settle) for value in values]

        return judge

    def _own_groups(self) -> list[Groups]:
        """Return the groups of all versions of the ruling."""
        nodes = [judge.built.node for judge in self.ruling.judges]
        return [node.groups for node in nodes if isinstance(node, GroupsReached)]

    def at_moment(self) -> Step:
        """Return the judgement at the begin of the version: as an event would find it that matches nothing.

        That event is the one of `dsl.moments`: it has no type, no user and no id.
        """
        slot, tier, repeat = self.ruling.slot, self.ruling.tier, self.version.repeat
        name, version = self.version.name.text, self.version.version
        settle = 0 if self.version.settle is None else self.version.settle.us
        if isinstance(repeat, RepeatBy):
            return self._by_value(-(2**63), 2**63, settle)
        record = None if repeat is None else self._record()

        def judge(state: State, event: Event) -> list[Grant] | None:
            earned = state.earned.get(slot)
            occurrence = self._open_at(state, earned, Now(event.at))
            if occurrence is None or not self._admits(state, event):
                return None
            if self.heard is not None and not self.heard.holds(state):
                return None
            if earned is None:
                earned = state.earned[slot] = Earned(Position(event.at, event.id), 1 if repeat is None else 0)
            if record is not None:
                record(state, earned, occurrence, event)
            label = None if repeat is None else self._occurrence()(occurrence)
            return [Grant(name, tier, label, version, event.at, event.id, settle)]

        return judge

    def _open_at(self, state: State, earned: Earned | None, now: Now) -> int | None:
        """Return the open occurrence that holds in a moment between events, None if there is none."""
        node, unit, clock = self.built.node, self.built.unit, self.built.clock
        if unit is not None and clock is not None:
            index = unit_now(clock, state, now, unit)
            known = earned is not None and index in earned.units
            return index if not known and holds_in_unit(node, state, now, unit, clock) else None
        if (self.version.repeat is None and earned is not None) or not holds_at(node, state, now):
            return None
        return _next(state, self.ruling.slot)

    def rung(self) -> Rung | None:
        """Return which bound on which aggregate this is, where reaching it is all that it takes; None where it is not.

        Such a bound is reached at a move of the aggregate, at an event which the judge hears, and then earned for good.
        """
        version, node = self.version, self.built.node
        free = version.repeat is None and version.active is None and version.where is None and not self.after
        if not free or self.since is not None or self.until is not None:
            return None
        match node:
            case Reached(total=total, bound=Bound(op=">=", bound=bound), falls=False):
                return Rung(total, bound) if type(total) in {Total, Distinct} and bound > 0 else None
            case StreakReached(streaks=streaks, need=need):
                return None if streaks.keep or streaks.source is not None else Rung(streaks, need)
            case Within():
                return None if node.ticks else Rung(node, 1)
            case _:
                return None

    def late(self) -> LateJudgement | None:
        """Return a test whether late events move no grant of this version, None if unknown.

        An achievement earned before the event stays earned there. An unearned one was never earned at any moment if its
        condition does not hold by now, and one that holds goes on holding; nor if what it comes `after` is not earned
        by now.
        """
        if self.version.repeat is not None:
            return None
        slot, after, node = self.ruling.slot, self.after, self.built.node
        holds, steady = asker(node), lasting(node)

        def stays(state: State, position: Position) -> bool:
            earned = state.earned.get(slot)
            if earned is not None:
                return earned.first < position
            if steady and not holds(state):
                return True
            return any(not any(slot in state.earned for slot in slots) for slots in after)

        return stays

    def lasts(self) -> bool:
        """Return whether this was never earned if nothing is earned, and its condition does not hold by now."""
        node = self.built.node
        if self.built.unit is None:
            return lasting(node)
        return isinstance(node, ReachedInUnit) or start_lasts(node)

    def hearing(self) -> tuple[int, int]:
        """Return the span of instants, end exclusive, in which the version is in effect and active."""
        active = self.version.active or Active(start=None, end=None)
        lows = [self.since, None if active.start is None else active.start.us]
        highs = [self.until, None if active.end is None else active.end.us]
        low = max((low for low in lows if low is not None), default=-(2**63))
        return low, min((high for high in highs if high is not None), default=2**63)

    def _admits(self, state: State, event: Event) -> bool:
        """Return whether `for` is true and every `after` is earned."""
        if self._who is not None and not self._who(state, event):
            return False
        return all(any(slot in state.earned for slot in slots) for slots in self.after)

    # -- what an occurrence is: one after the other, or one a calendar unit --

    def _opening(self) -> Opening:
        slot, holds = self.ruling.slot, self.built.node.holds
        if isinstance(self.version.repeat, RepeatEach):
            return lambda state, event: _next(state, slot) if holds(state) else None
        return self._unit_opening()

    def _unit_opening(self) -> Opening:
        slot, node, unit, clock = self.ruling.slot, self.built.node, self.built.unit, self.built.clock
        if unit is None or clock is None:
            raise AssertionError(self.described)

        def opening(state: State, event: Event) -> int | None:
            index = unit_index(unit, clock.local(state, event))
            earned = state.earned.get(slot)
            if earned is not None and index in earned.units:
                return None
            if isinstance(node, ReachedInUnit):
                return index if node.holds_in(state, index) else None
            start = node.start(state)
            return index if start is not None and clock.same_unit(state, event, start.at, unit) else None

        return opening

    def _occurrence(self) -> Callable[[int], str | None]:
        unit = self.built.unit
        return str if unit is None else (lambda index: label(unit, index))

    def _record(self) -> Callable[[State, Earned, int, Event], None]:
        """Return what notes an occurrence that is earned at an instant."""
        if isinstance(self.version.repeat, RepeatEach):
            return self._record_each()
        unit = self.built.unit
        if unit is None:
            raise AssertionError(self.described)

        def every(state: State, earned: Earned, occurrence: int, event: Event) -> None:
            del state
            earned.times += 1
            oldest = unit_index(
                unit, event.at - MAX_OFFSET
            )  # no event from now on lies in an earlier one, on any clock
            earned.units = [index for index in earned.units if index >= oldest]
            earned.units.append(occurrence)

        return every

    def _record_each(self) -> Callable[[State, Earned, int, Event], None]:
        own, spender = self._own(), self.spender()

        def each(state: State, earned: Earned, occurrence: int, event: Event) -> None:
            earned.times = occurrence
            if spender is not None:
                earned.units = spender.units(state, event)
            for node in own:
                state.nodes.pop(node, None)

        return each

    # -- progress --

    def occurrence(self, state: State, now: int) -> str | None:
        """Return the occurrence that stands open at `now` (microseconds); None where it does not repeat."""
        if isinstance(self.version.repeat, RepeatEach):
            return str(_next(state, self.ruling.slot))
        unit, clock = self.built.unit, self.built.clock
        if unit is None or clock is None:
            return None
        return label(unit, unit_now(clock, state, Now(now), unit))

    def measure(self, state: State, now: int) -> Measure:
        """Return the progress at `now` (microseconds) of the current occurrence; full once earned, or if it holds."""
        node, unit, clock, moment = self.built.node, self.built.unit, self.built.clock, Now(now)
        earned = state.earned.get(self.ruling.slot)
        if unit is None or clock is None:
            done, reach = earned is not None and self.version.repeat is None, EVERYWHERE
        else:
            done = earned is not None and unit_now(clock, state, moment, unit) in earned.units
            done = done or holds_in_unit(node, state, moment, unit, clock)
            reach = reach_of(clock, state, moment, unit)
        reached = node.measure(state, moment, reach)
        if not done:
            return reached
        return ALL if reached.target is None else whole(reached.target)


class Rung(NamedTuple):
    """A bound on what only grows; on a span it says nothing: that held once, or never."""

    aggregate: Aggregate
    bound: Amount


def gate_of(judges: Sequence[tuple[Rung, Judge]], event_type: str) -> Gate:
    """Return the gate to the judges of one aggregate.

    Each of them is earned at the event that reaches its bound. So where the highest one is earned, all are.
    """
    ascending = sorted(judges, key=lambda pair: pair[0].bound)
    each = [judge.stepper(event_type) for _, judge in ascending]
    _, highest = ascending[-1]
    return Gate(ascending[0][0].bound, highest.ruling.slot, each[0] if len(each) == 1 else _ladder(ascending, each))


def _ladder(ascending: Sequence[tuple[Rung, Judge]], each: Sequence[Step]) -> Step:
    """Return the judgement on several bounds: from the highest one that is reached down to one that is earned."""
    bounds, slots = [rung.bound for rung, _ in ascending], [judge.ruling.slot for _, judge in ascending]
    best = teller(ascending[0][0].aggregate)

    def judge(state: State, event: Event) -> list[Grant] | None:
        earned = state.earned
        first = reached = bisect_right(bounds, best(state))
        while first and slots[first - 1] not in earned:
            first -= 1
        return [grant for judgement in each[first:reached] for grant in judgement(state, event) or ()]

    return judge


def _next(state: State, slot: int) -> int:
    earned = state.earned.get(slot)
    return 1 if earned is None else earned.times + 1


def trait_getter(decimals: frozenset[str]) -> Callable[[Ref], Getter]:
    """Return what reads the traits of a `for`; `decimals` names those declared so."""

    def getter(ref: Ref) -> Getter:
        name = ref.name
        if name in decimals:
            return lambda state, event: _decimal(state.traits.get(name))
        return lambda state, event: state.traits.get(name)

    return getter


def _decimal(value: Value | None) -> Value | None:
    """Return a decimal trait, which the state keeps as text."""
    return Decimal(value) if isinstance(value, str) else value
