"""Lifting the tombstone of an erased user: their events are taken again. What was erased stays gone.

An unlock's id is a hash of its key, and the broker keeps one announcement on each subject. So what the user earns anew
would be taken for the old grant while UNLOCKS holds that: the announcements go before the tombstone does. For the same
reason the erasure itself must have been announced, or its rows would stand where the new corrections belong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.contract.partition import PARTITIONS
from worker.engine.reconcile import Stored
from worker.pipeline.fence import hold_partitions

if TYPE_CHECKING:
    from worker.store import Session, Store


class NoTombstoneError(Exception):
    """The user is not erased, so there is nothing to lift."""


class NotAnnouncedError(Exception):
    """The erasure is not announced yet."""


async def check_tombstone(store: Store, tenant: str, user: str) -> int:
    """Return when a user was erased, in microseconds, if the tombstone can be lifted.

    Raises:
        NoTombstoneError, NotAnnouncedError: it cannot.
        UnavailableError: the database is away.
    """
    async with store.transaction() as session:
        return await _check(session, tenant, user)


async def lift_tombstone(store: Store, tenant: str, user: str, *, by: str, reason: str, now: int) -> None:
    """Lift a tombstone, and write down who did, when (`now`, microseconds) and why.

    The same call again does nothing.

    Raises:
        NoTombstoneError, NotAnnouncedError: it cannot be lifted.
        UnavailableError: nothing is known to have happened.
    """
    word = {"tenant_id": tenant, "user_id": user, "by": by, "reason": reason, "now": now}
    async with store.transaction() as session:
        # A worker that remembers the user as erased finds another's mark here, and reads again; so does one that
        # remembers what others have earned under the user's name.
        await hold_partitions(session, range(PARTITIONS), epoch=None)
        # Where a commit was not answered, the call before this one may have done it.
        if await session.value(bool, "is_lifted_by", **word):
            return
        await _check(session, tenant, user)
        await _free_ids(session, tenant, user)
        await session.run("lift_erasure", **word)


async def _free_ids(session: Session, tenant: str, user: str) -> None:
    """Give occurrences of others that are called by the pseudonym ids of their own.

    They have those of the name, under which the others may earn occurrences again.
    """
    for pseudonym in await session.rows(str, "pseudonyms_of_users", tenant_ids=[tenant], user_ids=[user]):
        rows = await session.rows(Stored, "unlocks_of_occurrence", tenant_id=tenant, occurrence=pseudonym)
        moved = sorted((row.unlock_id, row.key) for row in rows if row.unlock_id != row.key)
        await session.run("give_ids", unlock_ids=[old for old, _ in moved], new_ids=[new for _, new in moved])


async def _check(session: Session, tenant: str, user: str) -> int:
    erased_at = await session.value(int, "tombstone", tenant_id=tenant, user_id=user)
    if erased_at is None:
        raise NoTombstoneError
    if await session.value(bool, "correction_of_user_waits", tenant_id=tenant, user_id=user):
        raise NotAnnouncedError
    return erased_at
