from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.broker.protocol import header_block
from worker.contract.message import Message
from worker.contract.reasons import Reason
from worker.contract.transport import NO_REGION
from worker.engine.arrivals import Arrivals
from worker.engine.batch import DeadLetter
from worker.engine.decoding import decode
from worker.engine.minutes import (
    LATENCY_BUCKETS,
    MINUTE,
    MOST_PAIRS,
    MOST_REGIONS,
    MOST_TENANTS,
    MOST_WAITING,
    NO_TENANT,
    OTHERS,
    Counts,
    Minutes,
    added,
    percentile_of,
)
from worker.engine.rule_set import Deployed, RuleFile, read_rules

NOW = 29_999_999 * MINUTE
RULES = Deployed(
    1,
    read_rules([RuleFile("r.ach", 'event e {}\nachievement a { title "A" when count(event=e, >= 1) }')]),
    since={},
    prefix="events",
    skew=0,
)


def of(minutes: Minutes) -> dict[tuple[int, str], Counts]:
    return {(key[0] // MINUTE - NOW // MINUTE, key[1]): counts for key, counts in minutes.take().items()}


def message(number: int, tenant: str, region: str | None = None) -> Message:
    body = (
        f'{{"event_id":"{tenant}-{number}","event_type":"e","user_id":"u","tenant_id":"{tenant}",'
        f'"occurred_at":"2026-01-01T00:00:00Z"}}'
    )
    block = header_block({} if region is None else {"Ach-Region": region})
    return Message("events.raw", body.encode(), block, number + 1, "")


def count(minutes: Minutes, sent: list[str], fresh: int, *, duplicates: int = 0, late: int = 0) -> None:
    batch = decode(tuple(message(n, tenant) for n, tenant in enumerate(sent)), RULES, now=NOW + 10**15)
    new = Counter([(item.event.tenant, NO_REGION) for item in batch.items[:fresh]])
    by_producer = None if fresh == len(sent) else new
    arrivals = Arrivals(batch.groups, fresh, duplicates=duplicates, new_by_producer=by_producer)
    minutes.count_batch(arrivals, late=late, now=NOW)


def test_a_batch_of_one_tenant_is_its_tenants() -> None:
    minutes = Minutes()
    count(minutes, ["a"] * 5, 3, duplicates=2, late=1)
    assert minutes
    assert of(minutes) == {(0, "a"): Counts(events=3, duplicates=2, late=1)}
    assert not minutes


def test_a_batch_of_several_adds_up() -> None:
    minutes = Minutes()
    count(minutes, ["a", "b", "b", "c", "c"], 3, duplicates=2, late=1)
    assert of(minutes) == {
        (0, "a"): Counts(events=1),
        (0, "b"): Counts(events=2),
        (0, "c"): Counts(duplicates=2),
        (0, NO_TENANT): Counts(late=1),
    }
    # One of them was neither new nor a copy: which tenant's copies are which cannot be said.
    count(minutes, ["a", "b", "b"], 1, duplicates=1)
    assert of(minutes) == {(0, "a"): Counts(events=1), (0, NO_TENANT): Counts(duplicates=1)}


@pytest.mark.parametrize(
    ("subject", "tenant"),
    [
        ("events.acme.u.e", "acme"),
        ("events.a%2Fb%00.u.note.written", "a/b\ufffd"),
        ("events.raw", ""),
        ("events", ""),
        ("other.acme.u.e", ""),
        ("events.~0123456789abcdef0123456789abcdef.u.e", ""),
    ],
)
def test_dead_letters_are_those_of_the_subject(subject: str, tenant: str) -> None:
    minutes = Minutes()
    letter = DeadLetter(Message(subject, b"", b"", 1, ""), 0, Reason.CONTRACT, "", b"")
    minutes.count_batch(Arrivals(letters=[letter, letter]), late=0, now=NOW)
    ((key, counts),) = minutes.take().items()
    assert key == (NOW, tenant, NO_REGION)
    assert counts.dead == {"contract": 2}


def test_tenants_beyond_those_that_are_counted_apart_are_counted_together() -> None:
    minutes = Minutes()
    for number in range(MOST_TENANTS + 5):
        minutes.count_announced(f"t{number:04}", "live", sent_at=None, now=NOW)
    minutes.count_announced("t0000", "live", sent_at=None, now=NOW)
    minutes.count_announced("t9999", "live", sent_at=None, now=NOW + MINUTE)
    found = of(minutes)
    assert found[0, OTHERS].unlocks == 5
    assert found[0, "t0000"].unlocks == 2
    assert found[1, "t9999"].unlocks == 1
    assert len(found) == MOST_TENANTS + 2


def test_no_more_regions_are_counted_apart_than_are_worth_a_row() -> None:
    minutes = Minutes()
    for number in range(MOST_REGIONS + 3):
        minutes.count_announced("a", "live", sent_at=None, now=NOW, region=f"r{number:02}")
    minutes.count_announced("a", "live", sent_at=None, now=NOW)
    minutes.count_announced("b", "live", sent_at=None, now=NOW, region="r00")
    minutes.count_announced("b", "live", sent_at=None, now=NOW, region="r99")
    minutes.count_announced("a", "live", sent_at=None, now=NOW + MINUTE, region="r99")
    found = {key[1:]: counts.unlocks for key, counts in minutes.take().items() if key[0] == NOW}
    apart = {("a", f"r{number:02}"): 1 for number in range(MOST_REGIONS)}
    assert found == {**apart, ("a", OTHERS): 3, ("a", NO_REGION): 1, ("b", "r00"): 1, ("b", OTHERS): 1}


def test_many_tenants_in_many_regions_fill_no_table() -> None:
    minutes = Minutes()
    for number in range(MOST_TENANTS):
        for region in range(MOST_REGIONS + 5):
            minutes.count_announced(f"t{number:04}", "live", sent_at=None, now=NOW, region=f"r{region:02}")
    found = {key[1:]: counts.unlocks for key, counts in minutes.take().items()}
    assert MOST_PAIRS <= len(found) <= MOST_PAIRS + MOST_REGIONS + 2
    by_region = Counter[str]()
    for (_, region), unlocks in found.items():
        by_region[region] += unlocks
    assert by_region == {**{f"r{n:02}": MOST_TENANTS for n in range(MOST_REGIONS)}, OTHERS: 5 * MOST_TENANTS}


def test_a_batch_is_counted_by_the_regions_of_its_events() -> None:
    minutes = Minutes()
    messages = [
        message(n, tenant, region)
        for n, (tenant, region) in enumerate(zip("aaabb", ["eu", "eu", "us", "us", None], strict=True))
    ]
    batch = decode(messages, RULES, now=NOW + 10**15)
    assert batch.regions == {"eu", "us", NO_REGION}
    minutes.count_batch(Arrivals(batch.groups, batch.size, regions=batch.regions), late=1, now=NOW)
    new = Counter({("a", "eu"): 1, ("b", "us"): 1})
    copies = Arrivals(batch.groups, 2, duplicates=3, regions=batch.regions, new_by_producer=new)
    minutes.count_batch(copies, late=0, now=NOW)
    assert {key[1:]: (one.events, one.duplicates, one.late) for key, one in minutes.take().items()} == {
        ("a", "eu"): (3, 1, 0),
        ("a", "us"): (1, 1, 0),
        ("b", "us"): (2, 0, 0),
        ("b", NO_REGION): (1, 1, 0),
        (NO_TENANT, NO_REGION): (0, 0, 1),
    }


def test_what_is_known_of_a_whole_batch_is_its_tenants_though_its_regions_are_several() -> None:
    minutes = Minutes()
    batch = decode([message(0, "a", "eu"), message(1, "a", "us")], RULES, now=NOW + 10**15)
    minutes.count_batch(Arrivals(batch.groups, 2, regions=batch.regions), late=1, now=NOW)
    batch = decode([message(0, "a", "eu"), message(1, "b", "eu")], RULES, now=NOW + 10**15)
    minutes.count_batch(Arrivals(batch.groups, 2, erased=1, regions=batch.regions), late=0, now=NOW)
    found = {key[1:]: (one.late, one.erased) for key, one in minutes.take().items() if one.late or one.erased}
    assert found == {("a", NO_REGION): (1, 0), (NO_TENANT, "eu"): (0, 1)}


def test_a_backfill_is_counted_apart_and_not_timed() -> None:
    minutes = Minutes()
    minutes.count_announced("a", "backfill", sent_at=NOW - 10**6, now=NOW)
    minutes.count_announced("a", "settled", sent_at=None, now=NOW)
    minutes.count_announced("a", "live", sent_at=NOW - 30_000, now=NOW)
    minutes.count_announced("a", "live", sent_at=NOW + 10**9, now=NOW)  # the broker's clock is ahead
    (counts,) = of(minutes).values()
    assert (counts.unlocks, counts.backfilled, sum(counts.latency)) == (3, 1, 2)
    assert counts.latency[LATENCY_BUCKETS.index(0.03)] == counts.latency[0] == 1


def test_what_could_not_be_written_is_kept() -> None:
    minutes = Minutes()
    count(minutes, ["a"], 1)
    taken = minutes.take()
    count(minutes, ["a"], 1, duplicates=1)
    minutes.put_back(taken)
    assert of(minutes) == {(0, "a"): Counts(events=2, duplicates=1)}


def test_what_waits_too_long_is_lost_the_oldest_first() -> None:
    minutes = Minutes()
    minutes.put_back({(NOW + n * MINUTE, "a", NO_REGION): Counts(events=1) for n in range(MOST_WAITING + 3)})
    assert min(minutes.take()) == (NOW + 3 * MINUTE, "a", NO_REGION)


@given(st.lists(st.lists(st.integers(0, 9), max_size=20), max_size=5))
def test_histograms_add_up(several: list[list[int]]) -> None:
    whole: list[int] = []
    for one in several:
        whole = added(whole, one)
    assert sum(whole) == sum(map(sum, several))
    assert len(whole) == max(map(len, several), default=0)


def test_percentiles_are_upper_bounds() -> None:
    empty = [0] * (len(LATENCY_BUCKETS) + 1)
    assert percentile_of([], 50) is None
    assert percentile_of(empty, 99) is None
    assert percentile_of([99, 1], 50) == 0.001
    assert percentile_of([99, 1], 99) == 0.001
    assert percentile_of([98, 2], 99) == 0.002
    assert percentile_of([*empty[:-1], 1], 50) == float("inf")
