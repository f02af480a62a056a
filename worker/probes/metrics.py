"""What a worker shows of itself to Prometheus: the only module that knows its library. Read when scraped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from worker.engine.stats import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from worker.engine.stats import Stats

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_QUANTILES: Final = (0.5, 0.9, 0.99)


def _none() -> tuple[int, Mapping[str, int]]:
    return 0, {}


class Metrics(Collector):
    """The metrics of one worker; `gauges` are read when asked, by name (units in the name) and help text.

    `connections` tells how often the broker was connected, and what went wrong with that, by kind.
    """

    def __init__(
        self,
        stats: Stats,
        gauges: dict[tuple[str, str], Callable[[], float]],
        connections: Callable[[], tuple[int, Mapping[str, int]]] = _none,
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
        """Yield every metric, as the library asks for them."""
        stats = self._stats
        for name, text, value in (
            ("ach_messages", "Messages committed.", stats.messages),
            ("ach_events", "Events new in the ledger.", stats.events),
            ("ach_duplicates", "Events that the ledger had already.", stats.duplicates),
            ("ach_late_events", "Events before another of their user that came earlier.", stats.late),
            ("ach_erased_events", "Events of erased users, left out.", stats.erased),
            ("ach_batches", "Batches committed.", stats.batches),
            ("ach_refolds", "Subjects folded anew from the ledger.", stats.refolded),
            ("ach_retries", "Attempts at a batch that failed for a reason that passes.", stats.retries),
            ("ach_announcements", "Unlocks announced.", stats.announced),
            ("ach_corrections", "Changes of granted unlocks announced.", stats.corrected),
            ("ach_repeated_announcements", "Announcements that the broker knew already.", stats.repeated),
            ("ach_refused_announcements", "Announcements that the broker would not keep.", stats.refused),
        ):
            yield CounterMetricFamily(name, text, value)
        yield _by("ach_dead_letters", "Dead letters.", "reason", stats.dead.items())
        yield _by("ach_decisions", "Decisions about unlocks.", "decision", stats.decisions.items())
        yield _quantiles("ach_batch_seconds", "Duration of a batch's transaction.", stats.batch_seconds)
        yield _quantiles(
            "ach_unlock_seconds", "From publishing an event to announcing its unlock.", stats.unlock_seconds
        )
        connections, errors = self._connections()
        yield CounterMetricFamily("ach_nats_connections", "Connections made to the broker.", connections)
        yield _by("ach_nats_errors", "Connections lost, not made, or refused something.", "kind", errors.items())
        for (name, text), read in self._gauges.items():
            yield GaugeMetricFamily(name, text, read())


def _by(name: str, text: str, label: str, counts: Iterable[tuple[str, int]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts:
        family.add_metric([value], count)
    return family


def _quantiles(name: str, text: str, values: Iterable[float]) -> Metric:
    values = list(values)
    family = GaugeMetricFamily(name, text, labels=["quantile"])
    for share in _QUANTILES:
        value = percentile(values, share)
        if value is not None:
            family.add_metric([str(share)], value)
    return family
