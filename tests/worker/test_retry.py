from __future__ import annotations

from itertools import islice

from worker.retry import LONGEST, delays


def test_delays_double_and_are_bounded() -> None:
    assert list(islice(delays(first=1.0, longest=5.0, dice=lambda: 1.0), 5)) == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_delays_are_spread() -> None:
    assert next(delays(first=1.0, dice=lambda: 0.0)) == 0.5
    assert all(0 < delay <= LONGEST for delay in islice(delays(), 50))
