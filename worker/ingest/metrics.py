"""Counts of one process, and how they look to Prometheus. No key, tenant or user is in any label."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from worker.broker.error_text import Kind
from worker.engine.stats import Histogram
from worker.probes.families import Family, HistogramFamily, by_name, renderer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.broker.connection import Connection
    from worker.ingest.bodies import Memory
    from worker.ingest.publisher import Publisher
    from worker.probes.families import Scrape

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class IngestStats:
    """Counts of one process."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        """By operation and status."""
        self.accepted = 0
        """Events that were answered with 202."""
        self.copies = 0
        """Of these, those that the broker had already."""
        self.refused: Counter[str] = Counter()
        """Requests that were refused, by the name of the problem."""
        self.seconds = Histogram(SECONDS)


def render_of(
    stats: IngestStats, publisher: Publisher, memory: Memory, connection: Connection
) -> Callable[[str], Scrape]:
    """Return a function that renders the metrics."""
    return renderer(lambda: _families(stats, publisher, memory, connection))


def _families(
    stats: IngestStats, publisher: Publisher, memory: Memory, connection: Connection
) -> Iterator[Family | HistogramFamily]:
    requests = {key: float(count) for key, count in stats.requests.items()}
    yield Family("counter", "ach_ingest_requests", "Requests that were answered.", ("operation", "status"), requests)
    refused = {(name,): float(count) for name, count in stats.refused.items()}
    yield Family("counter", "ach_ingest_refused", "Requests that were refused, by problem.", ("problem",), refused)
    yield HistogramFamily(
        "ach_ingest_seconds",
        "Time from a request's headers to its answer, where events were taken.",
        (),
        {(): stats.seconds},
    )
    yield Family(
        "counter",
        "ach_nats_errors",
        "Errors of connections to the broker by kind.",
        ("kind",),
        by_name(Kind, connection.errors),
    )
    for kind, name, text, value in (
        ("counter", "ach_ingest_events", "Events that were acknowledged by the broker.", stats.accepted),
        ("counter", "ach_ingest_copies", "Of these, events that the broker had already.", stats.copies),
        ("counter", "ach_nats_connections", "Connections made to the broker.", connection.clients),
        ("gauge", "ach_ingest_under_way", "Events that the broker has not acknowledged yet.", publisher.room.taken),
        ("gauge", "ach_ingest_body_bytes", "Bytes held for bodies.", memory.taken),
    ):
        yield Family("counter" if kind == "counter" else "gauge", name, text, (), {(): float(value)})
