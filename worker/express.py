"""The express way: one statement commits a batch of which everything is known beforehand.

Most events are of users whom this worker remembers. What comes later than all that is known of them is new, for a copy
lies where its original lies; what comes late is taken to be new as long as that turns out to be right (`Trust`). They
are judged without asking anybody, and one statement locks the partitions, records the events, saves progress and
inserts unlocks, all or nothing. Where a partition has moved, an event was known, or an unlock was there before, it does
nothing, and the batch goes the long way, which takes nothing for granted.
"""

from __future__ import annotations

from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.compile import USER
from dsl.event import Position
from dsl.outcome import canonical_order
from worker.batch import Attempt
from worker.folding import (
    UnfoldableError,
    checkpoint_columns,
    late_among,
    move_in_place,
    position_columns,
    progress_columns,
    take_late,
)
from worker.grants import first_decisions
from worker.row import pack_events

if TYPE_CHECKING:
    from collections.abc import Collection

    from dsl.compile import Plan
    from dsl.event import Event
    from dsl.outcome import Subject
    from worker.batch import Batch
    from worker.standing import Memory, Standing
    from worker.store import Session

WORTH_IT: Final = 0.5
"""Share of a batch that must go the express way; less than that is not worth a transaction beside that of the rest."""


MOST_DOUBT: Final = 256
"""Batches in which what is late goes the long way, after it has often been no news."""


class Express(NamedTuple):
    """What can go the express way: an attempt at it, and per user what their plan hears and was not late, in order."""

    attempt: Attempt
    heard: dict[Subject, list[Event]]


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


def divide(batch: Batch, memory: Memory, *, trusting: bool) -> tuple[Express | None, Batch]:
    """Return what can go the express way, if that is worth it, and the rest of the batch.

    `trusting` is whether late events are taken to be new. The attempt holds its partitions in the memory, where states
    have moved: it has to be committed there, or to fail.
    """
    told = _told(batch)
    plan, stamp = batch.rules.program.scopes[USER], batch.rules.stamps[USER]
    known: dict[Subject, Standing] = {}
    behind: dict[Subject, int] = {}
    for user, events in told.items():
        standing = memory.expect(user)
        if standing is None or standing.latest is None or standing.erased:
            continue
        late = _put_in_order(events, standing.latest)
        if late is None or (late and not trusting and canonical_order(events[0]) < standing.latest):
            continue
        if _is_valid(standing, stamp, events, plan.types):
            known[user], behind[user] = standing, late
    if sum([len(told[user]) for user in known]) < max(1, batch.size * WORTH_IT):
        return None, batch
    express = Express(Attempt(msgspec.structs.replace(batch, letters=())), {})
    for user, standing in list(known.items()):
        if not _take_in(express, plan, user, standing, told[user], behind[user]):
            del known[user]
    if not known:
        return None, batch
    attempt = express.attempt
    groups = tuple([group for group in batch.groups if group.concern.user in known])
    rest = tuple([group for group in batch.groups if group.concern.user not in known])
    attempt.batch = msgspec.structs.replace(attempt.batch, groups=groups)
    attempt.standings.update(known)
    attempt.events = list(chain.from_iterable([group.events for group in groups]))
    attempt.late = sum([behind[user] for user in known])
    for user, standing in known.items():
        memory.presume(attempt.hold, user, standing)
    return express, msgspec.structs.replace(batch, groups=rest)


def _take_in(express: Express, plan: Plan, user: Subject, standing: Standing, events: list[Event], behind: int) -> bool:
    """Take a user's events, which are in order, so many of them `behind` others.

    False where a late one asks for more, and nothing has changed then.
    """
    attempt = express.attempt
    heard = [event for event in events if event.type in plan.types]
    late = late_among(standing, heard) if behind and heard else 0
    if late:
        try:
            taken = take_late(plan, standing, heard[:late])
        except UnfoldableError:  # the long way will find it again, and who is to blame
            standing.state, taken = None, False
        if not taken:
            return False
        attempt.absorbed[user] = Position(heard[0].at, heard[0].id)
        if late == len(heard):
            attempt.touched.append(user)
    if late < len(heard):
        express.heard[user] = heard[late:]
    last = canonical_order(events[-1])
    if standing.latest is None or last > standing.latest:
        standing.latest = last
    return True


def _told(batch: Batch) -> dict[Subject, list[Event]]:
    """Return all events of each user whose events, in this batch, concern nobody else."""
    told: dict[Subject, list[Event]] = {}
    shared: set[Subject] = set()
    for group in batch.groups:
        user, subjects = group.concern.user, group.concern.subjects
        if subjects and subjects != (user,):
            shared.add(user)
        told.setdefault(user, []).extend(group.events)
    for user in shared:
        del told[user]
    return told


def _put_in_order(events: list[Event], latest: tuple[int, str]) -> int | None:
    """Put a user's events in order; return how many came behind later ones, None where one is there twice."""
    late = 0
    for event in events:
        place = canonical_order(event)
        if place > latest:
            latest = place
        elif place == latest:
            return None
        else:
            late += 1
    if late:
        events.sort(key=canonical_order)
        if any(one.at == other.at and one.id == other.id for one, other in pairwise(events)):
            return None
    return late


def _is_valid(standing: Standing, stamp: str, events: list[Event], types: Collection[str]) -> bool:
    """Tell whether the state is one of the plan that hears the events; where it hears none, none is needed."""
    if standing.state is not None and standing.stamp == stamp:
        return True
    return not any(event.type in types for event in events)


async def commit_express(session: Session, express: Express, memory: Memory, *, clock: int) -> None:
    """Judge and commit what `divide` has found; `clock` in microseconds, as in `settle_unlocks`.

    Raises:
        OvertakenError: something was not as it was taken to be, and nothing has happened.
        UnfoldableError: the fold failed on an event.
    """
    attempt = express.attempt
    rules, now, generations = attempt.batch.rules, attempt.batch.now, sorted(attempt.hold.generations.items())
    if move_in_place(attempt, express.heard, in_time=True):
        raise AssertionError("whoever is known has events in order")
    attempt.decisions, unlocks = first_decisions(rules, attempt.stepped, now=now, clock=clock)
    standings = {subject: attempt.standings[subject] for subject in attempt.touched}
    rows = chain.from_iterable([group.rows for group in attempt.batch.groups])
    await session.run(
        "commit_express",
        [partition for partition, _ in generations],
        [generation for _, generation in generations],
        memory.owner,
        rules.epoch,
        *pack_events(rows, lambda: attempt.batch.items),
        now,
        *progress_columns(standings, now=now),
        *checkpoint_columns(attempt.checkpoints),
        *unlocks,
        *position_columns(attempt.absorbed),
    )
