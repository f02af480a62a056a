"""The express way: one statement commits a batch of which everything is known beforehand.

Most events are of users whom this worker remembers; where others stand is looked up, without a lock. What comes later
than all that is known of a user is new, for a copy lies where its original lies; what comes late is taken to be new as
long as that turns out to be right (`Trust`), and the past of those whose grants it may move is looked up likewise. All
are judged, and one statement locks the partitions, records the events, saves progress, and inserts and amends unlocks,
all or nothing. Where a partition has moved, an event was known, or an unlock is not as it was taken to be, it does
nothing, and the batch goes the long way, which takes nothing for granted.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.compile import USER
from dsl.event import Position
from dsl.outcome import Subject, canonical_order
from worker.contract.partition import partition_of
from worker.engine.batch import Attempt
from worker.engine.event_rows import pack_events
from worker.engine.origin import NEWS, arrived
from worker.engine.reconcile import Kind
from worker.engine.state_cache import BEGINNING
from worker.engine.user_events import user_events_of
from worker.pipeline.folding import (
    UnfoldableError,
    checkpoint_columns,
    fold_ahead,
    late_among,
    move_in_place,
    position_columns,
    progress_columns,
    take_late,
)
from worker.pipeline.grants import (
    amendment_columns,
    compare,
    decisions_about,
    evaluation_columns,
    first_decisions,
)
from worker.pipeline.ledger import standings_of
from worker.pipeline.lookup import pasts_of
from worker.store import OvertakenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.compile import Plan
    from dsl.event import Event
    from dsl.progress import Grant
    from worker.engine.batch import Batch
    from worker.engine.reconcile import Change
    from worker.engine.rule_set import Deployed
    from worker.engine.state_cache import StateCache, SubjectState
    from worker.engine.user_events import UserEvents
    from worker.store import Session

WORTH_IT: Final = 0.5
"""Share of a batch that must go the express way; less than that is not worth a transaction beside that of the rest."""
MOST_ANEW: Final = 64
"""Users of a batch that are folded anew by the express way; where there are more, one long way is cheaper."""
SAVE_EVERY: Final = 32
"""Events of one user that are folded before the progress is written: with each batch, that would be half of what a
small one costs."""
MOST_DOUBT: Final = 256
"""Batches in which what is late goes the long way, after it has often been no news."""


class FastPath(NamedTuple):
    """What can go the express way: an attempt at it, and what is left to fold."""

    attempt: Attempt
    heard: dict[Subject, list[Event]]
    """Per user what their plan hears and was not late, in order."""
    anew: dict[Subject, list[Event]]
    """Per user of whom late events may move a grant: all that the plan hears, in order; to be folded anew."""


class Trust:
    """Whether what comes late is taken to be new: after each time that it was not, for more batches it is not."""

    def __init__(self) -> None:
        self._waits = 0
        self._doubt = 1

    def given(self) -> bool:
        """Tell whether to trust, for one batch."""
        if not self._waits:
            return True
        self._waits -= 1
        return False

    def kept(self) -> None:
        """What was late was new."""
        self._doubt = max(1, self._doubt // 2)

    def broken(self) -> None:
        """Something was not as it was taken to be."""
        self._waits = self._doubt = min(2 * self._doubt, MOST_DOUBT)


def unknown_users(batch: Batch, memory: StateCache) -> dict[Subject, int]:
    """Return whom of a batch we do not know, in partitions that we have left with a generation: with that."""
    strangers: dict[Subject, int] = {}
    for user in {group.concern.user for group in batch.groups}:
        if memory.expected_state(user) is None:
            generation = memory.expected_generation(partition_of(*user))
            if generation is not None:
                strangers[user] = generation
    return strangers


async def meet(session: Session, rules: Deployed, strangers: Mapping[Subject, int], memory: StateCache) -> None:
    """Look where users stand, without a lock: the generations say, now and at the commit, whether that still holds."""
    for user, standing in (await standings_of(session, rules, sorted(strangers))).items():
        memory.add_unlocked(user, standing, strangers[user])


def divide(batch: Batch, memory: StateCache, *, trusting: bool) -> tuple[FastPath | None, Batch]:
    """Return what can go the express way, if that is worth it, and the rest of the batch.

    `trusting` is whether late events are taken to be new. The attempt holds its partitions in the memory, where states
    have moved: it has to be committed there, or to fail.
    """
    told = user_events_of(batch)
    plan, stamp = batch.rules.program.scopes[USER], batch.rules.stamps[USER]
    known = _known(told, memory, stamp, trusting=trusting)
    if sum([len(told[user].events) for user in known]) < max(1, batch.size * WORTH_IT):
        return None, batch
    express = FastPath(Attempt(msgspec.structs.replace(batch, letters=())), {}, {})
    for user, standing in list(known.items()):
        if not _take_in(express, plan, user, standing, told[user]):
            del known[user]
    if not known:
        return None, batch
    attempt = express.attempt
    groups = tuple([group for group in batch.groups if group.concern.user in known])
    rest = tuple([group for group in batch.groups if group.concern.user not in known])
    attempt.batch = msgspec.structs.replace(attempt.batch, groups=groups)
    attempt.standings.update(known)
    attempt.events = list(chain.from_iterable([group.events for group in groups]))
    attempt.late = sum([told[user].behind for user in known])
    for user, standing in known.items():
        memory.reserve(attempt.hold, user, standing)
    return express, msgspec.structs.replace(batch, groups=rest)


def _known(
    told: Mapping[Subject, UserEvents], memory: StateCache, stamp: str, *, trusting: bool
) -> dict[Subject, SubjectState]:
    """Return the standings of those of whom everything is known, as far as that can be told without judging."""
    known: dict[Subject, SubjectState] = {}
    for user, tale in told.items():
        standing = memory.expected_state(user)
        if standing is None or standing.erased:
            continue
        latest = standing.latest or (BEGINNING.at, BEGINNING.id)
        if not tale.put_in_order(latest):
            continue
        if tale.behind and not trusting and canonical_order(tale.events[0]) < latest:
            continue
        # Where the plan hears nothing, it needs no state, and who is new has none.
        if not tale.heard or not standing.known or (standing.state is not None and standing.stamp == stamp):
            known[user] = standing
    return known


def _take_in(express: FastPath, plan: Plan, user: Subject, standing: SubjectState, tale: UserEvents) -> bool:
    """Take what is told of a user; False where that cannot go the express way."""
    attempt, heard = express.attempt, tale.heard
    late = late_among(standing, heard) if tale.behind and heard else 0
    if late:
        try:
            taken = take_late(plan, standing, heard[:late])
        except UnfoldableError:  # the long way will find it again, and who is to blame
            standing.state = None
            return False
        if not taken:
            if len(express.anew) == MOST_ANEW:
                return False
            express.anew[user] = heard
        attempt.absorbed[user] = Position(heard[0].at, heard[0].id)
        if late == len(heard) or not taken:
            attempt.touched.append(user)
    if late < len(heard) and user not in express.anew:
        express.heard[user] = heard[late:] if late else heard
    if not heard:
        standing.known = True
    last = canonical_order(tale.events[-1])
    if standing.latest is None or last > standing.latest:
        standing.latest = last
    return True


async def commit_fast(session: Session, express: FastPath, memory: StateCache, *, clock: int) -> None:
    """Judge and commit what `divide` has found; `clock` in microseconds, as in `settle_unlocks`.

    Raises:
        OvertakenError: something was not as it was taken to be, and nothing has happened.
        UnfoldableError: the fold failed on an event.
    """
    attempt = express.attempt
    rules, now, generations = attempt.batch.rules, attempt.batch.now, sorted(attempt.hold.generations.items())
    new, changes = await _fold_anew(session, express) if express.anew else ([], [])
    if move_in_place(attempt, express.heard, in_time=True):
        raise AssertionError("whoever is known has events in order")
    granted = [*attempt.stepped, *new]
    how = arrived(attempt.batch.groups) if granted else NEWS
    decisions, unlocks = first_decisions(rules, granted, how, clock=clock)
    about = decisions_about(changes)
    attempt.decisions = [*decisions, *about]
    standings = {user: attempt.standings[user] for user in _to_be_saved(express)}
    rows = chain.from_iterable([group.rows for group in attempt.batch.groups])
    await session.run(
        "commit_fast",
        partitions=[partition for partition, _ in generations],
        generations=[generation for _, generation in generations],
        owner=memory.owner,
        epoch=rules.epoch,
        now=now,
        clock=clock,
        **pack_events(rows, lambda: attempt.batch.items),
        **progress_columns(standings),
        **checkpoint_columns(attempt.checkpoints),
        **unlocks,
        **position_columns(attempt.absorbed),
        **amendment_columns([change for _, change in changes]),
        **evaluation_columns(rules, about),
    )


def _to_be_saved(express: FastPath) -> list[Subject]:
    """Return whose progress is due to be written.

    It is not, for some events that came in order: whoever reads it finds them in the ledger, behind the last one that
    it has seen, and folds them on top. What came late is not found there.
    """
    attempt = express.attempt
    due = {*attempt.absorbed, *(Subject(*point[:3]) for point in attempt.checkpoints)}
    saved: list[Subject] = []
    for user in attempt.touched:
        standing = attempt.standings[user]
        unsaved = SAVE_EVERY if standing.unsaved is None else standing.unsaved + len(express.heard.get(user, ()))
        if unsaved >= SAVE_EVERY or user in due:
            unsaved = 0
            saved.append(user)
        standing.unsaved = unsaved
    return saved


async def _fold_anew(
    session: Session, express: FastPath
) -> tuple[list[tuple[Subject, Grant]], list[tuple[Subject, Change]]]:
    """Fold users anew; return what they have earned beyond what is stored, and what changes of that."""
    attempt = express.attempt
    rules = attempt.batch.rules
    pasts = await pasts_of(session, rules, {user: attempt.absorbed[user] for user in express.anew})
    attempt.refolded, points = fold_ahead(rules, pasts, express.anew)
    attempt.checkpoints.extend(points)
    for user, anew in attempt.refolded.items():
        attempt.standings[user].state, attempt.standings[user].folded = anew.state, anew.folded
    new, changes = compare(rules, attempt.refolded, {user: past.unlocks for user, past in pasts.items()})
    if any(change.kind not in {Kind.AMENDED, Kind.RESTORED} for _, change in changes):
        raise OvertakenError("something is no longer earned")
    return new, changes
