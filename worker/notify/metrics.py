"""A notifier's metrics. Names of endpoints are the only labels: no URL, tenant or subject is in any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.notify.schedule import Outcome
from worker.probes.families import Family, HistogramFamily, renderer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.notify.stats import EndpointStats, NotifyStats
    from worker.probes.families import Scrape


def render_of(stats: NotifyStats, now: Callable[[], int]) -> Callable[[str], Scrape]:
    """Return a function that renders the metrics; `now` gives milliseconds since the epoch."""
    return renderer(lambda: _families(stats, now))


def _families(stats: NotifyStats, now: Callable[[], int]) -> Iterator[Family | HistogramFamily]:
    endpoints = stats.endpoints
    attempts = {
        (name, str(outcome)): float(one.attempts[outcome]) for name, one in endpoints.items() for outcome in Outcome
    }
    name = "ach_notify_attempts"
    yield Family("counter", name, "Attempts by outcome.", ("endpoint", "outcome"), attempts)
    seconds = {(name,): one.seconds for name, one in endpoints.items()}
    yield HistogramFamily("ach_notify_attempt_seconds", "Duration of attempts.", ("endpoint",), seconds)

    def failing(one: EndpointStats) -> float:
        return 0.0 if one.failing_since is None else (now() - one.failing_since) / 1000

    for kind, name, text, value in (
        ("counter", "ach_notify_passed_over", "Announcements that the endpoint does not want.", _passed_over),
        ("counter", "ach_notify_unreadable", "Messages that are no announcements.", _unreadable),
        ("gauge", "ach_notify_waiting", "Announcements that were not tried yet.", _waiting),
        ("gauge", "ach_notify_retrying", "Announcements under way, in a digest, or before another try.", _retrying),
        ("gauge", "ach_notify_disabled", "Whether the endpoint is disabled.", _disabled),
        ("gauge", "ach_notify_failing_seconds", "For how long every attempt has failed.", failing),
    ):
        values = {(endpoint,): float(value(one)) for endpoint, one in endpoints.items()}
        yield Family("counter" if kind == "counter" else "gauge", name, text, ("endpoint",), values)
    unlogged = {(): float(stats.unlogged)}
    yield Family("counter", "ach_notify_unlogged", "Attempts that the table of deliveries lacks.", (), unlogged)


def _passed_over(one: EndpointStats) -> int:
    return one.passed_over


def _unreadable(one: EndpointStats) -> int:
    return one.unreadable


def _waiting(one: EndpointStats) -> int:
    return one.waiting


def _retrying(one: EndpointStats) -> int:
    return one.retrying


def _disabled(one: EndpointStats) -> bool:
    return one.disabled
