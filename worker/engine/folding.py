"""Fold events of one subject: step in order, absorb what is late, or fold again from a past state. Pure.

A busy subject leaves a checkpoint of its state every so many events, so that a late event costs what lies behind it and
not the whole history. A checkpoint is valid as long as nothing has arrived before its mark, and is forgotten then.

Measured and tried: docs/decisions/0008-hot-path/checkpoints.md.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from dsl.compile import USER
from dsl.event import Position
from dsl.fold import absorb, reach, start, walk
from dsl.moments import at_moment
from dsl.outcome import canonical_order
from dsl.progress import decode, encode
from worker.engine.state_cache import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.carry import Carriage, Carried
    from dsl.compile import Plan
    from dsl.event import Event
    from dsl.outcome import Subject
    from dsl.progress import Grant, State
    from worker.engine.rule_set import Deployed

CHECKPOINT_EVERY: Final = 64
"""Events of one subject between two checkpoints, at least."""
CHECKPOINT_BYTES: Final = 32
"""Bytes that a checkpoint may take for each event since the one before: a large state is written down less often."""
CHECKPOINTS_KEPT: Final = 16
"""Of one subject. What comes later than all of them is folded from the beginning."""


class UnfoldableError(Exception):
    """The fold itself failed on an event of one subject: a defect of ours, which must not stop all others."""


Walked: TypeAlias = "tuple[list[Grant], list[Checkpoint], int]"
"""What events have earned, the checkpoints that fell due, and the number of events since the latest of them."""


def walk_on(plan: Plan, subject: Subject, stamp: str, state: State, events: list[Event], folded: int) -> Walked:
    """Step through events that lie behind the state's mark, in canonical order. The state is changed in place.

    `folded` are the events since the latest checkpoint before.

    Raises:
        UnfoldableError: the fold failed on one of them, and the state is not to be used any more.
    """
    if folded % CHECKPOINT_EVERY + len(events) < CHECKPOINT_EVERY:  # no checkpoint is due, as with most batches
        return _walk(plan, state, events), [], folded + len(events)
    grants: list[Grant] = []
    checkpoints: list[Checkpoint] = []
    for at in range(0, len(events), CHECKPOINT_EVERY):
        run = events[at : at + CHECKPOINT_EVERY]
        grants += _walk(plan, state, run)
        before, folded = folded, folded + len(run)
        due = folded // CHECKPOINT_EVERY > before // CHECKPOINT_EVERY
        if due and (point := _checkpoint(subject, stamp, state, folded)) is not None:
            checkpoints.append(point)
            folded = 0
    return grants, checkpoints, folded


def _walk(plan: Plan, state: State, events: list[Event]) -> list[Grant]:
    try:
        return walk(plan, state, events)
    except Exception as error:
        event_id = "" if state.mark is None else state.mark.id
        raise _unfoldable(plan, events[0].tenant, event_id, error) from error


def _checkpoint(subject: Subject, stamp: str, state: State, folded: int) -> Checkpoint | None:
    """Return a checkpoint of a state, where that is small enough for so many events since the one before."""
    if state.mark is None:
        raise AssertionError("a state that has folded events has a mark")
    text = encode(state).decode()
    if len(text) > CHECKPOINT_BYTES * folded:
        return None
    return Checkpoint(*subject, state.mark.at, state.mark.id, stamp, text)


def late_among(state: State, events: list[Event]) -> int:
    """Return how many of the events, which are in canonical order, lie before the last one that was folded."""
    mark = state.mark
    if mark is None or (mark.at, mark.id) < canonical_order(events[0]):
        return 0
    return bisect_left(events, (mark.at, mark.id), key=canonical_order)


def absorb_late(plan: Plan, state: State, late: list[Event]) -> bool:
    """Take late events into the state, in place; False where one moves a grant, or may: the state is as it was then.

    Raises:
        UnfoldableError: the fold failed on one of them, and the state is not to be used any more.
    """
    try:
        return absorb(plan, state, late)
    except Exception as error:
        raise _unfoldable(plan, late[0].tenant, late[0].id, error) from error


def _unfoldable(plan: Plan, tenant: str, event_id: str, error: Exception) -> UnfoldableError:
    return UnfoldableError(f"{plan.scope} {tenant}:{event_id}: {type(error).__name__}: {error}")


def earns_at_moment(plan: Plan, state: State, clock: int) -> bool:
    """Tell whether a state earns something at a moment up to a clock (microseconds), without another event."""
    mark = state.mark
    if mark is None or not any(mark.at < moment.at <= clock for moment in plan.moments):
        return False
    copy = decode(encode(state))
    return copy is not None and bool(reach(plan, copy, clock))


class Anew(NamedTuple):
    """What rules make of a past state that earlier rules have folded."""

    rulings: AbstractSet[tuple[str, str]]
    """Achievements and tiers ("" for none) that were decided anew, up to the mark of the state."""
    grants: Sequence[Grant]
    """All that the subject has earned of these up to there."""
    events: int
    """How many events were read for it."""
    certain: bool
    """Whether the state says all by itself, if the subject has no events of what is new."""
    dropped: AbstractSet[str]
    """Event types that are heard no more: the mark may be an event of one."""
    new: AbstractSet[str]
    """Event types that something new reads."""
    undone: bool = False
    """Whether the mark may be the begin of a version at which nothing is earned any more."""


class PartFold:
    """The events of a subject up to the mark of a state of earlier rules, by the part of the plan that needs them.

    Feed it the events of the part's types, in canonical order.
    """

    def __init__(self, carriage: Carriage, carried: Carried, part: Plan, *, certain: Callable[[], bool]) -> None:
        self._carriage, self._carried, self.part = carriage, carried, part
        self._certain = certain
        self._state = start(part)
        self._copies = start(part)
        self._grants: list[Grant] = []
        self._events = 0

    def feed(self, events: list[Event]) -> None:
        """Fold more events; those behind the mark are left for later.

        Raises:
            UnfoldableError: the fold failed on one of them.
        """
        mark = self._carried.state.mark
        if mark is None or canonical_order(events[0]) > (mark.at, mark.id):
            return
        known = events[: bisect_right(events, (mark.at, mark.id), key=canonical_order)]
        self._grants += _walk(self.part, self._state, known)
        self._events += len(known)
        if self._carriage.copies is not None:
            _walk(self._carriage.copies, self._copies, known)

    def merged(self) -> tuple[State, Anew]:
        """Return the state up to its mark, and what was decided about the time up to there."""
        mark = self._carried.state.mark
        if mark is not None:
            self._grants += reach(self.part, self._state, mark.at)
        state = self._carriage.merged(self._carried, self.part, self._state, self._copies.suppressed)
        decided = self.part.judged | self._carried.unearned
        certain = not self._events and self._certain()
        return state, anew_of(self._carriage, mark, decided, self._grants, self._events, certain=certain)


def anew_of(
    carriage: Carriage,
    mark: Position | None,
    rulings: AbstractSet[int],
    grants: Sequence[Grant] = (),
    events: int = 0,
    *,
    certain: bool = True,
) -> Anew:
    """Return what was decided about some rulings of a plan, by their slots, up to the mark of a state."""
    known = carriage.new.rulings
    keys = frozenset((known[slot].achievement, known[slot].tier or "") for slot in rulings)
    return Anew(keys, grants, events, certain, carriage.dropped, carriage.types, carriage.undone(mark))


class Refold:
    """A subject that is folded again from a past state; feed it all events behind that, in canonical order.

    A long history is fed page by page, and costs time, not memory.
    """

    def __init__(
        self,
        rules: Deployed,
        subject: Subject,
        state: State | None,
        since: Position,
        *,
        folded: int = 0,
        anew: Anew | None = None,
    ) -> None:
        self._plan = rules.program.scopes[subject.scope]
        self.subject = subject
        self.stamp = rules.stamps[subject.scope]
        self.state = start(self._plan) if state is None else state
        self.since = since
        """Where the past state stood: it has seen everything up to here, and nothing behind."""
        self.folded = folded
        """Events since the latest checkpoint."""
        self.events = 0
        """Events that were fed."""
        self.anew = anew
        """What was decided about the time up to `since`, where the past state is one of earlier rules."""
        self.grants: list[Grant] = [] if anew is None else [*anew.grants]
        """All that the subject has earned behind `since`, and what was earned anew up to there."""
        self.checkpoints: deque[Checkpoint] = deque(maxlen=CHECKPOINTS_KEPT)
        self._moved = False

    @property
    def as_it_was(self) -> bool:
        """Whether a stored past state says all that its readers need, though earlier rules have folded it.

        They put later events of users on top of it: a few, none of types that something new reads.
        """
        return self.anew is not None and self.anew.certain and not self.anew.events and not self._moved

    @property
    def mark_is_doubtful(self) -> bool:
        """Whether the mark may be an event that is heard no more, or a moment at which nothing is earned any more."""
        if self.anew is None or self.state.mark != self.since:
            return False
        return self.anew.undone or (bool(self.anew.dropped) and bool(self.since.id))

    def mark(self, last: Position | None) -> None:
        """Put the mark on the last event that is heard, None where there is none, or on what was earned behind it."""
        moments = [Position(grant.earned_at, grant.event_id) for grant in self.grants if at_moment(grant)]
        if last is not None:
            last = max([last, *moments])
        self._moved = self._moved or last != self.state.mark
        self.state.mark = last

    def reach(self, clock: int) -> None:
        """Judge the moments up to a clock (microseconds), once all events are fed."""
        if earned := reach(self._plan, self.state, clock):
            self._moved = True
            self.grants += earned

    def feed(self, events: list[Event]) -> None:
        """Fold more events.

        Raises:
            UnfoldableError: the fold failed on one of them.
        """
        if self.anew is not None and not self._moved:
            new = self.anew.new
            self._moved = self.subject.scope != USER or any(event.type in new for event in events)
        grants, due, self.folded = walk_on(self._plan, self.subject, self.stamp, self.state, events, self.folded)
        self.events += len(events)
        self.grants += grants
        self.checkpoints += due
