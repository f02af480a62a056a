"""What a batch means for the books: facts go in, what is to be written comes out. Pure, and the same for both ways.

`gather` (I/O) finds facts, `decide` says what follows, and the write step (I/O) carries it out:

    screen      which events of a batch are new, and which are copies or dead letters
    first_look  moves the subjects that hear new events, as far as memory suffices; names those to be folded again
    decide      compares what is earned with what is stored, and returns all that is to be written

The fast path takes facts from memory and looks others up without a lock; the long way reads them under the
locks of their partitions. Both call these functions: `first_look` steps where events come in order, absorbs
late ones where that provably moves no grant, and leaves a subject to be folded again otherwise.

States are changed in place, in the cache too, because a copy of each would cost more than all the rest. So
the caller of `first_look` has to hold the partitions of the states in the cache, and to tell it when the batch
has failed: then all states of these partitions are void (worker/engine/state_cache.py).
"""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from dsl.compile import USER
from dsl.event import Position
from dsl.fold import reach, start
from dsl.moments import at_begin, at_moment
from dsl.outcome import Subject, canonical_order
from dsl.progress import groups_in
from worker.engine.arrivals import Arrivals
from worker.engine.folding import UnfoldableError, absorb_late, late_among, walk_on
from worker.engine.long_way import LongWay
from worker.engine.origin import NEWS, Origin, arrived
from worker.engine.reconcile import Complete, Decision, Kind, reconcile, unlock_id
from worker.engine.state_cache import BEGINNING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from uuid import UUID

    from dsl.compile import Plan
    from dsl.event import Event
    from dsl.progress import Grant, State
    from worker.engine.change import Cause
    from worker.engine.folding import Refold
    from worker.engine.reconcile import Change, Stored
    from worker.engine.rule_set import Deployed
    from worker.engine.state_cache import Checkpoint, SubjectState
    from worker.engine.subject_events import SubjectEvents

Earned: TypeAlias = "tuple[Subject, Grant]"
"""What a subject has earned."""

# -- a first look ------------------------------------------------------------------------------------------------------


class FirstLook(NamedTuple):
    """What events have brought the subjects that could be moved in place, and which others are to be folded again."""

    earned: list[Earned]
    checkpoints: list[Checkpoint]
    folded: dict[Subject, int]
    """Subjects whose progress moves, with the number of events that came in order."""
    absorbed: dict[Subject, Position]
    """Subjects that have taken late events, with the earliest: checkpoints behind it have not seen it."""
    refolds: dict[Subject, Position]
    """Subjects to be folded again, from the last state before a position."""
    replanned: set[Subject]
    """Those of them whose state is of other rules, or missing."""
    late: int
    """Events that came behind a later one of their user."""
    left_out: dict[Subject, LongWay]
    """Users that have to leave the fast path; nothing of theirs is in the other fields."""


def first_look(
    rules: Deployed,
    events: Mapping[Subject, SubjectEvents],
    states: Mapping[Subject, SubjectState],
    *,
    clock: int,
    most_refolds: int | None = None,
) -> FirstLook:
    """Move each subject by its new events, which are in order; the states are changed in place.

    Moments up to `clock` (microseconds) are judged behind them.

    `most_refolds` is how many users the fast path folds again; those beyond, and those that cannot be folded, are left
    out. The long way has no limit (None).

    Raises:
        UnfoldableError: the fold failed on an event; by the long way alone.
    """
    look = FirstLook([], [], {}, {}, {}, set(), 0, {})
    plans, stamps, late = rules.program.scopes, rules.stamps, 0
    for subject, own in events.items():
        state, scope = states[subject], subject.scope
        if own.heard:
            try:
                left_out = _move(look, plans[scope], stamps[scope], subject, state, own, most_refolds, clock)
            except UnfoldableError:
                if most_refolds is None:
                    raise
                # The long way folds the user from the ledger, and finds out which event it is.
                state.state, left_out = None, LongWay.UNFOLDABLE
            if left_out is not None:
                look.left_out[subject] = left_out
                continue
        state.known = True
        if scope == USER:
            late += own.behind
            last = canonical_order(own.events[-1])
            if state.latest is None or last > state.latest:
                state.latest = last
    return look._replace(late=late) if late else look


