"""The express way: one statement commits a batch of which everything is known beforehand.

Most events are of users whom this worker remembers, and come later than whatever is known of them: those are new, for a
copy lies where its original lies. They are judged without asking anybody, and one statement locks the partitions,
records the events, saves progress and inserts unlocks, all or nothing. Where a partition has moved, an event was known,
or an unlock was there before, it does nothing, and the batch goes the long way, which takes nothing for granted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dsl.compile import USER
from worker.batch import Attempt
from worker.folding import checkpoint_columns, move_in_place, progress_columns
from worker.grants import first_decisions
from worker.ledger import event_columns, move_latest

if TYPE_CHECKING:
    from dsl.event import Event
    from dsl.outcome import Subject
    from worker.batch import Batch, Concern, Item
    from worker.standing import Memory, Standing
    from worker.store import Session

WORTH_IT: Final = 0.5
"""Share of a batch that must go the express way; less than that is not worth a transaction beside that of the rest."""


def divide(batch: Batch, memory: Memory) -> tuple[Attempt | None, Batch]:
    """Return an attempt at what can go the express way, if that is worth it, and the rest of the batch.

    The attempt holds its partitions in the memory: it has to be committed there, or to fail.
    """
    known = _known(batch, memory)
    items = tuple(item for item in batch.items if item.concern in known)
    if not items or len(items) < len(batch.items) * WORTH_IT:
        return None, batch
    rest = tuple(item for item in batch.items if item.concern not in known) if len(items) < len(batch.items) else ()
    attempt = Attempt(msgspec.structs.replace(batch, items=items, letters=()))
    for concern, standing in known.items():
        attempt.standings[concern.user] = standing
        memory.presume(attempt.hold, concern.user, standing)
    attempt.fresh = list(items)
    return attempt, msgspec.structs.replace(batch, items=rest)


def _known(batch: Batch, memory: Memory) -> dict[Concern, Standing]:
    """Return who is remembered well enough: all that this batch has of those users is new, and theirs alone."""
    events: dict[Subject, list[Event]] = {}
    concerned: dict[Concern, list[Event]] = {}
    shared: set[Subject] = set()
    for item in batch.items:
        concern = item.concern
        found = concerned.get(concern)
        if found is None:
            user = concern.user
            found = concerned[concern] = events.setdefault(user, [])
            if any(subject != user for subject in concern.subjects):
                shared.add(user)
        found.append(item.accepted.event)
    stamp = batch.rules.stamps[USER]
    known = {
        user: standing
        for user, told in events.items()
        if user not in shared and (standing := memory.expect(user)) is not None and _is_known(standing, stamp, told)
    }
    return {concern: known[concern.user] for concern in concerned if concern.user in known}


def _is_known(standing: Standing, stamp: str, events: list[Event]) -> bool:
    """Tell whether a user's state is valid, and all events, each once, lie behind the latest one that is known."""
    if standing.state is None or standing.latest is None or standing.stamp != stamp or standing.erased:
        return False
    positions = [(event.at, event.id) for event in events]
    return min(positions) > standing.latest and (len(positions) == 1 or len(set(positions)) == len(positions))


async def commit_express(session: Session, attempt: Attempt, memory: Memory, *, clock: int) -> None:
    """Judge and commit an attempt that `divide` has made; `clock` in microseconds, as in `settle_unlocks`.

    Raises:
        OvertakenError: something was not as it was taken to be, and nothing has happened.
        UnfoldableError: the fold failed on an event.
    """
    rules, now, generations = attempt.batch.rules, attempt.batch.now, sorted(attempt.hold.generations.items())
    if move_in_place(attempt):
        raise AssertionError("whoever is known has events in order")
    move_latest(attempt)
    attempt.decisions, unlocks = first_decisions(rules, attempt.stepped, now=now, clock=clock)
    standings = {subject: attempt.standings[subject] for subject in attempt.touched}
    await session.run(
        "commit_express",
        [partition for partition, _ in generations],
        [generation for _, generation in generations],
        memory.owner,
        rules.epoch,
        *event_columns(sorted(attempt.fresh, key=_key), now=now),
        *progress_columns(standings, now=now),
        *checkpoint_columns(attempt.checkpoints),
        *unlocks,
    )


def _key(item: Item) -> tuple[str, str]:
    return item.key
