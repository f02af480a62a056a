"""Metrics of a process, rendered from values that it has at hand."""

from __future__ import annotations

from math import isinf
from typing import TYPE_CHECKING, Literal, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

    from worker.engine.stats import Histogram


class Family(NamedTuple):
    """One metric with its values, by the values of its labels."""

    kind: Literal["counter", "gauge"]
    name: str
    help: str
    labels: Sequence[str]
    values: Mapping[tuple[str, ...], float]


class HistogramFamily(NamedTuple):
    """One histogram by the values of its labels."""

    name: str
    help: str
    labels: Sequence[str]
    values: Mapping[tuple[str, ...], Histogram]


class Scrape(NamedTuple):
    """The answer to a scrape."""

    content_type: str
    body: bytes


class _Families(Collector):
    def __init__(self, families: Callable[[], Iterable[Family | HistogramFamily]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        for family in self._families():
            yield _histogram(family) if isinstance(family, HistogramFamily) else _plain(family)


def renderer(families: Callable[[], Iterable[Family | HistogramFamily]]) -> Callable[[str], Scrape]:
    """Return a function that renders what `families` returns at that moment.

    It takes the header `Accept` of the scrape, and answers in the text format of Prometheus or in that of OpenMetrics.
    """
    registry = CollectorRegistry()
    registry.register(_Families(families))

    def render(accept: str) -> Scrape:
        encode, content_type = choose_encoder(accept)
        return Scrape(content_type, encode(registry))

    return render


def by_name(names: Iterable[str], counts: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    """Return counts by the one label that they have, 0 for those of `names` that were not counted yet."""
    return {(str(name),): float(counts.get(name, 0)) for name in dict.fromkeys([*names, *counts])}


def _plain(family: Family) -> Metric:
    made = (CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily)(
        family.name, family.help, labels=family.labels
    )
    for labels, value in family.values.items():
        made.add_metric(labels, value)
    return made


def _histogram(family: HistogramFamily) -> Metric:
    made = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in family.values.items():
        made.add_metric(labels, buckets_of(value), value.sum)
    return made


def buckets_of(histogram: Histogram) -> list[tuple[str, float]]:
    """Return the buckets as Prometheus names them: upper bound as text, and the number of values up to it."""
    return [("+Inf" if isinf(bound) else str(float(bound)), count) for bound, count in histogram.buckets]
