"""Counts of one process, and how they look to Prometheus. No key, tenant or user is in any label."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from worker.broker.error_text import Kind as Trouble
from worker.engine.stats import Histogram
from worker.probes.families import Family, HistogramFamily, by_name, renderer
from worker.serve.operations import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.broker.connection import Connection
    from worker.probes.families import Scrape
    from worker.serve.hub import Hub
    from worker.serve.operations import Operation

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ServeStats:
    """Counts of one process."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        """By operation and status."""
        self.seconds = Histogram(SECONDS)
        """Of answers that end by themselves."""

    def count(self, operation: Operation | None, status: int, seconds: float) -> None:
        """Count a request; `operation` is None where no path fits."""
        self.requests["none" if operation is None else operation.name, str(status)] += 1
        if operation is None or operation.kind is not Kind.EVENTS:
            self.seconds.observe(seconds)


def render_of(stats: ServeStats, hub: Hub, connection: Connection) -> Callable[[str], Scrape]:
    """Return a function that renders the metrics."""
    return renderer(lambda: _families(stats, hub, connection))


def _families(stats: ServeStats, hub: Hub, connection: Connection) -> Iterator[Family | HistogramFamily]:
    requests = {key: float(count) for key, count in stats.requests.items()}
    yield Family("counter", "ach_serve_requests", "Requests that were answered.", ("operation", "status"), requests)
    text = "Time from a request's headers to the end of its answer, without live streams."
    yield HistogramFamily("ach_serve_seconds", text, (), {(): stats.seconds})
    yield Family("gauge", "ach_serve_live_streams", "Live streams that are open.", (), {(): float(hub.count)})
    made = {(): float(connection.clients)}
    yield Family("counter", "ach_nats_connections", "Connections made to the broker.", (), made)
    text = "Errors of connections to the broker by kind."
    yield Family("counter", "ach_nats_errors", text, ("kind",), by_name(Trouble, connection.errors))