def _move(  # noqa: PLR0913, PLR0917 - inner loop of the above
    look: FirstLook,
    plan: Plan,
    stamp: str,
    subject: Subject,
    state: SubjectState,
    own: SubjectEvents,
    most_refolds: int | None,
    clock: int,
) -> LongWay | None:
    """Move one subject in place, or leave it to be folded again; return why the fast path has to be left, if it has."""
    heard, in_order = own.heard, own.heard
    current = state.state if state.stamp == stamp else None
    if current is None:
        if state.known:
            look.refolds[subject], look.folded[subject] = _before(state, heard), 0
            look.replanned.add(subject)
            return None
        current = state.state = start(plan)
        state.stamp, state.folded = stamp, 0
    late = late_among(current, heard) if own.behind or (plan.moments and at_begin(current)) else 0
    if late:
        if not absorb_late(plan, current, heard[:late]):
            if len(look.refolds) == most_refolds:
                return LongWay.TOO_MANY_REFOLDS
            look.refolds[subject], look.folded[subject] = Position(heard[0].at, heard[0].id), 0
            return None
        in_order = heard[late:]
    if in_order:
        grants, due, state.folded = walk_on(plan, subject, stamp, current, in_order, state.folded)
        if grants:
            look.earned.extend([(subject, grant) for grant in grants])
        if due:
            look.checkpoints.extend(due)
    look.earned.extend([(subject, grant) for grant in reach(plan, current, clock)] if plan.moments else ())
    if late:
        look.absorbed[subject] = Position(heard[0].at, heard[0].id)
    look.folded[subject] = len(in_order)
    return None


def _before(state: SubjectState, heard: Sequence[Event]) -> Position:
    """Return the position before which a past state of a subject serves whose state is of other rules, or missing."""
    return BEGINNING if state.state is None else Position(heard[0].at, heard[0].id)


def latest_known(state: SubjectState) -> tuple[int, str]:
    """Return instant and id of the latest event that a subject is known to have had."""
    if state.latest is not None:
        return state.latest
    mark = None if state.state is None else state.state.mark
    return (BEGINNING.at, BEGINNING.id) if mark is None else (mark.at, mark.id)


# -- the decision ------------------------------------------------------------------------------------------------------


class Facts(NamedTuple):
    """All that a decision needs to know."""

    arrivals: Arrivals
    states: Mapping[Subject, SubjectState]
    """Of all subjects in `look.folded`."""
    look: FirstLook
    refolds: Mapping[Subject, Refold] = MappingProxyType({})
    """The subjects of `look.refolds`, folded again."""
    stored: Mapping[Subject, Sequence[Stored]] = MappingProxyType({})
    """All unlocks of subjects that were folded again, and those of others that they have earned now."""
    backfill: bool = False
    """Whether new rules have earned it, and no event."""
    cause: Cause | None = None
    """Of a backfill: the change that it is a part of."""


def backfill_facts(
    states: Mapping[Subject, SubjectState],
    refolds: Mapping[Subject, Refold],
    stored: Mapping[Subject, Sequence[Stored]],
    cause: Cause | None = None,
) -> Facts:
    """Return the facts about subjects without new events that are folded again; `cause` is the change behind it."""
    look = FirstLook([], [], dict.fromkeys(refolds, 0), {}, {}, set(), 0, {})
    return Facts(Arrivals(), states, look, refolds, stored, backfill=True, cause=cause)


class Writes(NamedTuple):
    """All that is to be written: each field is a table's share, or a number for the books of the worker."""

    arrivals: Arrivals
    """Events, which the long way has inserted already, to find out which are new; dead letters."""
    progress: Mapping[Subject, SubjectState]
    """States to be saved."""
    forgotten: Sequence[Subject]
    """Subjects that have heard nothing, sorted: what was kept of them goes."""
    checkpoints: Sequence[Checkpoint]
    absorbed: Mapping[Subject, Position]
    """Subjects whose checkpoints behind a position have not seen what they absorbed: these go."""
    refolded: Mapping[Subject, Position]
    """The same of those that were folded again; the long way has forgotten them already."""
    unlocks: Sequence[Decision]
    """New unlocks, sorted by key: granted, or settling."""
    amended: Sequence[Change]
    """Unlocks that other events support now, sorted by id; among them those that are restored."""
    contested: Sequence[UUID]
    """Sorted."""
    withdrawn: Sequence[UUID]
    """Sorted."""
    evaluations: Sequence[Decision]
    """Decisions about unlocks that were there before, in the order in which they were made."""
    late: int
    now: int
    clock: int

    @property
    def decisions(self) -> list[Decision]:
        """All decisions: about new unlocks, then about those that were there."""
        return [*self.unlocks, *self.evaluations]


