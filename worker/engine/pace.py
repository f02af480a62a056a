"""How fast a build may go, and how long it will take. Pure: instants and spans in seconds."""

from __future__ import annotations

from typing import Final, NamedTuple

BURST_SECONDS = 0.25
"""What may be done at once, as the time that it would take at the rate."""


class Pace:
    """Says how long to rest, so that no more than `rate` a second is done; None for no limit."""

    def __init__(self, rate: int | None, at: float) -> None:
        self.rate = rate
        self._free_at = at
        """When all that was done would have been done at the rate."""

    def rest(self, done: int, at: float) -> float:
        """Note that so much was done; return how long to rest before more is."""
        if self.rate is None:
            self._free_at = at
            return 0.0
        self._free_at = max(self._free_at, at - BURST_SECONDS) + done / self.rate
        return max(0.0, self._free_at - at)


class Courtesy:
    """How large the pieces of a build are, and how long it rests after each, so that live work hardly waits for it.

    Live work shows by what it leaves in partitions. While there is some, a piece holds its partition for some
    milliseconds, and the build rests as long as it works: two cores that it shares with live work have room for both.
    """

    LARGEST: Final = 200
    SMALLEST: Final = 10
    HOLD_SECONDS: Final = 0.006
    """That a piece may hold its partition while there is live work."""
    SEEN_SECONDS: Final = 1.0
    """For which live work is expected to go on."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        """The shortest rest; 0 for none at all."""
        self._live_until = 0.0
        self.size = 50
        """Subjects of the next piece."""

    def saw(self, *, live: bool, at: float) -> None:
        """Note whether another process has written a partition since the build did."""
        if live:
            self._live_until = at + self.SEEN_SECONDS

    def calm(self, at: float) -> bool:
        """Tell whether no live work is expected."""
        return at >= self._live_until

    def alone(self, at: float) -> bool:
        """Tell whether a piece may hold several partitions: one was held, and no live work was seen."""
        return self.size == self.LARGEST and self.calm(at)

    def held(self, seconds: float, size: int, at: float) -> None:
        """Note how long a piece of a size has held its partition."""
        if self.calm(at):
            self.size = self.LARGEST
        elif seconds > self.HOLD_SECONDS:
            self.size = max(self.SMALLEST, min(self.size, size) * 2 // 3)
        elif size >= self.size:
            self.size = min(self.LARGEST, self.size + 10)

    def rest(self, worked: float, at: float) -> float:
        """Return how long to rest after so much work."""
        return max(self._pause, worked) if self._pause and at < self._live_until else 0.0


class Headway(NamedTuple):
    """How far a build is."""

    looked_at: int
    """Subjects that were looked at."""
    expected: int | None
    """Subjects to look at, as far as is known."""
    subjects: int
    """Subjects that were brought up to date."""
    events: int
    """Events that were read."""
    built_ms: int
    waits_for: str = ""
    """Why it rests at the moment; empty where it does not."""

    @property
    def share(self) -> float | None:
        """The share that is done, from 0 to 1; below 1 until it ends."""
        if not self.expected:
            return None
        return min(self.looked_at / self.expected, 0.99)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it ends, as it went so far."""
        share = self.share
        if not share:
            return None
        return self.built_ms / 1000 * (1 - share) / share


class Lag(NamedTuple):
    """How far live work is behind."""

    pending: int | None
    """Messages that wait for workers; None where no worker has said so lately."""
    oldest_unlock_at: int | None
    """Since when an unlock waits to be announced, in microseconds."""


OUTBOX_SECONDS = 5.0
"""Age of the outbox beyond which a build with a limit waits."""


def gives_way(lag: Lag, max_lag: int | None, now: int) -> str:
    """Return why a build is to wait for live work; empty where it is not. `now` in microseconds."""
    if max_lag is None:
        return ""
    if lag.pending is not None and lag.pending > max_lag:
        return f"{lag.pending:,} messages wait for workers, more than {max_lag:,}"
    age = 0.0 if lag.oldest_unlock_at is None else (now - lag.oldest_unlock_at) / 1_000_000
    if age > OUTBOX_SECONDS:
        return f"an unlock has waited {age:.0f} s to be announced, longer than {OUTBOX_SECONDS:.0f} s"
    return ""
