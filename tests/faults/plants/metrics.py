"""Planted bugs: counts and histograms of a worker."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

STATS: Final = ("worker/engine/test_stats.py",)
METRICS: Final = ("worker/probes/test_metrics.py",)

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "bound_left_out_of_its_bucket",
        "a bucket counts the values up to its bound",
        at="Histogram.observe",
        old="bisect_left(self._bounds, value)",
        new="sum(bound <= value for bound in self._bounds)",
        tests=STATS,
    ),
    Bug(
        "buckets_not_cumulative",
        "a bucket counts the values up to its bound",
        at="Histogram.buckets",
        old="accumulate(self._counts)",
        new="self._counts",
        tests=STATS,
    ),
    Bug(
        "sum_not_kept",
        "a histogram has the sum of its values",
        at="Histogram.observe",
        old="self.sum += value",
        new="",
        tests=STATS,
    ),
    Bug(
        "latency_below_zero",
        "the sum of a histogram never falls",
        at="Stats.count_announced",
        old="max(0, now - sent.at)",
        new="(now - sent.at)",
        tests=STATS,
    ),
    Bug(
        "repeated_announcement_timed",
        "an unlock's latency ends with its first announcement",
        at="Stats.count_announced",
        old="if sent is not None and new:",
        new="if sent is not None:",
        tests=STATS,
    ),
    Bug(
        "timings_never_dropped",
        "memory is bounded though others announce our unlocks",
        at="Stats.start_timing",
        old="del self._timed[oldest]",
        new="pass",
        tests=STATS,
    ),
    Bug(
        "newest_timings_dropped",
        "the unlocks that are timed are the latest ones",
        at="Stats.start_timing",
        old="list(islice(self._timed, MAX_TIMED // 2))",
        new="list(self._timed)[MAX_TIMED // 2 :]",
        tests=STATS,
    ),
    Bug(
        "percentile_above_the_largest",
        "a percentile is a value that was there",
        at="percentile",
        old="min(len(ordered) - 1, int(len(ordered) * share))",
        new="int(len(ordered) * share)",
        tests=STATS,
    ),
    Bug(
        "values_above_the_last_bound_not_shown",
        "a histogram shows all its values",
        at="buckets_of",
        old="for bound, count in histogram.buckets",
        new="for bound, count in histogram.buckets if not isinf(bound)",
        tests=METRICS,
    ),
    Bug(
        "sum_not_shown",
        "a histogram has the sum of its values",
        at="Metrics.collect",
        old="sum_value=histogram.sum",
        new="sum_value=histogram.count",
        tests=METRICS,
    ),
    Bug(
        "gauge_read_once",
        "a gauge is read when it is scraped",
        at="Metrics.collect",
        old="yield GaugeMetricFamily(name, text, read())",
        new="yield GaugeMetricFamily(name, text, 0 * read())",
        tests=METRICS,
    ),
)
