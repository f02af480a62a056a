"""Revoking unlocks: an operator's word, which no evidence overrules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from worker.admin.changes import UNFINISHED, NotNowError, change_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from worker.store import Session, Store

PIECE: Final = 500
"""Unlocks of one transaction."""


class Revocable(NamedTuple):
    """An unlock that is not revoked, in whatever state; "" for no tier and no occurrence."""

    unlock_id: UUID
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str
    occurrence: str


class Revoked(NamedTuple):
    """The unlock that was revoked; instants in microseconds, "" for no tier and no occurrence."""

    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str
    occurrence: str
    version: int
    earned_at: int
    event_id: str


async def of_ids(store: Store, ids: Collection[UUID]) -> list[Revocable]:
    """Return those of some unlocks that can be revoked, by key.

    Raises:
        UnavailableError: the database is away.
    """
    async with store.transaction(patient=True) as session:
        return await session.rows(Revocable, "unlocks_of_ids", unlock_ids=sorted(ids))


async def of_achievement(
    store: Store,
    achievement: str,
    tier: str | None,
    *,
    tenant: str | None,
    subject: str | None,
    version: int | None = None,
) -> list[Revocable]:
    """Return the unlocks of an achievement that can be revoked, by key; None for all tiers, tenants and so on.

    Raises:
        UnavailableError: the database is away.
    """
    async with store.transaction(patient=True) as session:
        return await session.rows(
            Revocable,
            "unlocks_of_achievement",
            achievement=achievement,
            tier=tier,
            version=version,
            tenant_id=tenant,
            subject=subject,
        )


async def of_change(store: Store, change_id: int) -> list[Revocable]:
    """Return the unlocks that a change of rules has granted and that can be revoked, by key.

    Raises:
        UnknownChangeError: there is no such change.
        NotNowError: it may grant more.
        UnavailableError: the database is away.
    """
    change = await change_of(store, change_id)
    if change.state in UNFINISHED:
        raise NotNowError(
            f"change {change_id} is {change.state} and may grant more: wait for its end (`ach change status`), or stop "
            f"it first: `ach change cancel {change_id}`, and `ach rollback` to the rules before it; nothing was done"
        )
    async with store.transaction(patient=True) as session:
        return await session.rows(Revocable, "revocable_of_change", change_id=change_id)


async def revoke(store: Store, unlock_id: UUID, *, now: int, by: str = "", reason: str = "") -> Revoked | None:
    """Revoke an unlock, in whatever state it is; return None where there is none, or it was revoked before.

    Raises:
        UnavailableError: nothing is known to have happened.
    """
    async with store.transaction() as session:
        rows = await _revoke(session, [unlock_id], now=now, by=by, reason=reason)
        return rows[0] if rows else None


async def revoke_all(store: Store, ids: Collection[UUID], *, now: int, by: str = "", reason: str = "") -> int:
    """Revoke unlocks, in pieces that are a transaction each; return how many were not revoked before `now`.

    Who did and why is written down, and announced of those that were granted. No partition is taken for it: what a
    worker remembers of a subject says nothing of its unlocks, a worker that folds it anew reads them under their own
    locks, and the statements that write what was read without locks (express.py) look for a revocation themselves.

    Raises:
        UnavailableError: some may be revoked; doing it again revokes the rest.
    """
    ordered = sorted(ids)
    for at in range(0, len(ordered), PIECE):
        async with store.transaction() as session:
            await _revoke(session, ordered[at : at + PIECE], now=now, by=by, reason=reason)
    async with store.transaction() as session:
        # Not the sum of what the statements say: a commit whose answer was lost has revoked some as well.
        return await session.value(int, "count_revoked_at", unlock_ids=ordered, now=now) or 0


async def _revoke(session: Session, ids: Sequence[UUID], *, now: int, by: str, reason: str) -> list[Revoked]:
    return await session.rows(Revoked, "revoke_unlocks", unlock_ids=list(ids), now=now, by=by, reason=reason)
