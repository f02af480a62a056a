"""Looks at what waits at the servers, for metrics: beside the batches, every few seconds, and never while scraped.

It says the same whichever worker looks, so that a worker that has just started knows it too. What a server does not say
is not shown. History is read a day at a time after the start: until it is whole, nothing counts as usual.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import structlog

from worker.broker.errors import BrokerAwayError
from worker.contract.reasons import Reason
from worker.engine.observed import Building, Outbox
from worker.engine.silence import HOUR, HOURS
from worker.pipeline.rules_in_force import Aggregate
from worker.store import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.broker.streams import Broker
    from worker.engine.rule_set import Deployed
    from worker.engine.stats import Stats
    from worker.store import Session, Store

EVERY_SECONDS: Final = 5.0
SLOWLY_SECONDS: Final = 60.0
"""Between two looks at what costs more, or is not urgent."""
STATEMENT_SECONDS: Final = 5
"""After which a statement gives up: no metric is worth more of the database."""
OVERLAP: Final = 120_000_000
"""Microseconds before the last look that are read again: a decision may be committed after its time."""
SAMPLED_PAGES: Final = 2000
"""Of stored states that are counted while a backfill runs."""
DAY: Final = 24 * HOUR
HISTORY_DAYS: Final = 2 * HOURS // 24
"""Read after the start: what was usual of a rule is that of the weeks before its latest grant."""
LOST: Final = 30_000_000
"""Microseconds after which a worker that has not said goodbye counts as lost."""

log = structlog.get_logger()


class _Grant(NamedTuple):
    achievement: str
    at: int


class _Letters(NamedTuple):
    reason: str
    letters: int


class _Seen(NamedTuple):
    stopped: bool
    seen_at: int


class _States(NamedTuple):
    current: int
    stale: int


class Observer:
    """Keeps `stats.observed` up to date; `now` is in microseconds."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        stats: Stats,
        *,
        rules: Callable[[], Deployed | None],
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._broker = broker
        self._stats = stats
        self._rules = rules
        self._now = now
        self._slow_at = 0.0
        self._read_to = 0
        """Up to when grants were read; 0 before the first look."""
        self._read_back = 0
        """Days of history that were read."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await anyio.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Look once at everything that is due."""
        await self._look_at_broker()
        await self._look_at_database()

    async def _look_at_broker(self) -> None:
        observed = self._stats.observed
        try:
            observed.backlog = await self._broker.waiting()
        except BrokerAwayError as error:
            observed.backlog = None
            log.debug("what waits at nats is not known", said=str(error))

    async def _look_at_database(self) -> None:
        observed, slowly = self._stats.observed, monotonic() >= self._slow_at
        try:
            async with self._store.transaction() as session:
                await session.run("look", milliseconds=str(STATEMENT_SECONDS * 1000))
                observed.outbox = await session.row(Outbox, "outbox_size")
                await self._look_at_backfills(session, slowly=slowly)
                if slowly:
                    self._slow_at = monotonic() + SLOWLY_SECONDS
                    await self._look_slowly(session)
            if self._read_back < HISTORY_DAYS:
                await self._look_back()
        except (UnavailableError, RefusedError) as error:
            observed.outbox = observed.building = observed.letters = observed.workers = None
            log.debug("what waits in the database is not known", said=str(error))

    async def _look_slowly(self, session: Session) -> None:
        observed, now = self._stats.observed, self._now()
        asked = [reason.value for reason in Reason]
        observed.letters = dict(await session.rows(_Letters, "letters_that_wait", reasons=asked))
        observed.workers = _by_state(await session.rows(_Seen, "workers_seen"), now)
        await self._read_grants(session, (self._read_to or now) - OVERLAP, now + DAY)
        self._read_to = now
        rules = self._rules()
        if rules is not None:
            observed.grants.keep(rules.open_at(now))

    async def _read_grants(self, session: Session, since: int, until: int) -> None:
        for grant in await session.rows(_Grant, "grants_between", since=since, until=until):
            self._stats.observed.grants.see(grant.achievement, grant.at)

    async def _look_back(self) -> None:
        """Read another day of history; a day that takes too long is passed over, and so are those before it."""
        until = self._read_to - self._read_back * DAY
        try:
            async with self._store.transaction() as session:
                await session.run("look", milliseconds=str(STATEMENT_SECONDS * 1000))
                await self._read_grants(session, until - DAY, until)
        except RefusedError as error:
            log.debug("grants of a day are not known", said=str(error))
        self._read_back += 1
        self._stats.observed.whole = self._read_back == HISTORY_DAYS

    async def _look_at_backfills(self, session: Session, *, slowly: bool) -> None:
        observed = self._stats.observed
        rows = [row for row in await session.rows(Aggregate, "aggregates") if row.status != "retired"]
        before = observed.building or {}
        for row in rows:
            if row.status == "live" and row.scope in before:
                observed.built[row.scope] = row.changed_at - before[row.scope].since
        building = {row.scope: row for row in rows if row.status == "building"}
        if slowly or building.keys() != before.keys():
            observed.building = {scope: await _building(session, row) for scope, row in building.items()}


async def _building(session: Session, row: Aggregate) -> Building:
    """Return how far a backfill has come; of a large table, some blocks stand for all."""
    pages = await session.value(int, "pages_of_progress") or 0
    percent = min(100.0, 100.0 * SAMPLED_PAGES / max(pages, 1))
    states = await session.row(
        _States, "states_of_scope_by_stamp", stamp=f"{row.fingerprint}@{row.epoch}", scope=row.scope, percent=percent
    )
    current, stale = states or (0, 0)
    return Building(row.changed_at, round(current * 100 / percent), round(stale * 100 / percent))


def _by_state(rows: list[_Seen], now: int) -> dict[str, int]:
    states: dict[str, int] = dict.fromkeys(("at_work", "ended", "lost"), 0)
    for row in rows:
        states["ended" if row.stopped else "lost" if now - row.seen_at > LOST else "at_work"] += 1
    return states
