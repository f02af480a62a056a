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
from worker.engine.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.engine.arrivals import Arrivals

LATENCY_BUCKETS: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""Upper bounds in seconds, closest together at 10 to 100 ms, where the latency of most unlocks lies."""
MINUTE: Final = 60_000_000
"""Microseconds."""
MOST_TENANTS: Final = 200
"""That are counted apart in one minute; all others together are OTHERS."""
MOST_WAITING: Final = 20_000
"""Counts that wait while the database is away: 100 minutes of as many tenants as are counted apart."""
OTHERS: Final = "*"
NO_TENANT: Final = ""
"""Of what cannot be put down to one tenant."""
NO_REGION: Final = ""

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


class Minutes:
    """Counts that are not written down yet; `prefix` is that of the input subjects."""

    def __init__(self, prefix: str = "events") -> None:
        self.prefix = prefix
        self._waiting: dict[Key, Counts] = {}
        self._tenants: tuple[int, set[str]] = (0, set())

    def __bool__(self) -> bool:
        """Whether anything is there to be written down."""
        return bool(self._waiting)

    def count_batch(self, arrivals: Arrivals, *, late: int, now: int) -> None:
        """Count a committed batch; `now` in microseconds.

        What is known of a batch of several tenants as a whole is put down to none of them.
        """
        sizes = Counter[str]()
        for group in arrivals.groups:
            sizes[group.audience.user.tenant_id] += len(group.events)
        new = sizes if arrivals.new_by_tenant is None else arrivals.new_by_tenant
        for tenant, number in new.items():
            self._of(now, tenant).events += number
        for tenant, number in _copies(arrivals, sizes, new).items():
            self._of(now, tenant).duplicates += number
        if late or arrivals.erased:
            counts = self._of(now, next(iter(sizes)) if len(sizes) == 1 else NO_TENANT)
            counts.late += late
            counts.erased += arrivals.erased
        for letter in arrivals.letters:
            self._of(now, self._sender(letter.message.subject)).dead[letter.reason.value] += 1

    def count_announced(self, tenant: str, origin: str, *, sent_at: int | None, now: int) -> None:
        """Count an unlock that the broker has now; `sent_at` is when its event was published, None if not timed."""
        counts = self._of(now, tenant)
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

    def _of(self, now: int, tenant: str) -> Counts:
        minute = now - now % MINUTE
        if self._tenants[0] != minute:
            self._tenants = (minute, set())
        known = self._tenants[1]
        if tenant not in known:
            if len(known) >= MOST_TENANTS and tenant != NO_TENANT:
                tenant = OTHERS
            else:
                known.add(tenant)
        key = minute, tenant, NO_REGION
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


def _copies(arrivals: Arrivals, sizes: Counter[str], new: Mapping[str, int]) -> Mapping[str, int]:
    """Return the copies of a batch by tenant: what is not new, unless it is something else."""
    if not arrivals.duplicates:
        return {}
    rest = {tenant: size - new.get(tenant, 0) for tenant, size in sizes.items()}
    if sum(rest.values()) == arrivals.duplicates:
        return {tenant: number for tenant, number in rest.items() if number}
    # Among them are events of erased users, or ids that stand for something else.
    return {next(iter(sizes)) if len(sizes) == 1 else NO_TENANT: arrivals.duplicates}
