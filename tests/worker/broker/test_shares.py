"""How partitions are dealt, and how that is written down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.broker.deliveries import unmarked
from worker.broker.group_view import waiting_of
from worker.broker.shares import (
    MODULI,
    REST,
    StreamConfig,
    deal,
    empty,
    is_like,
    member_name,
    mirror_of,
    ranges,
    read_beat,
    read_sheet,
    sources_of,
    stream_flaw,
    transform,
    with_shares,
    write_sheet,
)
from worker.contract.partition import PARTITIONS

ALL = set(range(PARTITIONS))
names = st.sets(st.sampled_from([f"m{number}" for number in range(80)]), max_size=70)


@given(st.lists(names, min_size=1, max_size=6))
def test_every_partition_has_one_member(changes: list[set[str]]) -> None:
    shares: dict[str, tuple[int, ...]] = {}
    for members in changes:
        shares = deal(shares, members)
        assert sorted(one for share in shares.values() for one in share) == (sorted(ALL) if members else [])
        assert len(shares) == min(len(members), PARTITIONS)
        sizes = {len(share) for share in shares.values()}
        assert not sizes or max(sizes) <= 2 * min(sizes)
        assert deal(shares, members) == shares


@given(names)
def test_no_filters_overlap(members: set[str]) -> None:
    shares = deal({}, members)
    found = [one for name, share in shares.items() for one in sources_of(name, share, "events")]
    assert len({one.consumer for one in found}) == len(found)
    prefixes = sorted((one.filter or ">").removesuffix(">") for one in found)
    for one in prefixes:
        assert [other for other in prefixes if other.startswith(one)] == [one]
    assert len(members) < 2 or [one.filter for one in found if one.consumer.endswith(REST)] == ["events.>"]


def test_a_member_that_is_gone_moves_no_more_than_it_must() -> None:
    four = deal(deal({}, {"a", "b"}), {"a", "b", "c", "d"})
    three = deal(four, {"a", "c", "d"})
    assert sum(three[name] == four[name] for name in three) == 2
    assert all({*four[name]} <= {*three[name]} for name in three)


def test_a_newcomer_displaces_none_of_a_full_group() -> None:
    full = deal({}, {f"m{number:02}" for number in range(PARTITIONS)})
    assert deal(full, {*full, "a"}) == full


def test_shares_that_are_no_residue_have_no_filter() -> None:
    with pytest.raises(ValueError, match="0-1"):
        sources_of("a", (0, 1), "events")


def test_a_sheet_is_read_as_it_was_written() -> None:
    sheet = with_shares(empty("events"), deal({}, {"a", "b"}))
    assert read_sheet(write_sheet(sheet)) == sheet
    assert is_like(sheet, "events")
    assert not is_like(sheet, "other")
    assert read_sheet(b"{}") is None
    assert read_beat(b"[]") is None


def test_a_subject_is_what_it_was_published_on() -> None:
    marks = ".".join("1" for _ in MODULI)
    assert unmarked(f"@.{marks}.events.acme.ann.a.done") == "events.acme.ann.a.done"
    assert unmarked("events.acme") == "events.acme"
    assert waiting_of({f"@.{marks}.events.acme.ann.a": 3, "events.acme": 2}) == {1: 3, -1: 2}


def test_what_lies_outside_of_the_prefix_is_left_out() -> None:
    assert not mirror_of("EVENTS", ["events.>"], "events").filter_subject
    for subjects in ([">"], ["events.>", "@.>"], [], ["eventsx.>"]):
        assert mirror_of("EVENTS", subjects, "events").filter_subject == "events.>"


def test_another_stream_is_no_group() -> None:
    mirror = mirror_of("EVENTS", ["events.>"], "events")
    good = StreamConfig(retention="workqueue", mirror=mirror, subject_transform=transform("events"))
    assert not stream_flaw(good, mirror, "events")
    assert "outside" in stream_flaw(good, mirror_of("EVENTS", [">"], "events"), "events")
    assert "divides" in stream_flaw(good, mirror, "other")
    assert "mirror" in stream_flaw(StreamConfig(), mirror, "events")
    assert "limits" in stream_flaw(StreamConfig(mirror=mirror), mirror, "events")


def test_names() -> None:
    assert member_name("web.1 ü", "0123456789-ab") == "web-1---01234567"
    assert ranges([3, 1, 2, 7]) == "1-3, 7"
    assert ranges([]) == "-"
