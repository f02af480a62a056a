"""How fast a build may go, and when it gives way."""

from __future__ import annotations

import pytest

from worker.engine.pace import BURST_SECONDS, Courtesy, Headway, Lag, Pace, gives_way

SECOND = 1_000_000


def test_no_more_than_the_rate_is_done() -> None:
    pace, at, done = Pace(1000, 0.0), 0.0, 0
    for _ in range(50):
        at += pace.rest(100, at)
        done += 100
    assert at == pytest.approx((done / 1000) - BURST_SECONDS, abs=0.11) or at == pytest.approx(done / 1000, abs=0.11)


def test_time_that_was_idle_is_not_saved_up() -> None:
    pace = Pace(1000, 0.0)
    assert pace.rest(100, 100.0) == 0
    assert pace.rest(1000, 100.0) == pytest.approx(1.1 - BURST_SECONDS)


def test_without_a_rate_nothing_rests() -> None:
    pace = Pace(None, 0.0)
    assert pace.rest(10**9, 0.0) == 0
    pace.rate = 10
    assert pace.rest(10, 1.0) == pytest.approx(1.0 - BURST_SECONDS)


@pytest.mark.parametrize(
    ("looked_at", "expected", "left"),
    [(0, 100, None), (10, None, None), (10, 0, None), (50, 100, 10.0), (100, 100, 10.0 / 99), (500, 100, 10.0 / 99)],
)
def test_the_time_left(looked_at: int, expected: int | None, left: float | None) -> None:
    headway = Headway(looked_at, expected, 0, 0, 10_000)
    assert headway.seconds_left == (None if left is None else pytest.approx(left))


@pytest.mark.parametrize(
    ("lag", "max_lag", "said"),
    [
        (Lag(10**6, 0), None, ""),
        (Lag(None, None), 0, ""),
        (Lag(10, None), 10, ""),
        (Lag(11, None), 10, "11 messages wait for workers, more than 10"),
        (Lag(0, 95 * SECOND), 10, ""),
        (Lag(0, 94 * SECOND), 10, "an unlock has waited 6 s to be announced, longer than 5 s"),
    ],
)
def test_a_build_gives_way(lag: Lag, max_lag: int | None, said: str) -> None:
    assert gives_way(lag, max_lag, 100 * SECOND) == said


def test_a_build_rests_as_long_as_it_works_while_there_is_live_work() -> None:
    courtesy = Courtesy(0.005)
    assert courtesy.rest(0.02, 10.0) == 0
    courtesy.saw(live=True, at=10.0)
    assert courtesy.rest(0.02, 10.5) == 0.02
    assert courtesy.rest(0.001, 10.5) == 0.005
    courtesy.saw(live=False, at=10.6)
    assert courtesy.rest(0.02, 10.7) == 0.02, "it was there a moment ago"
    assert courtesy.rest(0.02, 12.0) == 0
    hasty = Courtesy(0)
    hasty.saw(live=True, at=10.0)
    assert hasty.rest(0.02, 10.0) == 0


def test_pieces_are_as_large_as_keeps_their_partition_for_a_moment() -> None:
    courtesy = Courtesy(0.005)
    courtesy.saw(live=True, at=0.0)
    for _ in range(20):
        courtesy.held(0.05, courtesy.size, 0.1)
    assert courtesy.size == Courtesy.SMALLEST
    courtesy.held(0.001, courtesy.size, 0.1)
    assert courtesy.size == Courtesy.SMALLEST + 10
    courtesy.held(0.001, 3, 0.1)
    assert courtesy.size == Courtesy.SMALLEST + 10, "a small piece says nothing about larger ones"
    courtesy.held(0.05, 200, 5.0)
    assert courtesy.size == Courtesy.LARGEST, "no live work waits"
