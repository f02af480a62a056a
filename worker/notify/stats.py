"""What a notifier counts, by endpoint."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from worker.engine.stats import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable

SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)


class EndpointStats:
    """Counts and state of one endpoint."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        """By outcome."""
        self.passed_over = 0
        """Announcements that the endpoint does not want."""
        self.unreadable = 0
        """Messages that are no announcements."""
        self.seconds = Histogram(SECONDS)
        """Of attempts."""
        self.waiting = 0
        """Announcements that the broker has not delivered yet, when it was last asked."""
        self.retrying = 0
        """Those that were delivered and are not done: on their way, in a digest, or waiting for another attempt."""
        self.disabled = False
        self.failing_since: int | None = None
        """Milliseconds since the epoch; None where the last attempt succeeded."""


class NotifyStats:
    """Counts of one notifier."""

    def __init__(self, names: Iterable[str]) -> None:
        self.endpoints = {name: EndpointStats() for name in names}
        self.unlogged = 0
        """Attempts that the table of deliveries lacks: the database was away for long."""
