"""How many subjects of a tenant have earned what: one query, kept for a while."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from worker.engine.rarity import Rarities

if TYPE_CHECKING:
    from worker.store import Store

KEPT_SECONDS: Final = 60
MOST_TENANTS: Final = 1000
"""Whose counts are kept; of more, those are forgotten that were asked for least recently."""


class _Row(NamedTuple):
    scope: str
    subjects: int
    achievement: str | None
    tier: str | None
    earned: int | None


async def read_rarities(store: Store, tenant: str, now: int) -> Rarities:
    """Count the subjects of a tenant, and those that have earned each achievement and tier, as of `now`.

    Known is who has progress or an unlock. Earned is what is granted and supported, in any occurrence.

    Raises:
        UnavailableError: the database is away.
    """
    async with store.alone() as session:
        rows = await session.rows(_Row, "rarity_of_tenant", tenant_id=tenant)
    earned = {(row.scope, row.achievement, row.tier or ""): row.earned or 0 for row in rows if row.achievement}
    return Rarities(now, {row.scope: row.subjects for row in rows}, earned)


class Rarity:
    """Counts by tenant, kept for some seconds of the clock that callers hand in."""

    def __init__(self, store: Store, *, seconds: int = KEPT_SECONDS) -> None:
        self._store = store
        self._age = seconds * 1_000_000
        self._known: OrderedDict[str, Rarities] = OrderedDict()
        self._asking: dict[str, anyio.Lock] = {}

    async def of(self, tenant: str, now: int) -> Rarities:
        """Return the counts of a tenant; `as_of` says how old they are. One query at a time for each tenant.

        Raises:
            UnavailableError: they are too old, and the database is away.
        """
        found = self._fresh(tenant, now)
        if found is not None:
            return found
        lock = self._asking.setdefault(tenant, anyio.Lock())
        async with lock:
            found = self._fresh(tenant, now)
            if found is None:
                found = self._known[tenant] = await read_rarities(self._store, tenant, now)
        if not lock.statistics().tasks_waiting:
            self._asking.pop(tenant, None)
        while len(self._known) > MOST_TENANTS:
            self._known.popitem(last=False)
        return found

    def _fresh(self, tenant: str, now: int) -> Rarities | None:
        found = self._known.get(tenant)
        # Counts of the future come of a clock that was set back.
        if found is None or not 0 <= now - found.as_of < self._age:
            return None
        self._known.move_to_end(tenant)
        return found
