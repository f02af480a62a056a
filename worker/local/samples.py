"""Who is in the books of private servers: a user of each tenant, to begin looking with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container

    from worker.store import Store

MOST_TENANTS: Final = 20
"""That are looked for; private servers have few."""


class Sample(NamedTuple):
    """A tenant, and one of its users."""

    tenant: str
    user: str


async def newcomers(store: Store, known: Container[str]) -> list[Sample]:
    """Return tenants with events that are not known yet, each with the user who has most unlocks.

    Raises:
        UnavailableError: the database is away.
    """
    async with store.transaction() as session:
        tenants = await session.rows(str, "tenants_in_books", tenants=None, limit=MOST_TENANTS)
        fresh = [tenant for tenant in tenants if tenant not in known]
        return await session.rows(Sample, "sample_users", tenants=fresh) if fresh else []
