"""Planted bugs: counts and histograms of a worker."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

STATS: Final = ("worker/engine/test_stats.py",)
METRICS: Final = ("worker/probes/test_metrics.py",)

TENANTS: Final = ("worker/engine/test_tenants.py",)
SILENCE: Final = ("worker/engine/test_silence.py",)
OBSERVER: Final = ("integration/test_observer.py",)

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
        at="_histogram",
        old="value.sum",
        new="value.count",
        tests=METRICS,
    ),
    Bug(
        "gauge_read_once",
        "a gauge is read when it is scraped",
        at="Metrics._families",
        old="_gauge(name, text, read())",
        new="_gauge(name, text, 0 * read())",
        tests=METRICS,
    ),
    Bug(
        "tenants_shown_without_end",
        "a flood of names fills no time series database",
        at="Tenants._rank",
        old="self._swaps -= 1",
        new="",
        tests=TENANTS,
    ),
    Bug(
        "hostile_tenant_shown_as_it_is",
        "a tenant's name is a harmless label",
        at="label_of",
        old="letter if letter.isprintable() else",
        new="letter if letter else",
        tests=TENANTS,
    ),
    Bug(
        "tenant_named_other_counts_as_the_rest",
        "labels of tenants are unlike each other",
        at="label_of",
        old="and name != OTHER",
        new="",
        tests=TENANTS,
    ),
    Bug(
        "usual_gap_one_hour_short",
        "the usual gap is the longest between two grants",
        at="Grants.quiet_hours",
        old="+ 1",
        new="",
        tests=SILENCE,
    ),
    Bug(
        "reason_not_shown_before_it_is_counted",
        "the first dead letter of a reason is an increase",
        at="by_name",
        old="[*names, *counts]",
        new="[*counts]",
        tests=METRICS,
    ),
    Bug(
        "denied_announcements_unnoticed",
        "a broker that forbids to announce shows in readiness",
        at="denies_publishing",
        old="is not None",
        new="is None and not said",
        tests=OBSERVER,
    ),
)
