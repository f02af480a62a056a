"""Writes down what a worker does in each minute, and that the worker is there: beside the batches, once a second."""

from __future__ import annotations

import platform
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio
import msgspec
import structlog

from worker.distribution import release
from worker.engine.columns import columns
from worker.engine.minutes import MINUTE
from worker.engine.rule_set import RulesRefusedError
from worker.store import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from worker.engine.minutes import Counts, Key
    from worker.engine.stats import Stats
    from worker.pipeline.pipeline import InForce
    from worker.pipeline.standby import Standby
    from worker.store import Store

WRITE_SECONDS: Final = 1.0
HERE_SECONDS: Final = 5.0
"""Between two rows of the worker, where nothing else is written."""
FORGET_SECONDS: Final = 3600.0
KEPT_MINUTES: Final = 30 * 24 * 60
KEPT_WORKERS: Final = 24 * 60
"""Minutes for which a worker that is not seen any more is kept."""
LEAVE_SECONDS: Final = 2.0
"""For the last write of a worker that ends."""

log = structlog.get_logger()

_COLUMNS: Final = (
    *("minute", "tenant_id", "region", "events", "duplicates", "late", "erased", "unlocks", "backfilled"),
    *("dead", "latency"),
)


class MinuteBook:
    """Writes the counts of one worker. Where the database is away, they wait; nothing else of the worker does."""

    def __init__(
        self,
        store: Store,
        stats: Stats,
        standby: Standby,
        *,
        worker_id: UUID,
        in_force: InForce,
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._stats = stats
        self._standby = standby
        self._in_force = in_force
        self._now = now
        self._id = worker_id
        self._started_at = now()
        self._here_at = self._forget_at = 0.0
        self._called = anyio.Event()

    async def run(self) -> None:
        """Write until cancelled, and a last time then; at once where the worker has something to say of a change."""
        self._standby.on_move(self._call)
        try:
            while True:
                self._called = anyio.Event()
                await self.write()
                with anyio.move_on_after(WRITE_SECONDS):
                    await self._called.wait()
        finally:
            with anyio.move_on_after(LEAVE_SECONDS, shield=True):
                await self.write(stopped=True)

    def _call(self) -> None:
        self._here_at = 0.0
        self._called.set()

    async def write(self, *, stopped: bool = False) -> None:
        """Write what has been counted since the last time, if there is anything to write."""
        at, minutes = monotonic(), self._stats.minutes
        if not minutes and not stopped and at < self._here_at:
            return
        taken = minutes.take()
        self._here_at = at + HERE_SECONDS
        try:
            async with self._store.transaction() as session:
                if taken:
                    await session.run("add_minutes", **minute_columns(taken))
                epoch = await session.value(
                    int,
                    "worker_is_here",
                    worker_id=self._id,
                    host=platform.node() or "unknown",
                    release=release(),
                    started_at=self._started_at,
                    now=self._now(),
                    rules_epoch=self._in_force.epoch,
                    messages=self._stats.messages,
                    retries=self._stats.retries,
                    stopped=stopped,
                    loaded_change=self._standby.loaded_change,
                    pending=self._standby.pending,
                )
                if at >= self._forget_at:
                    await session.run("forget_minutes", before=self._now() - KEPT_MINUTES * MINUTE)
                    await session.run("forget_workers", before=self._now() - KEPT_WORKERS * MINUTE)
                    self._forget_at = at + FORGET_SECONDS
        except UnavailableError as error:
            minutes.put_back(taken)
            log.debug("the counts of this minute wait", said=str(error))
        except RefusedError as error:
            log.warning("the counts of this minute are lost", said=str(error))
        else:
            known = self._in_force.rules  # read by the first batch, and not here
            if known is not None and epoch is not None and epoch > known.epoch and not stopped:
                await self._catch_up()

    async def _catch_up(self) -> None:
        """Read the rules that came into force while no batch came, so that metrics and lists of workers have them."""
        try:
            await self._in_force.reload()
        except (
            UnavailableError,
            RefusedError,
            RulesRefusedError,
        ) as error:  # a batch finds the same, and acts
            log.debug("the rules in force are not read", said=str(error))
        else:
            self._call()


def minute_columns(taken: Mapping[Key, Counts]) -> dict[str, object]:
    """Return the `minutes` of `add_minutes`, sorted by key."""
    rows = [
        (
            *key,
            counts.events,
            counts.duplicates,
            counts.late,
            counts.erased,
            counts.unlocks,
            counts.backfilled,
            msgspec.json.encode(dict(counts.dead)).decode(),
            ",".join(map(str, counts.latency)),
        )
        for key, counts in sorted(taken.items())
    ]
    return columns("minutes", _COLUMNS, rows)