def decide(rules: Deployed, facts: Facts, *, now: int, clock: int, save_every: int = 1) -> Writes:
    """Decide what is to be written. States of subjects that were folded again are put in their places.

    `now` is the wall clock, `clock` what tells whether an unlock has settled, both in microseconds. Progress of
    a subject that takes events in order is saved once in `save_every` of them: its readers find later
    ones in the ledger. What came late is not found there, so that it is always saved, and so is what has a new
    checkpoint.
    """
    look, refolds = facts.look, facts.refolds
    earned, checkpoints, changes = look.earned, look.checkpoints, _NO_CHANGES
    if refolds:
        checkpoints = [*checkpoints, *chain.from_iterable([refold.checkpoints for refold in refolds.values()])]
        _put_in_place(rules, facts, clock)
    if facts.stored or refolds:
        earned, changes = _compare(rules, facts)
    progress, forgotten = _to_be_saved(facts, checkpoints, save_every)
    causes = _Causes(rules, facts) if earned or changes else None
    return Writes(
        arrivals=facts.arrivals,
        progress=progress,
        forgotten=forgotten,
        checkpoints=checkpoints,
        absorbed=look.absorbed,
        refolded=look.refolds,
        unlocks=_new_unlocks(earned, causes, clock) if causes is not None else (),
        amended=sorted(_of(changes, Kind.AMENDED, Kind.RESTORED), key=_by_id) if changes else (),
        contested=[change.unlock_id for change in sorted(_of(changes, Kind.CONTESTED), key=_by_id)] if changes else (),
        withdrawn=[change.unlock_id for change in sorted(_of(changes, Kind.WITHDRAWN), key=_by_id)] if changes else (),
        evaluations=_about_known(changes, causes) if causes is not None else (),
        late=look.late,
        now=now,
        clock=clock,
    )


def without(writes: Writes, subjects: AbstractSet[Subject]) -> Writes:
    """Return what is to be written but progress and checkpoints of some subjects, about which nothing is decided."""
    if not subjects:
        return writes
    return writes._replace(
        progress={subject: state for subject, state in writes.progress.items() if subject not in subjects},
        checkpoints=[point for point in writes.checkpoints if Subject(*point[:3]) not in subjects],
        forgotten=[subject for subject in writes.forgotten if subject not in subjects],
    )


GROUPS_A_SAVE: Final = 1000
"""Groups of a user that are as long to write as the rest of a state: with so many more, twice as many events are folded
before it is saved, and so on."""
_NO_CHANGES: Final[Sequence[tuple[Subject, Change]]] = ()


def _of(changes: Iterable[tuple[Subject, Change]], *kinds: Kind) -> list[Change]:
    return [change for _, change in changes if change.kind in kinds]


def _by_id(change: Change) -> UUID:
    return change.unlock_id


def _put_in_place(rules: Deployed, facts: Facts, clock: int) -> None:
    for subject, refold in facts.refolds.items():
        refold.reach(clock)
        state = facts.states[subject]
        state.state, state.folded, state.stamp = refold.state, refold.folded, rules.stamps[subject.scope]


class _StillRuled(NamedTuple):
    rules: Deployed
    scope: str

    def __call__(self, achievement: str, tier: str) -> bool:
        return self.rules.rules_on(self.scope, achievement, tier)


def _compare(rules: Deployed, facts: Facts) -> tuple[list[Earned], list[tuple[Subject, Change]]]:
    """Return what subjects have earned beyond what is stored, and what changes of that."""
    new: list[Earned] = []
    changes: list[tuple[Subject, Change]] = []

    def compare(subject: Subject, grants: Iterable[Grant], complete: Complete | None) -> None:
        more, moved = reconcile(subject, facts.stored.get(subject, ()), grants, complete)
        new.extend([(subject, grant) for grant in more])
        changes.extend([(subject, change) for change in moved])

    for subject, refold in facts.refolds.items():
        anew = frozenset[tuple[str, str]]() if refold.anew is None else refold.anew.rulings
        compare(subject, refold.grants, Complete(refold.since, _StillRuled(rules, subject.scope), anew))
    stepped: defaultdict[Subject, list[Grant]] = defaultdict(list)
    for subject, grant in facts.look.earned:
        stepped[subject].append(grant)
    for subject, grants in stepped.items():
        compare(subject, grants, None)
    return new, changes


