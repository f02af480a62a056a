from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.rates import Buckets, Pace, Rate


def test_a_burst_is_let_through_and_then_the_rate() -> None:
    buckets, rate = Buckets(), Rate(2, 3)
    assert [buckets.take("a", rate, 0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b", rate, 0) == 0
    assert buckets.take("a", rate, 0.5) == 0
    assert buckets.take("a", rate, 0.5) == 0.5
    assert [buckets.take("a", rate, 100) for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_bounded_number_of_callers_is_remembered() -> None:
    buckets, rate = Buckets(most=2), Rate(1, 1)
    for caller in ("a", "b", "c"):
        assert buckets.take(caller, rate, 0) == 0
    assert len(buckets) == 2
    assert buckets.take("c", rate, 0) == 1


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(0, 10), max_size=60))
def test_no_more_than_burst_and_rate_allow(pauses: list[float]) -> None:
    buckets, rate, now, let = Buckets(), Rate(1.5, 4), 0.0, 0
    for pause in pauses:
        now += pause
        let += buckets.take("a", rate, now) == 0
    assert let <= 4 + 1.5 * now + 1e-6


def test_a_pace_lets_a_burst_go_and_then_one_at_a_time() -> None:
    pace = Pace(4)
    assert [pace.wait(100.0) for _ in range(4)] == [0, 0, 0, 0]
    assert [pace.wait(100.0) for _ in range(3)] == [0.25, 0.5, 0.75]
    assert pace.wait(101.0) == 0
    assert pace.wait(101.0) == 0.25
    assert [pace.wait(200.0) for _ in range(5)] == [0, 0, 0, 0, 0.25]
