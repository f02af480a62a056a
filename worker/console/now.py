"""The first page: what happens now. Pure: it turns a snapshot into numbers that a person reads."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.console.pulse import DAY, WINDOW
from worker.engine.minutes import LATENCY_BUCKETS, MINUTE, Counts, percentile_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.console.pulse import Snapshot, WorkerSeen
    from worker.engine.minutes import Key

MOST_TENANTS: Final = 10
ENDED: Final = 10 * MINUTE
"""Microseconds for which a worker that has said goodbye is shown."""


class Region(NamedTuple):
    """Unlocks of one region that were timed in the last hour; bounds in seconds."""

    name: str
    unlocks: int
    p50: float | None
    p99: float | None


class Bar(NamedTuple):
    """One bucket of the histogram of latencies."""

    label: str
    number: int
    percent: int
    """Of the fullest bucket."""


class Share(NamedTuple):
    """One tenant's part of the last hour."""

    tenant: str
    events: int
    unlocks: int


class Page(NamedTuple):
    """What the first page shows; instants in microseconds."""

    at: int
    away_since: int | None
    quiet: bool
    """Whether nothing was counted in the last hour, nor today."""
    per_minute: int
    """Events of the last full minute."""
    hour: Counts
    events_today: int
    unlocks_today: int
    backfilled_today: int
    duplicates_today: int
    sent_today: int
    """Events and copies of them."""
    minutes: list[int]
    """Seconds since the epoch, one for each minute of the chart."""
    events: list[int]
    unlocks: list[int]
    failures: list[tuple[str, int]]
    """Dead letters of the last hour by reason, the most first."""
    waiting: list[tuple[str, int]]
    """Dead letters that wait, by reason."""
    regions: list[Region]
    latency: list[Bar]
    tenants: list[Share]
    outbox: int
    outbox_since: int | None
    workers: list[WorkerSeen]
    lag: int | None
    epoch: int

    @property
    def failed(self) -> int:
        """Dead letters of the last hour."""
        return sum(count for _, count in self.failures)


def page_of(snapshot: Snapshot) -> Page:
    """Return what the first page shows of a snapshot."""
    last = snapshot.at // MINUTE
    starts = [(last - WINDOW + 1 + n) * MINUTE for n in range(WINDOW)]
    by_minute = _summed(snapshot.minutes)
    hour = Counts()
    for counts in by_minute.values():
        hour.add(counts)
    midnight = snapshot.at - snapshot.at % DAY
    today = [counts for start, counts in by_minute.items() if start >= midnight]
    before = list(snapshot.sums.values())
    events = sum(one.events for one in (*today, *before))
    duplicates = sum(one.duplicates for one in (*today, *before))
    unlocks = sum(one.unlocks for one in (*today, *before))
    backfilled = sum(one.backfilled for one in (*today, *before))
    return Page(
        at=snapshot.at,
        away_since=snapshot.away_since,
        quiet=not (events or duplicates or unlocks or backfilled or hour.events or hour.dead),
        per_minute=by_minute.get(starts[-2], Counts()).events,
        hour=hour,
        events_today=events,
        unlocks_today=unlocks,
        backfilled_today=backfilled,
        duplicates_today=duplicates,
        sent_today=events + duplicates,
        minutes=[start // 1_000_000 for start in starts],
        events=[by_minute.get(start, Counts()).events for start in starts],
        unlocks=[by_minute.get(start, Counts()).unlocks for start in starts],
        failures=_most(hour.dead),
        waiting=_most(_waiting(snapshot)),
        regions=list(_regions(snapshot.minutes)),
        latency=_bars(hour.latency),
        tenants=_shares(snapshot.minutes),
        outbox=sum(count for count, _ in snapshot.outbox.values()),
        outbox_since=min((since for _, since in snapshot.outbox.values()), default=None),
        workers=[one for one in snapshot.workers if not one.stopped or snapshot.at - one.seen_at < ENDED],
        lag=snapshot.lag,
        epoch=snapshot.epoch,
    )


def _waiting(snapshot: Snapshot) -> Counter[str]:
    counts = Counter[str]()
    for one in snapshot.letters:
        counts[one.reason] += one.letters
    return counts


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(((name, count) for name, count in counts.items() if count), key=lambda one: (-one[1], one[0]))


def _summed(minutes: Mapping[Key, Counts]) -> dict[int, Counts]:
    found: dict[int, Counts] = {}
    for key, counts in minutes.items():
        found.setdefault(key[0], Counts()).add(counts)
    return found


def _regions(minutes: Mapping[Key, Counts]) -> Iterable[Region]:
    found: dict[str, Counts] = {}
    for key, counts in minutes.items():
        found.setdefault(key[2], Counts()).add(counts)
    for name, counts in sorted(found.items()):
        if timed := sum(counts.latency):
            yield Region(name, timed, percentile_of(counts.latency, 50), percentile_of(counts.latency, 99))


def _shares(minutes: Mapping[Key, Counts]) -> list[Share]:
    found: dict[str, Counts] = {}
    for key, counts in minutes.items():
        found.setdefault(key[1], Counts()).add(counts)
    shares = [Share(tenant, counts.events, counts.unlocks) for tenant, counts in found.items()]
    return sorted(shares, key=lambda one: (-one.events, one.tenant))[:MOST_TENANTS]


def _bars(latency: Sequence[int]) -> list[Bar]:
    """Return the buckets from the first to the last that holds anything."""
    full = [place for place, count in enumerate(latency) if count]
    if not full:
        return []
    most = max(latency)
    return [Bar(_bound(place), latency[place], latency[place] * 100 // most) for place in range(full[0], full[-1] + 1)]


def _bound(place: int) -> str:
    if place >= len(LATENCY_BUCKETS):
        return f"> {_said(LATENCY_BUCKETS[-1])}"
    return f"≤ {_said(LATENCY_BUCKETS[place])}"


def _said(seconds: float) -> str:
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    return f"{round(seconds)} s" if seconds < 60 else f"{round(seconds / 60)} min"  # noqa: PLR2004 - a minute
