"""How fast what others ask for may go: a token bucket for each caller, which refuses; a pace, which makes wait.

Pure but for the clock that is handed in.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

MOST: Final = 100_000
"""Callers that are remembered. Of more, those are forgotten that have called least recently: they begin again."""


class Rate(NamedTuple):
    """So many requests a second over time, and so many at once."""

    rate: float
    burst: int


class Buckets:
    """What callers may still ask for."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, caller: str, rate: Rate, now: float, cost: float = 1) -> float:
        """Take what a request costs; return 0, or the seconds until there is enough where there is not."""
        left, at = self._left.get(caller, (float(rate.burst), now))
        left = min(rate.burst, left + max(now - at, 0) * rate.rate)
        wait = max(cost - left, 0) / rate.rate
        self._left[caller] = (left if wait else left - cost, now)
        self._left.move_to_end(caller)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return wait


class Pace:
    """How fast attempts follow each other: `rate` a second over time, and as many at once after a quiet second.

    The generic cell rate algorithm (ITU-T I.371): one number, the instant at which the next attempt would be due.
    """

    def __init__(self, rate: int) -> None:
        self._each = 1 / rate
        self._due = 0.0

    def wait(self, now: float) -> float:
        """Take a place; return after how many seconds its attempt may begin."""
        due = max(self._due, now - 1 + self._each)
        self._due = due + self._each
        return max(0.0, due - now)
