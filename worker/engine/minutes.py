"""What a worker does in each minute, by tenant and region, until that is written down. Pure.

Counts of several workers and minutes add up, histograms too. It is counted by batch and by announcement, not by event.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import msgspec

from worker.contract.partition import bound_by, name_of
from worker.contract.transport import NO_REGION, region_of
from worker.engine.origin import Origin
from worker.engine.tenants import Tenants

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.engine.arrivals import Arrivals, Producer

LATENCY_BUCKETS: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""Upper bounds in seconds, closest together at 10 to 100 ms, where the latency of most unlocks lies."""
MINUTE: Final = 60_000_000
"""Microseconds."""
MOST_TENANTS: Final = 200
"""That are counted apart in one minute; all others together are OTHERS."""
MOST_REGIONS: Final = 16
"""Likewise. A producer may name any, so there may be no more rows of them than of tenants."""
MOST_PAIRS: Final = 400
"""Tenants with a region that are counted apart in one minute; all others of a region together are of OTHERS."""
MOST_WAITING: Final = 20_000
"""Counts that wait while the database is away: 100 minutes of as many tenants as are counted apart."""
OTHERS: Final = "*"
NO_TENANT: Final = ""
"""Of what cannot be put down to one tenant."""

LONGEST_TENANT: Final = 512

Key = tuple[int, str, str]
"""Minute (microseconds since the epoch, whole), tenant, region."""


class Counts(msgspec.Struct):
    """What was done in one minute for one tenant and region."""

    events: int = 0
    duplicates: int = 0
    late: int = 0
    erased: int = 0
    unlocks: int = 0
    backfilled: int = 0
    dead: Counter[str] = msgspec.field(default_factory=Counter[str])
    latency: list[int] = msgspec.field(default_factory=list[int])
    """Unlocks by the buckets of LATENCY_BUCKETS and one beyond; empty where none was timed."""

    def add(self, other: Counts) -> None:
        """Add the counts of another worker, minute or region."""
        self.events += other.events
        self.duplicates += other.duplicates
        self.late += other.late
        self.erased += other.erased
        self.unlocks += other.unlocks
        self.backfilled += other.backfilled
        self.dead.update(other.dead)
        self.latency = added(self.latency, other.latency)


def added(some: Sequence[int], others: Sequence[int]) -> list[int]:
    """Return two histograms as one."""
    longest = max(len(some), len(others))
    return [sum(each[n] for each in (some, others) if n < len(each)) for n in range(longest)]


