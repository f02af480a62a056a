"""Announcing from a function: the outbox of the worker, with a callback in the place of the broker.

Rows are claimed, the callback is called, and they are marked, in one transaction. So an unlock is delivered at least
once, at every attempt under the same id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ach.delivery import Announcement
from worker.store import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ach.delivery import Announce
    from worker.broker import announce as broker
    from worker.engine.stats import Stats
    from worker.pipeline.outbox import OutboxRelay
    from worker.settings import Settings
    from worker.store import Store

log = structlog.get_logger()


class Relay:
    """Relays the outbox to one callback after the other."""

    def __init__(self, store: Store, settings: Settings, stats: Stats, *, now: Callable[[], int]) -> None:
        self._store = store
        self._settings = settings
        self._stats = stats
        self._now = now
        self._outlet = _Outlet()
        self._outbox: OutboxRelay | None = None

    async def relay(self, announce: Announce) -> None:
        """Deliver all that waits; what cannot be delivered now waits for the next call, or for a worker."""
        from worker.broker.errors import BrokerAwayError  # noqa: PLC0415 - imports the client of NATS
        from worker.pipeline.outbox import OutboxRelay  # noqa: PLC0415 - the same

        if self._outbox is None:
            self._outbox = OutboxRelay(self._store, self._outlet, self._settings, self._stats, now=self._now)
        self._outlet.call = announce
        try:
            await self._outbox.relay()
        except (UnavailableError, BrokerAwayError) as error:
            log.warning("unlocks wait to be announced", said=str(error))


class _Outlet:
    """A callback, as the outbox sees it."""

    def __init__(self) -> None:
        self.call: Announce | None = None

    @property
    def connected(self) -> bool:
        """Always False: where a callback fails as a whole, no single announcement is taken for the reason."""
        return False

    async def announce(self, announcements: Sequence[broker.Announcement]) -> broker.Announced:
        """Deliver announcements.

        Raises:
            BrokerAwayError: the callback has failed.
        """
        from worker.broker.announce import Announced  # noqa: PLC0415
        from worker.broker.errors import BrokerAwayError  # noqa: PLC0415

        if self.call is None:
            raise AssertionError("there is a callback while the outbox is relayed")
        said = [Announcement(one.id, one.subject, one.body) for one in announcements]
        try:
            refused = frozenset(await self.call(said) or ())
        except Exception as error:
            log.exception("the callback for announcements has failed")
            raise BrokerAwayError(f"{type(error).__name__}: {error}") from error
        ids = [one.id for one in said]
        return Announced(
            {one: True for one in ids if one not in refused},
            {one: "refused by the callback" for one in ids if one in refused},
        )

    def look_after(self) -> None:
        """Do nothing: there is no connection to look after."""
