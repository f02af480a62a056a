"""The fold: one subject's events, in canonical order, to what the subject has earned.

`walk` is the whole engine, and `step` one step of it: with late or repeated events and crashes, a subject's
unlocks are those of walking through its events in canonical order once.

Measured and tried: docs/decisions/0008-hot-path/fold.md, late-events-in-place.md.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from dsl.compile import USER
from dsl.event import Position
from dsl.local_time import TIMEZONE
from dsl.moments import passed
from dsl.progress import State
from dsl.strands import by_strands
from dsl.values import fingerprint, value_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsl.compile import Plan
    from dsl.event import Event
    from dsl.nodes.late import Undo
    from dsl.nodes.node import Measure
    from dsl.progress import Grant
    from dsl.strands import Strand, Strands
    from dsl.wiring import Dispatch, Once

_BULK = 24
"""From so many events on, a run may go through the plan strand by strand."""
_SWEEP = 32
"""Whenever so many more fingerprints are known, those that can no longer suppress a copy are swept."""


class Standing(NamedTuple):
    """How far a subject is with one achievement and tier, under the version in effect."""

    achievement: str
    tier: str | None
    version: int
    measure: Measure
    earned: bool


def start(plan: Plan) -> State:
    """Return the state of an unknown subject."""
    del plan
    return State()


def step(plan: Plan, state: State, event: Event) -> list[Grant]:
    """Fold one event into the state, in place, and return what it earned.

    The event must lie after `state.mark` in canonical order.
    """
    return walk(plan, state, (event,))


def walk(plan: Plan, state: State, events: Sequence[Event], *, kept: bool = True) -> list[Grant]:
    """Fold a run of events into the state, in place, and return what they earned.

    They must lie after `state.mark` and each other, in canonical order. Where one cannot be folded, it is the mark.
    Moments that they pass are judged before them. Without `kept`, the state is good for further events alone: what has
    earned all that it may is folded no further.
    """
    if plan.moments:
        return _walk_past_moments(plan, state, events, kept=kept)
    return _walk(plan, state, events, kept=kept)


def _walk_past_moments(plan: Plan, state: State, events: Sequence[Event], *, kept: bool) -> list[Grant]:
    grants: list[Grant] = []
    ahead = deque(plan.moments)
    waiting: list[Event] = []
    for event in events:
        while ahead and ahead[0].at <= event.at:
            grants += _walk(plan, state, waiting, kept=kept)
            waiting = []
            grants += reach(plan, state, ahead.popleft().at)
        waiting.append(event)
    return grants + _walk(plan, state, waiting, kept=kept)


def reach(plan: Plan, state: State, until: int) -> list[Grant]:
    """Judge the moments behind the state's mark up to an instant (microseconds), in place; return what they earned.

    All events before each of them must be folded.
    """
    if not plan.moments:
        return []
    return list(chain.from_iterable(passed(state, plan.moments, until)))


def _walk(plan: Plan, state: State, events: Sequence[Event], *, kept: bool) -> list[Grant]:
    if len(events) >= _BULK and plan.strands is not None and (chosen := plan.strands.of(events)):
        return _walk_in_bulk(plan, plan.strands, chosen, state, events, kept=kept)
    return _step(plan, plan.dispatch, state, events)


def _step(plan: Plan, dispatch: Mapping[str, Dispatch], state: State, events: Sequence[Event]) -> list[Grant]:
    grants: list[Grant] = []
    last = None
    try:
        for event in events:
            entry = dispatch.get(event.type)
            if entry is None:
                continue
            last = event
            if entry.once is not None and not _counts(state, event, entry.once, entry.base):
                state.suppressed += entry.own
                continue
            if entry.traits:
                _take_traits(plan, state, event, entry)
            for operation in entry.steps:
                earned = operation(state, event)
                if earned:
                    grants += earned
    finally:
        if last is not None:
            state.mark = Position(last.at, last.id)
    return grants


def _walk_in_bulk(
    plan: Plan,
    strands: Strands,
    chosen: Sequence[Strand],
    state: State,
    events: Sequence[Event],
    *,
    kept: bool,
) -> list[Grant]:
    try:
        found = by_strands(chosen, state, events, kept=kept)
        if kept or not strands.over(state):
            found.append(_step(plan, strands.rest, state, events))
    except Exception:
        state.mark = _first_that_fails(plan, events)
        raise
    last = next((event for event in reversed(events) if event.type in plan.types), None)
    if last is not None:
        state.mark = Position(last.at, last.id)
    return sorted([grant for grants in found for grant in grants], key=_place)


def _place(grant: Grant) -> tuple[int, str]:
    return grant.earned_at, grant.event_id


def _first_that_fails(plan: Plan, events: Sequence[Event]) -> Position:
    """Return the place of the event of a run that cannot be folded; the state is of no use any more."""
    state = start(plan)
    try:
        _step(plan, plan.dispatch, state, events)
    except Exception:  # noqa: BLE001 - it is raised already
        return state.mark or Position(events[0].at, events[0].id)
    return Position(events[-1].at, events[-1].id)


def absorb(plan: Plan, state: State, events: Iterable[Event]) -> bool:
    """Add late events to the state in place if they provably move no grant; return whether that was possible.

    The events must lie before `state.mark` in canonical order, and are added in the given order. If all are added,
    the state equals one that was folded from all events in order, and the same grants were earned
    before. Otherwise the state is as it was, and the subject must be folded again.
    """
    taken: list[Undo] = []
    return all(_absorb(plan, state, event, taken) for event in events) or _taken_back(state, taken)


def _absorb(plan: Plan, state: State, event: Event, taken: list[Undo]) -> bool:
    """Take one event, noting what undoes that; False where it cannot be taken, with some of it done perhaps."""
    entry = plan.dispatch.get(event.type)
    if entry is None:
        return True
    if entry.late is None:
        return False
    position = Position(event.at, event.id)
    for take in entry.late.takes:
        undo = take(state, event, position)
        if undo is None:
            return False
        taken.append(undo)
    return all(stays(state, position) for stays in entry.late.judges)


def _taken_back(state: State, taken: list[Undo]) -> bool:
    """Undo the added events, last first; return False."""
    for undo in reversed(taken):
        undo(state)
    return False


def fold(plan: Plan, events: Sequence[Event], clock: int | None = None) -> tuple[State, list[Grant]]:
    """Fold a subject's events, given once each in canonical order; return the state and everything earned.

    That includes what is earned at moments without an event, up to a clock (microseconds).
    """
    state = start(plan)
    grants = walk(plan, state, events)
    return state, grants if clock is None else grants + reach(plan, state, clock)


def _counts(state: State, event: Event, once: Once, base: str) -> bool:
    """Return whether an event counts: the first of its fingerprint, or far enough after the last one that counted."""
    key = fingerprint([event.user, *(event.fields.get(field) for field in once.fields)])
    counted = state.counted.setdefault(base, {})
    last = counted.get(key)
    if last is not None and (once.within is None or event.at - last < once.within):
        return False
    counted[key] = event.at
    if once.within is not None and len(counted) % _SWEEP == 0:
        horizon = event.at - once.within
        for stale in [key for key, at in counted.items() if at <= horizon]:
            del counted[stale]
    return True


def _take_traits(plan: Plan, state: State, event: Event, entry: Dispatch) -> None:
    for name in entry.traits:
        value = event.fields.get(name)
        if value is None:
            continue
        if plan.scope == USER:
            state.traits[name] = value_text(value) if isinstance(value, Decimal) else value
        elif name == TIMEZONE and isinstance(value, str):
            state.traits[event.user] = value


def standings(plan: Plan, state: State, now: int) -> list[Standing]:
    """Return the progress of every achievement and tier that has a version in effect at `now` (microseconds)."""
    result: list[Standing] = []
    for ruling in plan.rulings:
        judge = ruling.in_effect(now)
        if judge is not None:
            measure = judge.measure(state, now)
            version, earned = judge.version.version, ruling.slot in state.earned
            result.append(Standing(ruling.achievement, ruling.tier, version, measure, earned))
    return result
