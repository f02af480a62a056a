"""A history judged anew, as if its rules had always been those of today: for the private servers of `ach dev` alone.

Rules in production never change what a version means. In a sandbox that is what an author does all the time. So what
was decided is forgotten, rules without achievements come into force, and then the new ones, which fold every event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from worker.admin.purge import purge_all_announcements

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.store import Store


class Held(NamedTuple):
    """An unlock that the events of its subject support; `earned_at` in microseconds."""

    tenant_id: str
    subject: str
    achievement: str
    tier: str | None
    occurrence: str | None
    earned_at: int

    @property
    def key(self) -> tuple[str, ...]:
        """What it is, and whose."""
        return (self.tenant_id, self.subject, self.achievement, self.tier or "", self.occurrence or "")


async def supported(store: Store) -> list[Held]:
    """Return all unlocks that events support, sorted by subject and achievement."""
    async with store.transaction() as session:
        return await session.rows(Held, "supported_unlocks")


async def forget_decisions(store: Store, settings: Settings) -> None:
    """Delete what was decided and announced; events, erasures and dead letters stay. No worker may run meanwhile.

    Raises:
        UnavailableError: the database is away.
        BrokerAwayError, PurgeRefusedError: the broker is away, or does not empty the stream of unlocks.
    """
    async with store.transaction(patient=True) as session:
        await session.value(int, "forget_decisions")
    await purge_all_announcements(settings)
