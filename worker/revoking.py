"""Revoking an unlock: an operator's word, which no evidence overrules."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from worker.reconcile import Kind

if TYPE_CHECKING:
    from uuid import UUID

    from worker.store import Store


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


async def revoke(store: Store, unlock_id: UUID, *, now: int, by: str = "", reason: str = "") -> Revoked | None:
    """Revoke an unlock, in whatever state it is; return None where there is none, or it was revoked before.

    Who did and why is written down. No partition is taken for it: what a worker remembers of a subject says nothing of
    its unlocks, a worker that folds it anew reads them under their own locks, and the statements that write what was
    read without locks (express.py) look for a revocation themselves.

    Raises:
        UnavailableError: nothing is known to have happened.
    """
    async with store.transaction() as session:
        row = await session.row(Revoked, "revoke_unlock", unlock_id, now)
        if row is not None:
            *key, version, earned_at, event_id = row
            decision = Kind.REVOKED.value
            await session.run("insert_operators_word", *key, version, decision, earned_at, event_id, now, by, reason)
        return row
