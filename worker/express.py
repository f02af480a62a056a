"""The express way: one statement commits a batch of which everything is known beforehand.

Most events are of users whom this worker remembers, and come later than whatever is known of them: those are new, for a
copy lies where its original lies. They are judged without asking anybody, and one statement locks the partitions,
records the events, saves progress and inserts unlocks, all or nothing. Where a partition has moved, an event was known,
or an unlock was there before, it does nothing, and the batch goes the long way, which takes nothing for granted.
"""

from __future__ import annotations

from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.compile import USER
from dsl.outcome import canonical_order
from worker.batch import Attempt
from worker.folding import checkpoint_columns, move_in_place, progress_columns
from worker.grants import first_decisions
from worker.row import pack_events

if TYPE_CHECKING:
    from collections.abc import Collection

    from dsl.event import Event
    from dsl.outcome import Subject
    from worker.batch import Batch
    from worker.standing import Memory, Standing
    from worker.store import Session

WORTH_IT: Final = 0.5
"""Share of a batch that must go the express way; less than that is not worth a transaction beside that of the rest."""


class Express(NamedTuple):
    """What can go the express way: an attempt at it, and per user the events that their plan hears, in order."""

    attempt: Attempt
    heard: dict[Subject, list[Event]]


def divide(batch: Batch, memory: Memory) -> tuple[Express | None, Batch]:
    """Return what can go the express way, if that is worth it, and the rest of the batch.

    The attempt holds its partitions in the memory: it has to be committed there, or to fail.
    """
    told = _told(batch)
    stamp, types = batch.rules.stamps[USER], batch.rules.program.scopes[USER].types
    known: dict[Subject, Standing] = {}
    for user, events in told.items():
        standing = memory.expect(user)
        if standing is not None and _is_known(standing, events) and _is_valid(standing, stamp, events, types):
            known[user] = standing
    groups = tuple([group for group in batch.groups if group.concern.user in known])
    part = msgspec.structs.replace(batch, groups=groups, letters=())
    if not known or part.size < batch.size * WORTH_IT:
        return None, batch
    rest = tuple([group for group in batch.groups if group.concern.user not in known])
    attempt = Attempt(part)
    attempt.standings.update(known)
    attempt.fresh = list(chain.from_iterable([group.items for group in groups]))
    heard: dict[Subject, list[Event]] = {}
    for user, standing in known.items():
        memory.presume(attempt.hold, user, standing)
        events = told[user]
        standing.latest = (events[-1].at, events[-1].id)
        if mine := [event for event in events if event.type in types]:
            heard[user] = mine
    return Express(attempt, heard), msgspec.structs.replace(batch, groups=rest)


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


def _is_known(standing: Standing, events: list[Event]) -> bool:
    """Put a user's events in order; tell whether all of them, each once, are later than everything known."""
    if standing.latest is None or standing.erased:
        return False
    if len(events) > 1:
        events.sort(key=canonical_order)
        if any(one.at == other.at and one.id == other.id for one, other in pairwise(events)):
            return False
    first, (at, name) = events[0], standing.latest
    return first.at > at or (first.at == at and first.id > name)


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
    if move_in_place(attempt, express.heard):
        raise AssertionError("whoever is known has events in order")
    attempt.decisions, unlocks = first_decisions(rules, attempt.stepped, now=now, clock=clock)
    standings = {subject: attempt.standings[subject] for subject in attempt.touched}
    await session.run(
        "commit_express",
        [partition for partition, _ in generations],
        [generation for _, generation in generations],
        memory.owner,
        rules.epoch,
        *pack_events(attempt.fresh),
        now,
        *progress_columns(standings, now=now),
        *checkpoint_columns(attempt.checkpoints),
        *unlocks,
    )
