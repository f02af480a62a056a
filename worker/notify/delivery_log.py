"""The account of attempts in the database. No delivery waits for it: rows are written behind, and some may be lost."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import structlog

from worker.engine.columns import columns
from worker.retry import delays
from worker.store import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.notify.stats import NotifyStats
    from worker.store import Store

KEPT_DAYS: Final = 30
MOST_ROWS: Final = 20_000
"""That wait for a database that is away; beyond, the oldest are dropped and counted."""
PAGE: Final = 1000
"""Rows of one transaction."""
LINGER_SECONDS: Final = 0.25
"""For further rows, once there is one: a transaction costs as much as a delivery."""
PRUNE_SECONDS: Final = 3600.0
MOST_DETAIL: Final = 200
_DAY_MICROSECONDS: Final = 86_400_000_000

log = structlog.get_logger()


class Logged(NamedTuple):
    """One attempt; `attempted_at` in microseconds. Tenant, scope and subject are null if the log must name no one."""

    endpoint: str
    webhook_id: str
    type: str
    tenant_id: str | None
    scope: str | None
    subject: str | None
    attempt: int
    attempted_at: int
    outcome: str
    status: int | None
    latency_ms: int
    detail: str


class Listed(NamedTuple):
    """One row, as it is listed."""

    delivery_id: int
    endpoint: str
    webhook_id: str
    type: str
    tenant_id: str | None
    scope: str | None
    subject: str | None
    attempt: int
    attempted_at: int
    outcome: str
    status: int | None
    latency_ms: int
    detail: str


class DeliveryLog:
    """Takes rows at once, and writes them from a task of its own."""

    def __init__(self, store: Store, stats: NotifyStats) -> None:
        self._store = store
        self._stats = stats
        self._rows: deque[Logged] = deque()
        self._arrived = anyio.Event()
        self._stopped = anyio.Event()

    def add(self, row: Logged) -> None:
        """Take a row."""
        if len(self._rows) >= MOST_ROWS:
            self._rows.popleft()
            self._stats.unlogged += 1
        self._rows.append(row._replace(detail=row.detail[:MOST_DETAIL]))
        self._arrived.set()

    def stop(self) -> None:
        """Write what there is, and end."""
        self._stopped.set()
        self._arrived.set()

    async def run(self) -> None:
        """Write rows until stopped; a database that is away is waited for, but not at the end."""
        pauses = delays()
        while self._rows or not self._stopped.is_set():
            if not self._rows:
                await self._arrived.wait()
                self._arrived = anyio.Event()
                continue
            if len(self._rows) < PAGE:
                await self._linger()
            if await self._write():
                pauses = delays()
            elif self._stopped.is_set():
                self._stats.unlogged += len(self._rows)
                return
            else:
                with anyio.move_on_after(next(pauses)):
                    await self._stopped.wait()

    async def _linger(self) -> None:
        with anyio.move_on_after(LINGER_SECONDS):
            await self._stopped.wait()

    async def _write(self) -> bool:
        """Write a page of rows; return whether it is done with."""
        page = [self._rows[number] for number in range(min(PAGE, len(self._rows)))]
        try:
            await write(self._store, page)
        except UnavailableError as error:
            log.warning("deliveries are not logged yet", rows=len(self._rows), said=str(error))
            return False
        except RefusedError as error:
            log.warning("deliveries cannot be logged", rows=len(page), said=str(error))
            self._stats.unlogged += len(page)
        for row in page:  # meanwhile the oldest may have made room
            if self._rows and self._rows[0] is row:
                self._rows.popleft()
        return True

    async def prune(self, now: Callable[[], int]) -> None:
        """Delete rows of more than KEPT_DAYS days, at once and from time to time; `now` gives microseconds."""
        while True:
            try:
                while await prune(self._store, now=now()) == PAGE:
                    pass
            except UnavailableError as error:
                log.warning("old deliveries are not removed yet", said=str(error))
            await anyio.sleep(PRUNE_SECONDS)


async def write(store: Store, rows: Sequence[Logged]) -> None:
    """Write rows in one transaction.

    Raises:
        UnavailableError, RefusedError: as `Store.transaction` does.
    """
    async with store.transaction() as session:
        await session.run("share_letters")
        await session.run("insert_deliveries", **columns("rows", Logged._fields, rows))


async def prune(store: Store, *, now: int) -> int:
    """Delete a page of rows that are too old; return how many there were. `now` in microseconds.

    Raises:
        UnavailableError: as `Store.transaction` does.
    """
    async with store.transaction() as session:
        return await session.run("prune_deliveries", before=now - KEPT_DAYS * _DAY_MICROSECONDS, limit=PAGE)


async def list_deliveries(
    store: Store, *, endpoint: str | None, outcome: str | None, webhook_id: str | None, limit: int
) -> list[Listed]:
    """Return attempts, newest first; None means any.

    Raises:
        UnavailableError: as `Store.transaction` does.
    """
    async with store.transaction() as session:
        return await session.rows(
            Listed, "deliveries", endpoint=endpoint, outcome=outcome, webhook_id=webhook_id, limit=limit
        )
