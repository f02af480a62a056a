"""Revoking an unlock: an operator's word, which no evidence overrules."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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


async def revoke(store: Store, unlock_id: UUID, *, now: int) -> Revoked | None:
    """Revoke an unlock and write that down; return None where there is none, or it was revoked before.

    Raises:
        UnavailableError: nothing is known to have happened.
    """
    async with store.transaction() as session:
        row = await session.row(Revoked, "revoke_unlock", unlock_id, now)
        if row is not None:
            *key, version, earned_at, event_id = row
            columns = ([value] for value in (*key, version, "revoked", True, earned_at, event_id))
            await session.run("insert_evaluations", *columns, now)
        return row