def percentile_of(latency: Sequence[int], percent: int) -> float | None:
    """Return the seconds within which a share of what a histogram counts lies, the upper bound of its bucket.

    None where nothing was counted; infinity beyond the last bound.
    """
    total = sum(latency)
    if not total:
        return None
    rank = -(-total * percent // 100)
    place = next(n for n, so_far in enumerate(accumulate(latency)) if so_far >= rank)
    return LATENCY_BUCKETS[place] if place < len(LATENCY_BUCKETS) else float("inf")


class _Apart:
    """What is counted apart in one minute: a producer that names many regions fills no table."""

    def __init__(self, minute: int) -> None:
        self.minute = minute
        self._tenants = {NO_TENANT}
        self._regions = {NO_REGION}
        self._pairs: set[Producer] = set()

    def admit(self, tenant: str, region: str) -> Producer:
        """Return under what a tenant and region are counted."""
        if (tenant, region) in self._pairs:
            return tenant, region
        region = _admitted(region, self._regions, MOST_REGIONS)
        tenant = _admitted(tenant, self._tenants, MOST_TENANTS) if len(self._pairs) < MOST_PAIRS else OTHERS
        self._pairs.add((tenant, region))
        return tenant, region


def _admitted(name: str, known: set[str], most: int) -> str:
    """Return a name that is counted apart, or OTHERS; the empty one always is, and does not count."""
    if name not in known:
        if len(known) > most:
            return OTHERS
        known.add(name)
    return name


class Minutes:
    """Counts that are not written down yet; `prefix` is that of the input subjects."""

    def __init__(self, prefix: str = "events") -> None:
        self.prefix = prefix
        self.tenants = Tenants()
        """What was done for each tenant since the start, for those that send most."""
        self._waiting: dict[Key, Counts] = {}
        self._apart = _Apart(0)

    def __bool__(self) -> bool:
        """Whether anything is there to be written down."""
        return bool(self._waiting)

    def count_batch(self, arrivals: Arrivals, *, late: int, now: int) -> None:
        """Count a committed batch; `now` in microseconds.

        What is known of a batch of several tenants or regions as a whole is put down to none of them. Dead letters have
        no region.
        """
        sizes = _sizes(arrivals)
        new = sizes if arrivals.new_by_producer is None else arrivals.new_by_producer
        tenants = self.tenants
        tenants.see(_by_tenant(sizes), now)
        for producer, number in new.items():
            self._of(now, *producer).events += number
            tenants.of(producer[0]).events += number
        for producer, number in _copies(arrivals, sizes, new).items():
            self._of(now, *producer).duplicates += number
            tenants.of(producer[0]).duplicates += number
        if late or arrivals.erased:
            counts = self._of(now, *_common(sizes))
            counts.late += late
            counts.erased += arrivals.erased
        for letter in arrivals.letters:
            tenant = self._sender(letter.message.subject)
            self._of(now, tenant, NO_REGION).dead[letter.reason.value] += 1
            tenants.of(tenant).dead += 1

    def count_announced(
        self, tenant: str, origin: str, *, sent_at: int | None, now: int, region: str = NO_REGION
    ) -> None:
        """Count an unlock that the broker has now.

        `sent_at` is when the broker stored its event, None if not timed; `region` is that of the event, where known.
        """
        counts = self._of(now, tenant, region)
        self.tenants.of(tenant).unlocks += 1
        if origin == Origin.BACKFILL:
            counts.backfilled += 1
            return
        counts.unlocks += 1
        if sent_at is None:
            return
        if not counts.latency:
            counts.latency = [0] * (len(LATENCY_BUCKETS) + 1)
        counts.latency[bisect_left(LATENCY_BUCKETS, max(0, now - sent_at) / 1_000_000)] += 1

    def _sender(self, subject: str) -> str:
        """Return the tenant on whose subject a message came; NO_TENANT where that cannot be said."""
        token = bound_by(self.prefix, subject).tenant
        name = name_of(token) if token else None
        return NO_TENANT if name is None else name.replace("\0", "\ufffd")[:LONGEST_TENANT]

    def _of(self, now: int, tenant: str, region: str) -> Counts:
        minute = now - now % MINUTE
        if self._apart.minute != minute:
            self._apart = _Apart(minute)
        key = minute, *self._apart.admit(tenant, region)
        counts = self._waiting.get(key)
        if counts is None:
            counts = self._waiting[key] = Counts()
        return counts

    def take(self) -> dict[Key, Counts]:
        """Return what is to be written down, and forget it."""
        taken, self._waiting = self._waiting, {}
        return taken

    def put_back(self, taken: Mapping[Key, Counts]) -> None:
        """Keep what could not be written down; beyond MOST_WAITING, what is oldest is lost."""
        for key, counts in taken.items():
            self._waiting.setdefault(key, Counts()).add(counts)
        for key in sorted(self._waiting)[: max(0, len(self._waiting) - MOST_WAITING)]:
            del self._waiting[key]


def _sizes(arrivals: Arrivals) -> Counter[Producer]:
    """Return the events of a batch by tenant and region."""
    sizes: Counter[Producer] = Counter()
    if len(arrivals.regions) <= 1:
        region = next(iter(arrivals.regions), NO_REGION)
        for group in arrivals.groups:
            sizes[group.audience.user.tenant_id, region] += len(group.events)
        return sizes
    for group in arrivals.groups:
        tenant = group.audience.user.tenant_id
        sizes.update([(tenant, region_of(row)) for row in group.rows])
    return sizes


def _by_tenant(sizes: Mapping[Producer, int]) -> Counter[str]:
    tenants: Counter[str] = Counter()
    for (tenant, _), number in sizes.items():
        tenants[tenant] += number
    return tenants


def _common(sizes: Mapping[Producer, int]) -> Producer:
    """Return the tenant and the region of a batch; none where there are several."""
    tenants, regions = {tenant for tenant, _ in sizes}, {region for _, region in sizes}
    return (
        next(iter(tenants)) if len(tenants) == 1 else NO_TENANT,
        next(iter(regions)) if len(regions) == 1 else NO_REGION,
    )


def _copies(arrivals: Arrivals, sizes: Mapping[Producer, int], new: Mapping[Producer, int]) -> Mapping[Producer, int]:
    """Return the copies of a batch by tenant and region: what is not new, unless it is something else."""
    if not arrivals.duplicates:
        return {}
    rest = {producer: size - new.get(producer, 0) for producer, size in sizes.items()}
    if sum(rest.values()) == arrivals.duplicates:
        return {producer: number for producer, number in rest.items() if number}
    # Among them are events of erased users, or ids that stand for something else.
    return {_common(sizes): arrivals.duplicates}
