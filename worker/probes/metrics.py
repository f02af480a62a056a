"""A worker's metrics in the format of Prometheus, read when they are scraped.

To add a metric, add a line to `collect` (for a gauge, where `Metrics` is made) and a row to the table in
docs/operating.md; a test compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from worker.probes.families import buckets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from worker.engine.stats import Stats

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


def _no_connections() -> tuple[int, Mapping[str, int]]:
    return 0, {}


class Metrics(Collector):
    """The metrics of one worker.

    `gauges` has a function for each pair of a name (with its unit) and a help text. `connections` returns the number of
    connections made to the broker, and the number of errors by kind.
    """

    def __init__(
        self,
        stats: Stats,
        gauges: Mapping[tuple[str, str], Callable[[], float]],
        connections: Callable[[], tuple[int, Mapping[str, int]]] = _no_connections,
    ) -> None:
        self._stats = stats
        self._gauges = gauges
        self._connections = connections
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self) -> bytes:
        """Return all metrics in the text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        stats = self._stats
        connections, errors = self._connections()
        for name, text, value in (
            ("ach_messages", "Messages that were committed.", stats.messages),
            ("ach_events", "Events that the ledger did not have before.", stats.events),
            ("ach_duplicates", "Events that the ledger had already.", stats.duplicates),
            ("ach_late_events", "Events that arrived after a later event of their user.", stats.late),
            ("ach_erased_events", "Events of erased users, which were left out.", stats.erased),
            ("ach_batches", "Batches that were committed.", stats.batches),
            ("ach_refolds", "Subjects whose state was folded again from the ledger.", stats.refolded),
            ("ach_retries", "Attempts at a batch that failed for a temporary reason.", stats.retries),
            ("ach_announcements", "Unlocks that were announced.", stats.announced),
            ("ach_corrections", "Corrections of unlocks that were announced.", stats.corrected),
            ("ach_repeated_announcements", "Announcements that the broker had already.", stats.repeated),
            ("ach_refused_announcements", "Announcements that the broker refused.", stats.refused),
            ("ach_nats_connections", "Connections made to the broker.", connections),
        ):
            yield CounterMetricFamily(name, text, value)
        for name, text, label, counts in (
            ("ach_dead_letters", "Dead letters by reason.", "reason", stats.dead),
            ("ach_decisions", "Decisions about unlocks by kind.", "decision", stats.decisions),
            ("ach_long_way", "Users and batches that took the long way by reason.", "reason", stats.long_ways),
            ("ach_nats_errors", "Errors of connections to the broker by kind.", "kind", errors),
        ):
            yield _labelled(CounterMetricFamily(name, text, labels=[label]), counts)
        for name, text, histogram in (
            (
                "ach_unlock_latency_seconds",
                "Time from an event to the announcement of its unlock.",
                stats.unlock_seconds,
            ),
            ("ach_batch_commit_seconds", "Duration of the transaction of a batch.", stats.commit_seconds),
            ("ach_batch_events", "Events that a batch added to the ledger.", stats.batch_events),
        ):
            yield HistogramMetricFamily(name, text, buckets=buckets_of(histogram), sum_value=histogram.sum)
        for (name, text), read in self._gauges.items():
            yield GaugeMetricFamily(name, text, read())


def _labelled(family: CounterMetricFamily, counts: Mapping[str, int]) -> CounterMetricFamily:
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