class _Causes:
    """The change that decisions come of, if any: a worker and a backfill say the same."""

    def __init__(self, rules: Deployed, facts: Facts) -> None:
        self._backfill = facts.backfill
        self._of_backfill, self._in_force = facts.cause, rules.cause
        self._how = NEWS if facts.backfill else arrived(facts.arrivals.groups, facts.look.replanned)

    def origin(self, subject: Subject, grant: Grant) -> Origin:
        """Return the origin of what is granted at once."""
        return Origin.BACKFILL if self._backfill else self._how.origin(subject, grant)

    def of(self, subject: Subject, grant: Grant) -> Cause | None:
        """Return the change that a decision about a grant comes of."""
        if self._backfill:
            return self._of_backfill
        return self._in_force if self._how.by_rules(subject, grant) else None


def _about_known(changes: Iterable[tuple[Subject, Change]], causes: _Causes) -> list[Decision]:
    """Return what is decided about unlocks that were there before."""
    decisions: list[Decision] = []
    for subject, change in changes:
        cause = causes.of(subject, change.grant)
        change_id = None if cause is None else cause.change_id
        decisions.append(Decision(change.kind, subject, change.unlock_id, change.grant, change_id=change_id))
    return decisions


def _new_unlocks(earned: Iterable[Earned], causes: _Causes, clock: int) -> list[Decision]:
    """Return what is decided about unlocks that are new, sorted by key."""
    decisions: list[Decision] = []
    for subject, grant in sorted(earned, key=_key_of):
        origin, cause = causes.origin(subject, grant), causes.of(subject, grant)
        change_id = None if cause is None else cause.change_id
        silent = cause is not None and cause.policy.silences(grant.earned_at)
        kind, key = kind_of_new(grant, clock), unlock_id(subject, grant)
        decisions.append(Decision(kind, subject, key, grant, origin, change_id, silent))
    return decisions


def _key_of(earned: Earned) -> tuple[str, ...]:
    subject, grant = earned
    return (*subject, grant.achievement, grant.tier or "", grant.occurrence or "")


def kind_of_new(grant: Grant, clock: int) -> Kind:
    """Return whether a grant that is new is made at once, or has to settle at a clock, in microseconds."""
    settles_at = settling_until(grant)
    return Kind.GRANTED if settles_at is None or settles_at <= clock else Kind.SETTLING


def settling_until(grant: Grant) -> int | None:
    """Return when a grant has settled, in microseconds; None where it is granted at once."""
    return grant.earned_at + grant.settle if grant.settle else None


def _to_be_saved(
    facts: Facts, checkpoints: Iterable[Checkpoint], save_every: int
) -> tuple[dict[Subject, SubjectState], list[Subject]]:
    """Return the subjects whose progress is saved, and those that have none left."""
    due: set[Subject] = {*facts.look.absorbed, *facts.refolds, *(Subject(*point[:3]) for point in checkpoints)}
    # The events in the ledger do not say what was earned between them.
    due.update([subject for subject, grant in facts.look.earned if at_moment(grant)])
    saved: dict[Subject, SubjectState] = {}
    forgotten: list[Subject] = []
    for subject, folded in facts.look.folded.items():
        state = facts.states[subject]
        unsaved = save_every if state.unsaved is None else state.unsaved + folded
        if (unsaved < save_every or _may_wait(state, unsaved, save_every)) and subject not in due:
            state.unsaved = unsaved
            continue
        state.unsaved = 0
        if _heard_nothing(state.state):
            forgotten.append(subject)
        else:
            saved[subject] = state
    return saved, sorted(forgotten)


def _may_wait(state: SubjectState, unsaved: int, save_every: int) -> bool:
    """Return whether a state has so many groups that it is saved less often: to write them takes that long."""
    if save_every == 1 or state.unsaved is None or state.state is None:
        return False
    return unsaved < save_every * (1 + groups_in(state.state) // GROUPS_A_SAVE)


def _heard_nothing(state: State | None) -> bool:
    return state is not None and state.mark is None
