"""Erasing a user: their events, progress, unlocks and decisions go, and a tombstone keeps their events out for ever.

What the user did for a team or a tenant goes too: those are folded anew without it when they are next touched, or by a
backfill, and what they can no longer prove is contested. The broker's streams are not touched: their retention is the
broker's, and what is replayed from them meets the tombstone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.outcome import Subject
from worker.fence import NOBODY, Held
from worker.partition import PARTITIONS, token

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.store import Store


class Erased(NamedTuple):
    """How much is gone."""

    events: int
    unlocks: int
    dead_letters: int
    shared: tuple[Subject, ...]
    """Tenants and subjects of fields that are to be folded anew."""


async def erase_user(store: Store, settings: Settings, tenant: str, user: str, *, by: str, now: int) -> Erased:
    """Erase a user of a tenant, in one transaction; `now` in microseconds. Doing it again is harmless.

    Raises:
        UnavailableError: nothing is known to have happened.
    """
    async with store.transaction(patient=True) as session:
        # Whoever remembers the user, or a team of theirs, finds somebody else's mark and reads again.
        await session.rows(Held, "take_partitions", list(range(PARTITIONS)), NOBODY)
        await session.run("insert_erasure", tenant, user, now, by)
        shared = [Subject(tenant, "tenant", tenant), *await session.rows(Subject, "shared_subjects", tenant, user)]
        gone = [Subject(tenant, "user", user), *shared]
        columns = [list(column) for column in zip(*gone, strict=True)]
        await session.run("forget_progress", *columns)
        await session.run("forget_all_checkpoints", *columns)
        events = await session.run("erase_events", tenant, user)
        unlocks = await session.run("erase_unlocks", tenant, user)
        await session.run("erase_evaluations", tenant, user)
        subjects = f"{settings.input_prefix}.{token(tenant)}.{token(user)}."
        letters = await session.run("erase_dead_letters", subjects)
    return Erased(events, unlocks, letters, tuple(shared))
