from __future__ import annotations

from itertools import pairwise
from math import inf
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from worker.engine.stats import LATENCY_BUCKETS, MAX_TIMED, SIZE_BUCKETS, Histogram, Sent, Stats, percentile

MS = 1000


def test_a_bucket_counts_the_values_up_to_its_bound() -> None:
    histogram = Histogram((1, 10))
    for value in (0, 1, 2, 10, 11):
        histogram.observe(value)
    assert histogram.buckets == [(1, 2), (10, 4), (inf, 5)]
    assert (histogram.count, histogram.sum) == (5, 24)


@given(st.lists(st.integers(0, 400_000)))
def test_a_histogram_agrees_with_counting_every_value(milliseconds: list[int]) -> None:
    histogram = Histogram(LATENCY_BUCKETS)
    seconds = [one / MS for one in milliseconds]
    for one in seconds:
        histogram.observe(one)
    assert histogram.buckets == [(bound, sum(one <= bound for one in seconds)) for bound in (*LATENCY_BUCKETS, inf)]
    assert histogram.count == len(seconds)


def test_bounds_ascend() -> None:
    for bounds in (LATENCY_BUCKETS, SIZE_BUCKETS):
        assert all(one < other for one, other in pairwise(bounds))
    assert (LATENCY_BUCKETS[0], LATENCY_BUCKETS[-1]) == (0.001, 300)


def test_only_the_first_announcement_of_an_unlock_is_timed() -> None:
    stats = Stats()
    for n in range(3):
        stats.start_timing(UUID(int=n), Sent(1_000 * MS, "eu"))
    stats.count_announced(UUID(int=0), new=True, now=1_040 * MS)
    stats.count_announced(UUID(int=0), new=True, now=2_000 * MS)
    stats.count_announced(UUID(int=1), new=False, now=2_000 * MS)
    stats.count_announced(UUID(int=9), new=True, now=2_000 * MS)
    assert (stats.unlock_seconds.count, stats.unlock_seconds.sum) == (1, 0.04)
    # The broker's clock may be ahead of the worker's: the sum of a histogram must never fall.
    stats.count_announced(UUID(int=2), new=True, now=900 * MS)
    assert (stats.unlock_seconds.count, stats.unlock_seconds.sum) == (2, 0.04)


def test_unlocks_that_another_worker_announces_do_not_end_the_timing() -> None:
    stats = Stats()
    for n in range(MAX_TIMED + 1):
        stats.start_timing(UUID(int=n), Sent(n * MS, ""))
    stats.count_announced(UUID(int=0), new=True, now=MAX_TIMED * MS)
    assert stats.unlock_seconds.count == 0
    stats.count_announced(UUID(int=MAX_TIMED // 2), new=True, now=MAX_TIMED * MS)
    stats.count_announced(UUID(int=MAX_TIMED), new=True, now=MAX_TIMED * MS)
    assert stats.unlock_seconds.count == 2


def test_percentiles_are_values_that_were_there() -> None:
    assert percentile([], 0.5) is None
    assert [percentile([3, 1, 2], share) for share in (0, 0.5, 0.99, 1)] == [1, 2, 3, 3]
