"""Planted bugs: counts, histograms and their labels, and the links of alerts."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

STATS: Final = ("worker/engine/test_stats.py",)
METRICS: Final = ("worker/probes/test_metrics.py",)

TENANTS: Final = ("worker/engine/test_tenants.py",)
SILENCE: Final = ("worker/engine/test_silence.py",)
OBSERVER: Final = ("integration/test_observer.py",)
BOUNDED: Final = "integration/test_metrics_bounded.py"
ALERTS: Final = "worker/commands/test_alerts.py"

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
    Bug(
        "types_of_producers_become_labels",
        "producers make up no labels",
        at="Stats.count_evaluation",
        old="name if name in heard else OTHER",
        new="name",
        tests=(f"{BOUNDED}::test_ten_thousand_tenants_types_and_reasons_are_a_bounded_number_of_samples",),
    ),
    Bug(
        "requests_of_the_read_api_not_counted",
        "requests of the read API are counted by operation and status",
        at="ServeGate.note",
        old='self._stats.count(scope.get("ach.operation"), status, seconds)',
        new="pass",
        tests=(f"{BOUNDED}::test_callers_make_up_no_labels_of_the_read_api",),
    ),
    Bug(
        "methods_of_callers_become_labels",
        "callers make up no labels",
        at="IngestGate.note",
        old='"none" if operation is None else operation.name',
        new='scope["method"]',
        tests=(f"{BOUNDED}::test_callers_make_up_no_labels_of_ingest",),
    ),
    Bug(
        "links_to_one_playbook",
        "an alert links its own playbook",
        at="commands.alerts:linked",
        old="found[2]",
        new='"no-worker"',
        tests=(f"{ALERTS}::test_each_rule_links_the_file_of_its_playbook",),
    ),
    Bug(
        "links_that_open_nowhere",
        "a link of an alert opens in a browser",
        at="commands.alerts:_pattern",
        old='parts.scheme in {"http", "https"} and',
        new="",
        tests=(f"{ALERTS}::test_what_no_browser_opens_is_refused",),
    ),
    Bug(
        "links_with_a_template",
        "a link of an alert is no template of Prometheus",
        at="commands.alerts:_pattern",
        old='or _UNFIT.search(url.replace(PAGE, ""))',
        new="",
        tests=(f"{ALERTS}::test_what_no_browser_opens_is_refused",),
    ),
)
