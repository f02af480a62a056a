from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from worker.contract.reasons import Reason
from worker.engine.long_way import LongWay
from worker.engine.stats import Stats
from worker.probes.metrics import Metrics


def scrape(stats: Stats) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the value of each sample by its name and the values of its labels."""
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(Metrics(stats, {("ach_x", "X."): lambda: 7}).render().body.decode()):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return samples


def test_a_histogram_shows_cumulative_buckets_a_sum_and_a_count() -> None:
    stats = Stats()
    for seconds in (0.0005, 0.02, 0.5, 400):
        stats.count_latency(seconds)
    samples = scrape(stats)
    buckets = samples["ach_unlock_latency_seconds_bucket"]
    assert [buckets[le,] for le in ("0.001", "0.01", "0.02", "0.2", "0.5", "300.0", "+Inf")] == [1, 1, 2, 2, 3, 3, 4]
    assert samples["ach_unlock_latency_seconds_count"] == {(): 4}
    assert samples["ach_unlock_latency_seconds_sum"] == {(): 400.5205}


def test_a_count_by_reason_is_one_counter_with_a_label() -> None:
    stats = Stats()
    stats.dead.update(["contract", "contract", "oversize"])
    counts = scrape(stats)["ach_dead_letters_total"]
    assert {labels: value for labels, value in counts.items() if value} == {("contract",): 2, ("oversize",): 1}
    assert {reason for (reason,) in counts} == set(Reason)  # an increase from nothing is not seen, one from 0 is


def test_each_reason_for_the_long_way_is_a_label() -> None:
    stats = Stats()
    stats.long_ways.update([LongWay.DUPLICATE, LongWay.REVOKES, LongWay.DUPLICATE])
    counts = scrape(stats)["ach_long_way_total"]
    assert {labels: value for labels, value in counts.items() if value} == {("duplicate",): 2, ("revokes",): 1}
    assert {reason for (reason,) in counts} == set(LongWay)


def test_a_gauge_is_read_when_it_is_scraped() -> None:
    assert scrape(Stats())["ach_x"] == {(): 7}


def test_nothing_observed_is_shown_as_empty_buckets() -> None:
    samples = scrape(Stats())
    assert set(samples["ach_batch_events_bucket"].values()) == {0}
    assert samples["ach_batch_commit_seconds_count"] == {(): 0}
