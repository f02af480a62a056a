"""What all viewers of the first page share: one query a second, however many they are.

The first request in a second reads, the others wait for that, and each takes what it may see of it. Once a minute the
query is a larger one: the sums of the day, and the dead letters that wait.
"""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec

from worker.console.books import look
from worker.engine.minutes import MINUTE, NO_TENANT, Counts
from worker.store import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.engine.minutes import Key
    from worker.store import Store

EVERY_SECONDS: Final = 1.0
WINDOW: Final = 60
"""Minutes that are shown one by one."""
OPEN: Final = 2
"""Minutes that workers may still write to, as a rule; of those before, what comes later is read with the next whole."""
SILENT: Final = 30_000_000
"""Microseconds after which a worker that has not said goodbye counts as lost."""
DAY: Final = 24 * 60 * MINUTE
SHOWN_WORKERS: Final = 60 * MINUTE
"""Microseconds for which a worker that has ended is shown."""

_MinuteRow = tuple[int, str, str, int, int, int, int, int, int, str, str]
_SumRow = tuple[str, int, int, int, int]
_WorkerRow = tuple[str, str, int, int, int, int, int, bool]
_OutboxRow = tuple[str, int, int]
_LetterRow = tuple[str, str, int, int]


class _Row(NamedTuple):
    minutes: Sequence[_MinuteRow]
    sums: Sequence[_SumRow] | None
    workers: Sequence[_WorkerRow]
    outbox: Sequence[_OutboxRow]
    letters: Sequence[_LetterRow] | None
    epoch: int


class Sum(NamedTuple):
    """What was done for one tenant before the minutes that are shown one by one, since midnight."""

    events: int
    duplicates: int
    unlocks: int
    backfilled: int


class WorkerSeen(NamedTuple):
    """One worker."""

    host: str
    release: str
    started_at: int
    seen_at: int
    rules_epoch: int
    messages: int
    retries: int
    stopped: bool

    def state(self, now: int) -> str:
        """Return the state in words, see `worker_state`."""
        return worker_state(stopped=self.stopped, seen_at=self.seen_at, now=now)


def worker_state(*, stopped: bool, seen_at: int, now: int) -> str:
    """Return `at work`, `ended`, or `lost` for a worker that fell silent without a goodbye; in microseconds."""
    if stopped:
        return "ended"
    return "lost" if now - seen_at > SILENT else "at work"


class Waiting(NamedTuple):
    """Dead letters that wait, of one reason on the subjects of one tenant."""

    reason: str
    tenant_token: str
    letters: int
    last_at: int


class Snapshot(NamedTuple):
    """All that the first page shows, of all tenants; instants in microseconds."""

    at: int
    minutes: dict[Key, Counts]
    sums: dict[str, Sum]
    workers: list[WorkerSeen]
    outbox: dict[str, tuple[int, int]]
    """By tenant: how many unlocks wait to be announced, and since when the oldest does."""
    letters: list[Waiting]
    epoch: int
    lag: int | None
    """Messages that are not done, by the broker's count; None where that is not known."""
    away_since: int | None = None
    """Since when the database has not answered; the rest is as old as `at` says."""


class Pulse:
    """Reads what the first page shows. `lag` asks the broker; `now` is in microseconds."""

    def __init__(
        self, store: Store, *, prefix: str, now: Callable[[], int], lag: Callable[[], int | None] = lambda: None
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._now = now
        self._lag = lag
        self._lock = anyio.Lock()
        self._latest: Snapshot | None = None
        self._read_at = float("-inf")
        self._whole_minute = -1
        self.queries = 0
        """That have been sent."""

    async def snapshot(self) -> Snapshot:
        """Return what there is, not older than a second; where the database is away, the latest that there was.

        Raises:
            UnavailableError: the database is away, and has been since the start.
        """
        async with self._lock:
            if self._latest is None or monotonic() - self._read_at >= EVERY_SECONDS:
                self._read_at = monotonic()
                self._latest = await self._next(self._latest)
            return self._latest

    async def _next(self, before: Snapshot | None) -> Snapshot:
        now = self._now()
        minute = now // MINUTE
        whole = before is None or minute != self._whole_minute
        first = (minute - WINDOW + 1) * MINUTE
        since = first if whole else max(first, (minute - OPEN + 1) * MINUTE)
        try:
            row = await self._read(since, now, whole=whole)
        except (UnavailableError, RefusedError) as error:
            if before is None:
                raise UnavailableError(str(error)) from error
            return before._replace(away_since=before.away_since or now)
        if whole:
            self._whole_minute = minute
        return self._joined(before, row, since, first, now)

    async def _read(self, since: int, now: int, *, whole: bool) -> _Row:
        self.queries += 1
        async with look(self._store) as session:
            row = await session.row(
                _Row,
                "pulse",
                since=since,
                whole=whole,
                midnight=now - now % DAY,
                seen_since=now - SHOWN_WORKERS,
                prefix=self._prefix,
            )
        if row is None:
            raise AssertionError
        return row

    def _joined(self, before: Snapshot | None, row: _Row, since: int, first: int, now: int) -> Snapshot:
        minutes = {} if before is None else {key: one for key, one in before.minutes.items() if first <= key[0] < since}
        minutes.update((one[:3], _counts(one)) for one in row.minutes)
        sums, letters = ({}, []) if before is None else (before.sums, before.letters)
        if row.sums is not None:
            sums = {one[0]: Sum(*one[1:]) for one in row.sums}
        if row.letters is not None:
            letters = [Waiting(*one) for one in row.letters]
        return Snapshot(
            at=now,
            minutes=minutes,
            sums=sums,
            workers=[WorkerSeen(*one) for one in row.workers],
            outbox={one[0]: (one[1], one[2]) for one in row.outbox},
            letters=letters,
            epoch=row.epoch,
            lag=self._lag(),
        )


def _counts(row: _MinuteRow) -> Counts:
    dead = Counter(msgspec.json.decode(row[9], type=dict[str, int]))
    latency = [int(count) for count in row[10].split(",")] if row[10] else []
    return Counts(*row[3:9], dead, latency)


def mine(snapshot: Snapshot, tenants: frozenset[str] | None, tokens: frozenset[str]) -> Snapshot:
    """Return what a viewer of some tenants may see of a snapshot; `tokens` are those of the tenants in NATS subjects.

    Workers and lag are of all tenants together: who sees some tenants alone is not shown them.
    """
    if tenants is None:
        return snapshot
    return snapshot._replace(
        minutes={key: one for key, one in snapshot.minutes.items() if key[1] in tenants and key[1] != NO_TENANT},
        sums={tenant: one for tenant, one in snapshot.sums.items() if tenant in tenants},
        workers=[],
        outbox={tenant: one for tenant, one in snapshot.outbox.items() if tenant in tenants},
        letters=[one for one in snapshot.letters if one.tenant_token in tokens],
        lag=None,
    )
