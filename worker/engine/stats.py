"""What a worker has done since it started: counts, and histograms of times and sizes. probes/metrics.py shows them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.contract.trace import trace_of
from worker.contract.transport import region_of
from worker.engine.minutes import LATENCY_BUCKETS, Minutes
from worker.engine.observed import Observed
from worker.engine.tenants import OTHER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet
    from uuid import UUID

    from dsl.outcome import Subject
    from worker.contract.trace import Trace
    from worker.engine.batch import Group
    from worker.engine.decide import Writes
    from worker.engine.reconcile import Decision

EVALUATION_BUCKETS: Final = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0),
)
"""Upper bounds in seconds. One event takes less than the first, and a batch of 5,000 as many times more."""
SIZE_BUCKETS: Final = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper bounds in events. The last one is the largest number of events in one transaction."""
MAX_TIMED: Final = 10_000
"""Granted unlocks that wait to be announced and are timed; where there are more, the older half is not timed."""


class Histogram:
    """Counts of observed values, by fixed buckets."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Make an empty histogram; `bounds` are the inclusive upper bounds of its buckets, in ascending order."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum: float = 0
        """All observed values together."""

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """The number of observed values."""
        return sum(self._counts)

    @property
    def buckets(self) -> list[tuple[float, int]]:
        """Each upper bound with the number of values up to it, in ascending order; the last bound is infinity."""
        return list(zip((*self._bounds, float("inf")), accumulate(self._counts), strict=True))


class Sent(NamedTuple):
    """Of an event: when the broker stored it, in microseconds, the region of its producer, and the trace."""

    at: int
    region: str
    trace: Trace | None = None


class Stats:
    """Counts of one worker. It counts what is committed, never what was only tried, unless a line below says so."""

    def __init__(self) -> None:
        self.observed = Observed()
        """What the servers said last of what waits there."""
        self.messages = 0
        """Messages that were acknowledged, or ended with a reason."""
        self.events = 0
        """Events that the ledger did not have before."""
        self.duplicates = 0
        """Events that the ledger had already."""
        self.late = 0
        """Events that arrived after another event of the same user that follows them in canonical order."""
        self.erased = 0
        """Events of erased users, and dead letters that name no other user. They were left out."""
        self.dead: Counter[str] = Counter()
        """Dead letters by reason."""
        self.types: Counter[str] = Counter()
        """Events that arrived, copies too, by type: those that a rule in force hears, and OTHER."""
        self.decisions: Counter[str] = Counter()
        """Decisions about unlocks by kind."""
        self.batches = 0
        self.refolded = 0
        """Subjects whose state was folded again from the ledger."""
        self.retries = 0
        """Attempts at a batch that failed for a temporary reason."""
        self.overtaken = 0
        """Attempts at the fast path that failed, and took the long way."""
        self.long_ways: Counter[str] = Counter()
        """Why users, or whole batches, took the long way; `LongWay`, counted when it was found out."""
        self.announced = 0
        """Unlocks announced to the broker."""
        self.corrected = 0
        """Corrections of unlocks that the broker has now."""
        self.repeated = 0
        """Announcements that the broker had already."""
        self.refused = 0
        """Announcements that the broker refused; each attempt counts."""
        self.evaluation_seconds = Histogram(EVALUATION_BUCKETS)
        """Seconds that the rules of a batch took: stepping states, and deciding about unlocks."""
        self.commit_seconds = Histogram(LATENCY_BUCKETS)
        """Seconds that the transaction of a batch took."""
        self.batch_events = Histogram(SIZE_BUCKETS)
        """Events that a batch added to the ledger."""
        self.unlock_seconds = Histogram(LATENCY_BUCKETS)
        """Seconds from the broker's time stamp of an event to the announcement of the unlock that it earned."""
        self.minutes = Minutes()
        """The same by minute and tenant, until it is written down."""
        self._timed: dict[UUID, Sent] = {}
        """Granted unlocks that are not announced yet, oldest first, with the event that earned each."""

    @property
    def unlocks(self) -> int:
        """Unlocks granted, at once or after settling."""
        return self.decisions["granted"]

    def count_batch(self, writes: Writes, seconds: float) -> None:
        """Count a committed batch whose transaction took `seconds`."""
        arrivals, decisions = writes.arrivals, writes.decisions
        self.events += arrivals.new
        self.duplicates += arrivals.duplicates
        self.late += writes.late
        self.erased += arrivals.erased
        self.dead.update(letter.reason.value for letter in arrivals.letters)
        self.decisions.update(decision.kind.value for decision in decisions)
        self.batches += 1
        self.refolded += len(writes.refolded)
        self.commit_seconds.observe(seconds)
        self.batch_events.observe(arrivals.new)
        self.minutes.count_batch(arrivals, late=writes.late, now=writes.now)
        if decisions:
            self._time_grants(arrivals.groups, decisions)

    def count_evaluation(self, groups: Iterable[Group], heard: AbstractSet[str], seconds: float) -> None:
        """Count the events of a committed batch by type, of those that a rule hears, and what its rules took."""
        self.evaluation_seconds.observe(seconds)
        for name, number in Counter([event.type for group in groups for event in group.events]).items():
            self.types[name if name in heard else OTHER] += number

    def _time_grants(self, groups: Iterable[Group], decisions: Iterable[Decision]) -> None:
        granted: defaultdict[Subject, list[Decision]] = defaultdict(list)
        for decision in decisions:
            if decision.kind == "granted":
                granted[decision.subject].append(decision)
        earning = {decision.grant.event_id for own in granted.values() for decision in own}
        for group in groups:
            # Events that name more users have many members, and most groups earn none of them anything.
            if group.views and earning.isdisjoint([event.id for event in group.events]):
                continue
            for subject in dict.fromkeys(group.members):
                if subject in granted:
                    self._time_grants_of(group, granted[subject])

    def _time_grants_of(self, group: Group, granted: list[Decision]) -> None:
        ids = [event.id for event in group.events]
        for decision in granted:
            earning = decision.grant.event_id
            if earning in ids:
                at = ids.index(earning)
                message, region = group.messages[at], region_of(group.rows[at])
                trace = trace_of(message, group.elements[at])
                self.start_timing(decision.unlock_id, Sent(message.sent_at, region, trace))

    def start_timing(self, unlock_id: UUID, sent: Sent) -> None:
        """Time an unlock until it is announced, where it is known when its event was published."""
        if not sent.at:
            return
        # A worker does not learn that another one has announced its unlock: what is never taken out must be dropped.
        if len(self._timed) >= MAX_TIMED:
            for oldest in list(islice(self._timed, MAX_TIMED // 2)):
                del self._timed[oldest]
        self._timed[unlock_id] = sent

    def sent(self, unlock_id: UUID) -> Sent | None:
        """Return when and where the event of an unlock was published; None where the unlock is not timed."""
        return self._timed.get(unlock_id)

    def count_settled(self, number: int) -> None:
        """Count unlocks that were granted because they had settled."""
        if number:
            self.decisions["granted"] += number

    def count_corrected(self, number: int) -> None:
        """Count corrections that the broker has now."""
        self.corrected += number

    def count_announced(self, unlock_id: UUID, *, new: bool, now: int) -> None:
        """Count an announcement, and the unlock's latency where this worker granted it; `now` is in microseconds."""
        self.announced += new
        self.repeated += not new
        sent = self._timed.pop(unlock_id, None)
        if sent is not None and new:
            self.count_latency(max(0, now - sent.at) / 1_000_000)  # the broker's clock may be ahead

    def count_latency(self, seconds: float) -> None:
        """Count the time from the publishing of an event to the announcement of its unlock."""
        self.unlock_seconds.observe(seconds)


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the value below which a share (0 to 1) of the values lies; None where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
