"""Cases computed manually from the language reference, one row of its tables after the other.

The reference checks the engine; these cases check the reference. `earned` gives the id of the
event that earns a condition, `start` its latest start on all the events, `unlocked` all that a text grants.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from tests.reference.hand_computed import e as at
from tests.reference.hand_computed import earned, outcome, progress, start, unlocked
from tests.reference.progress_made import Progress
from tests.reference.timeline import Subject

if TYPE_CHECKING:
    from dsl.event import Event

A1, A2, A3, A4, A5 = (at(f"13 09:0{i}", "a", f"a{i}", n=i, s="odd" if i % 2 else "even") for i in range(1, 6))


def on(*days_of_april: int, kind: str = "a", time: str = "12:00") -> list[Event]:
    """Return one event on each day, named `a13` and so on."""
    return [at(f"{day:02} {time}", kind, f"{kind}{day}") for day in days_of_april]


# -- operators -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("count(event=a, >= 1)", "a1"),
        ("count(event=a, >= 3)", "a3"),
        ("count(event=a, > 3)", "a4"),
        ("count(event=a, >= 6)", None),
        ("count(event=b, >= 1)", None),
        ("count(event=a where n > 2, >= 2)", "a4"),
        ("count(event=[a where n < 2, b], >= 1)", "a1"),
        ("count(event=[a where n < 4, b] where n > 2, >= 1)", "a3"),
        ("count(event=a, distinct=s, >= 2)", "a2"),
        ("count(event=a, distinct=s, >= 3)", None),
        ("count(event=a, distinct=n, >= 3)", "a3"),
        ("sum(event=a, of=n, >= 6)", "a3"),  # 1, 3, 6
        ("sum(event=a, of=n, > 6)", "a4"),
        ('sum(event=a where s = "even", of=n, >= 6)', "a4"),  # 2, 6
        ("max(event=a, of=n, >= 4)", "a4"),
        ("max(event=a, of=n, > 4)", "a5"),
        ("min(event=a where n > 1, of=n, <= 2)", "a2"),
        ("min(event=a, of=n, < 1)", None),
    ],
)
def test_counts_and_numbers(condition: str, expected: str | None) -> None:
    assert earned(condition, A1, A2, A3, A4, A5) == expected


def test_events_without_the_field_do_not_match() -> None:
    bare = at("13 08:00", "a", "bare")
    assert earned("count(event=a, distinct=s, >= 1)", bare, A1) == "a1"
    assert earned("sum(event=a, of=n, >= 1)", bare, A1) == "a1"
    assert earned("min(event=a, of=n, < 2)", bare, A1) == "a1"
    assert start("count(event=a, distinct=s, >= 1)", A1, at("13 10:00", "a")) == "a1"


def test_sums_are_exact() -> None:
    tenths = [at(f"13 09:{i:02}", "a", f"t{i:02}", x=Decimal("0.1")) for i in range(10)]
    assert earned("sum(event=a, of=x, >= 1)", *tenths) == "t09"
    assert earned("sum(event=a, of=x, > 1)", *tenths) is None
    tiny = at("13 10:00", "a", "tiny", x=Decimal("0.0000000000000000000000000000000000001"))
    assert earned("sum(event=a, of=x, > 1)", *tenths, tiny) == "tiny"


def test_a_signed_sum_is_the_total() -> None:
    up, down, again = (at(f"13 09:0{i}", "d", f"d{i}", m=m) for i, m in enumerate((-60, 100, 70)))
    assert earned("sum(event=d, of=m, >= 100)", up, down) is None
    assert earned("sum(event=d, of=m, >= 100)", up, down, again) == "d2"
    # A total is not held on to: 40, then 40 - 50, then b.
    late = [at("13 10:00", "d", m=-50), at("13 11:00", "b", "b")]
    both = "all(sum(event=d, of=m, >= 40), count(event=b, >= 1))"
    assert earned(both, up, down, late[1]) == "b"
    assert earned(both, up, down, *late) is None


def test_a_signed_sum_with_unless_is_the_total_since_then() -> None:
    condition = "sum(event=d, of=m, >= 100, unless=b)"
    up, down, again = (at(f"13 09:0{i}", "d", f"d{i}", m=m) for i, m in enumerate((60, -20, 60)))
    assert earned(condition, up, down, again) == "d2"
    assert earned(condition, up, at("13 09:00:30", "b"), down, again) is None
    assert earned(condition, at("13 09:01:30", "b"), down, again, at("13 10:00", "d", "d3", m=40)) == "d3"
    # What it reached once it keeps.
    both = f"all({condition}, count(event=c, >= 1))"
    assert earned(both, up, down, again, at("13 10:00", "d", m=-50), at("13 11:00", "c", "c")) == "c"
    assert earned(both, up, down, again, at("13 10:00", "b"), at("13 11:00", "c", "c")) == "c"


@pytest.mark.parametrize(
    ("condition", "days_of_april", "expected"),
    [
        ("streak(event=a, per=day, >= 3)", (13, 14, 15), "a15"),
        ("streak(event=a, per=day, >= 3)", (13, 14, 16, 17), None),
        ("streak(event=a, per=day, > 2)", (13, 14, 15), "a15"),
        ("streak(event=a, per=day, >= 2, grace=1)", (13, 15), "a15"),
        ("streak(event=a, per=day, >= 3, grace=1)", (13, 15), None),  # the bridged day does not count
        ("streak(event=a, per=day, >= 3, grace=1)", (13, 15, 17), "a17"),  # each gap for itself
        ("streak(event=a, per=day, >= 2, grace=1)", (13, 16), None),
        ("streak(event=a, per=day, >= 2, grace=2)", (13, 16), "a16"),
        ("streak(event=a, per=week, >= 2)", (13, 19, 20), "a20"),  # the 19th is a Sunday
        ("streak(event=a, per=week, >= 2)", (13, 19), None),
        ("streak(event=a, per=month, >= 1)", (30,), "a30"),
    ],
)
def test_streaks(condition: str, days_of_april: tuple[int, ...], expected: str | None) -> None:
    assert earned(condition, *on(*days_of_april)) == expected


def test_a_unit_is_active_with_min_events() -> None:
    events = [*on(13, 14, 15), at("13 13:00", "a", "13 again"), at("14 13:00", "a", "14 again")]
    assert earned("streak(event=a, per=day, >= 2, min=2)", *events) == "14 again"
    assert earned("streak(event=a, per=day, >= 3, min=2)", *events) is None


def test_a_year_and_a_month_have_neighbours_across_the_new_year() -> None:
    ends = at("2025-12-31T23:59:59Z", "a", "old"), at("2026-01-01T00:00:00Z", "a", "new")
    for unit in ("hour", "day", "month", "year"):
        assert earned(f"streak(event=a, per={unit}, >= 2)", *ends) == "new"
    assert earned("streak(event=a, per=week, >= 2)", *ends) is None  # both in 2026-W01


def test_an_hour_that_the_clock_repeats_is_one_unit() -> None:
    # Berlin, 25 October 2026: 02:30 comes twice, then 03:30.
    first, second, third = (at(f"2026-10-25T0{hour}:30:00Z", "a", f"{hour}") for hour in (0, 1, 2))
    local = 'streak(event=a, per=hour, >= {}, tz="Europe/Berlin")'
    assert earned(local.format(2), first, second) is None
    assert earned(local.format(2), first, second, third) == "2"
    assert earned(local.format(3), first, second, third) is None
    assert earned("streak(event=a, per=hour, >= 2)", first, second) == "1"
    # Lord Howe Island goes back by half an hour: from 02:00 to 01:30, at 15:00 UTC on the 4th.
    howe = at("04 14:10", "a"), at("04 15:10", "a")
    assert earned('streak(event=a, per=hour, >= 2, tz="Australia/Lord_Howe")', *howe) is None


def test_an_hour_that_the_clock_skips_is_a_gap() -> None:
    # Berlin, 29 March 2026: after 01:59 comes 03:00.
    before, after = at("2026-03-29T00:30:00Z", "a"), at("2026-03-29T01:30:00Z", "a", "after")
    assert earned('streak(event=a, per=hour, >= 2, tz="Europe/Berlin")', before, after) is None
    assert earned('streak(event=a, per=hour, >= 2, grace=1, tz="Europe/Berlin")', before, after) == "after"


def test_streak_by_the_offset_in_the_event() -> None:
    late = at("2026-04-13T23:30:00-05:00", "a", "late")  # 14 April in UTC
    early = at("2026-04-14T00:30:00-05:00", "a", "early")
    assert earned("streak(event=a, per=day, >= 2, tz=event)", late, early) == "early"
    assert earned("streak(event=a, per=day, >= 2)", late, early) is None


def test_streak_in_the_zone_of_the_user() -> None:
    late, early = at("14 03:30", "a", "late"), at("14 04:30", "a", "early")  # 23:30 and 00:30 in New York
    new_york = at("12 00:00", "user.updated", timezone="America/New_York")
    unknown = at("12 00:00", "user.updated", timezone="Middle/Earth")
    condition = "streak(event=a, per=day, >= 2, tz=user)"
    assert earned(condition, new_york, late, early) == "early"
    assert earned(condition, late, early) is None
    assert earned(condition, unknown, late, early) is None


def test_sequence_takes_its_steps_in_order() -> None:
    a, b, c = at("13 09:00", "a", "a"), at("13 10:00", "b", "b"), at("13 11:00", "c", "c")
    assert earned("sequence([a, b, c])", a, b, c) == "c"
    assert earned("sequence([a, c])", a, b, c) == "c"
    assert earned("sequence([b, a])", a, b, c) is None
    assert earned("sequence([[a, b], c])", b, c) == "c"
    assert earned("sequence([a, b where n > 1])", a, b, at("13 12:00", "b", "n", n=2)) == "n"


def test_one_event_fills_one_step() -> None:
    assert earned("sequence([a, a])", A1) is None
    assert earned("sequence([a, a])", A1, A2) == "a2"
    assert earned("sequence([a, a, a])", A1, A2) is None
    assert earned("sequence([a where n > 1, a])", A1, A2) is None
    assert earned("sequence([a where n > 1, a])", A1, A2, A3) == "a3"


def test_sequence_by_a_field() -> None:
    start_x, end_y, end_x = (
        at("13 09:00", "a", s="x"),
        at("13 10:00", "b", s="y"),
        at("13 11:00", "b", "b", s="x"),
    )
    condition = "sequence([a, b], by=s)"
    assert earned(condition, start_x, end_y) is None
    assert earned(condition, start_x, end_y, end_x) == "b"
    assert earned(condition, at("13 09:00", "a"), at("13 10:00", "b")) is None


def test_equal_instants_are_ordered_by_id() -> None:
    assert earned("sequence([a, b])", at("13 09:00", "a", "1"), at("13 09:00", "b", "2")) == "2"
    assert earned("sequence([a, b])", at("13 09:00", "a", "2"), at("13 09:00", "b", "1")) is None
    # By code point: capitals before small letters.
    assert earned("sequence([a, b])", at("13 09:00", "a", "Z"), at("13 09:00", "b", "a")) == "a"


def test_compositions() -> None:
    a, b, c = at("13 09:00", "a", "a"), at("13 10:00", "b", "b"), at("13 11:00", "c", "c")
    parts = "count(event=a, >= 1), count(event=b, >= 1), count(event=c, >= 1)"
    assert earned(f"all({parts})", a, b, c) == "c"
    assert earned(f"any({parts})", a, b, c) == "a"
    assert earned(f"at_least(2, {parts})", a, b, c) == "b"
    assert earned(f"all({parts})", a, b) is None
    assert earned("all(any(count(event=a, >= 2), count(event=b, >= 1)), count(event=a, >= 1))", a, b) == "b"


# -- latest starts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("count(event=a, >= 1)", "a5"),
        ("count(event=a, >= 2)", "a4"),
        ("count(event=a, distinct=s, >= 2)", "a4"),  # odd at a5, even at a4
        ("count(event=a, distinct=n, >= 3)", "a3"),
        ("sum(event=a, of=n, >= 5)", "a5"),
        ("sum(event=a, of=n, > 5)", "a4"),
        ("sum(event=a, of=n, >= 12)", "a3"),  # 5, 9, 12
        ("sum(event=a, of=n, > 15)", None),
        ("max(event=a where n < 5, of=n, >= 2)", "a4"),
        ("min(event=a, of=n, <= 2)", "a2"),
        ("sequence([a where n = 1, a where n > 2])", "a1"),
        ("sequence([a, a])", "a4"),
        ("sequence([a, a, a])", "a3"),
        ("all(count(event=a, >= 2), min(event=a, of=n, <= 2))", "a2"),
        ("any(count(event=a, >= 2), min(event=a, of=n, <= 2))", "a4"),
        ("any(count(event=b, >= 2), min(event=a, of=n, <= 2))", "a2"),
        ("at_least(2, count(event=a, >= 2), min(event=a, of=n, <= 2), count(event=a, >= 3))", "a3"),
        ("at_least(2, count(event=a, >= 2), count(event=b, >= 1))", None),
    ],
)
def test_latest_start(condition: str, expected: str | None) -> None:
    assert start(condition, A1, A2, A3, A4, A5) == expected


def test_latest_start_of_a_sequence_by_the_best_of_each_step() -> None:
    a1, b2, a3 = at("13 01:00", "a", "a1"), at("13 02:00", "b", "b2"), at("13 03:00", "a", "a3")
    c4, b5, c6 = at("13 04:00", "c", "c4"), at("13 05:00", "b", "b5"), at("13 06:00", "c", "c6")
    assert start("sequence([a, b, c])", a1, b2, a3, c4) == "a1"
    assert start("sequence([a, b, c])", a1, b2, a3, c4, b5) == "a1"
    assert start("sequence([a, b, c])", a1, b2, a3, c4, b5, c6) == "a3"


def test_latest_start_of_a_streak_is_the_start_of_a_unit() -> None:
    condition = "streak(event=a, per=day, >= 2)"
    assert start(condition, *on(13, 14, 15)) == "2026-04-14T00:00:00Z"
    assert start(condition, *on(13, 14, 16)) == "2026-04-13T00:00:00Z"
    assert start("streak(event=a, per=day, >= 2, grace=1)", *on(13, 14, 16)) == "2026-04-14T00:00:00Z"
    assert start("streak(event=a, per=week, >= 1)", *on(15)) == "2026-04-13T00:00:00Z"
    assert start('streak(event=a, per=day, >= 2, tz="Europe/Berlin")', *on(13, 14)) == "2026-04-12T22:00:00Z"
    # Written with -05:00, the 13th began in UTC at 13T00:00Z.
    events = at("2026-04-13T23:30:00-05:00", "a"), at("2026-04-14T00:30:00-05:00", "a")
    assert start("streak(event=a, per=day, >= 2, tz=event)", *events) == "2026-04-13T00:00:00Z"


def test_latest_start_of_a_streak_is_not_taken_back_when_the_zone_changes() -> None:
    condition = "streak(event=a, per=day, >= 1, tz=user)"
    noon = at("13 12:00", "a")
    west = at("13 13:00", "user.updated", timezone="America/New_York")
    east = at("13 14:00", "user.updated", timezone="Europe/Berlin")
    assert start(condition, noon) == "2026-04-13T00:00:00Z"
    assert start(condition, noon, west) == "2026-04-13T04:00:00Z"
    assert start(condition, noon, west, east) == "2026-04-13T04:00:00Z"
    assert start(condition, noon, east) == "2026-04-13T00:00:00Z"


# -- modifiers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "within", "expected"),
    [
        ("13 10:00", "1h", None),  # a span equal to it is too long
        ("13 09:59:59.999999", "1h", "last"),
        ("14 09:00", "1d", None),
        ("14 08:59:59.999999", "1d", "last"),
        ("13 09:00", "1s", "last"),
    ],
)
def test_within(last: str, within: str, expected: str | None) -> None:
    events = at("13 09:00", "a", "first"), at(last, "a", "last")
    assert earned(f"count(event=a, >= 2, within={within})", *events) == expected
    assert earned(f"sequence([a, a], within={within})", *events) == expected
    assert earned(f"all(count(event=a, >= 2), count(event=a, >= 1), within={within})", *events) == expected


def test_a_streak_reaches_back_to_the_start_of_its_unit() -> None:
    noons = on(13, 14)
    assert earned("streak(event=a, per=day, >= 2, within=37h)", *noons) == "a14"
    assert earned("streak(event=a, per=day, >= 2, within=36h)", *noons) is None


def test_a_part_that_held_once_continues_to_hold() -> None:
    condition = "all(count(event=a, >= 2, within=1h), count(event=b, >= 1))"
    assert earned(condition, A1, A2, *on(20, kind="b")) == "b20"
    assert earned(condition, *on(13, 14), *on(20, kind="b")) is None


def test_nested_windows() -> None:
    condition = "all(count(event=a, >= 2, within=1h), count(event=b, >= 1), within=1d)"
    pair = at("13 09:00", "a"), at("13 09:30", "a")
    assert earned(condition, *pair, at("14 08:59:59", "b", "in time")) == "in time"
    too_late = at("14 09:00", "b")
    assert earned(condition, *pair, too_late) is None
    # The next pair lies within a day of that b.
    assert earned(condition, *pair, too_late, at("14 10:00", "a"), at("14 10:30", "a", "pair")) == "pair"
    # A pair that is too slow does not move the start of the inner window.
    slow = at("14 10:00", "a"), at("14 12:00", "a")
    assert earned(condition, *pair, too_late, *slow) is None
    assert start("count(event=a, >= 2, within=1h)", *pair, *slow) == pair[0].id


def test_per_unit() -> None:
    condition = "count(event=a, >= 2, per={})"
    evening, night, morning = at("13 23:00", "a", "1"), at("14 01:00", "a", "2"), at("14 02:00", "a", "3")
    assert earned(condition.format("day"), evening, night) is None
    assert earned(condition.format("day"), evening, night, morning) == "3"
    assert earned(condition.format('day, tz="America/New_York"'), evening, night) == "2"
    assert earned(condition.format("week"), evening, night) == "2"
    assert earned(condition.format("week"), *on(19, 20)) is None
    assert earned(condition.format("month"), *on(1, 30)) == "a30"
    assert earned(condition.format("hour"), at("13 09:00", "a"), at("13 10:00", "a")) is None
    assert earned(condition.format("hour"), at("13 09:00", "a"), at("13 09:59:59", "a", "in")) == "in"


def test_per_is_of_the_whole_it_modifies() -> None:
    whole = "all(count(event=a, >= 1), count(event=b, >= 1), per=day)"
    assert earned(whole, *on(13), *on(14, kind="b")) is None
    assert earned(whole, *on(13), *on(13, kind="b")) == "b13"
    parts = "all(count(event=a, >= 1, per=day), count(event=b, >= 1, per=day))"
    assert earned(parts, *on(13), *on(14, kind="b")) == "b14"


def test_per_in_the_zone_of_the_moment() -> None:
    condition = "count(event=a, >= 2, per=day, tz=event)"
    first = at("2026-04-13T23:30:00+02:00", "a", "first")
    assert earned(condition, first, at("2026-04-14T00:30:00+02:00", "a")) is None
    assert earned(condition, first, at("2026-04-13T22:30:00Z", "a", "utc")) == "utc"  # there it was 21:30 the same day


def test_any_event_of_a_declared_type_is_a_moment() -> None:
    condition = "count(event=a, >= 2, per=day, tz=event)"
    pair = at("2026-04-13T23:30:00+02:00", "a"), at("2026-04-14T00:30:00+02:00", "a")
    later = at("20 12:00", "a", "later")
    assert earned(condition, *pair, later) is None
    assert earned(condition, *pair, at("13 22:45", "b"), later) == "later"
    assert earned(condition, *pair, at("13 22:45", "undeclared"), later) is None


def test_unless_resets_the_condition() -> None:
    condition = "count(event=a, >= 2, unless=b)"
    b = at("13 09:02:30", "b")
    assert earned(condition, A1, A2) == "a2"
    assert earned(condition, A2, b, A3) is None
    assert earned(condition, A2, b, A3, A4) == "a4"
    assert earned(condition, b, A3, A4) == "a4"
    assert earned("count(event=a, >= 2, unless=b where n > 0)", A2, b, A3) == "a3"
    assert earned("sequence([a, c], unless=b)", A2, b, at("13 10:00", "c")) is None
    # "Among or after them": an E between the last counted event and now does not unmake what held before it.
    assert earned(f"all({condition}, count(event=c, >= 1))", A1, A2, b, at("13 10:00", "c", "c")) == "c"


def test_an_event_that_is_both_counts_for_nothing() -> None:
    b1, b2 = at("13 09:00", "b"), at("13 10:00", "b")
    assert earned("count(event=[a, b], >= 2, unless=b)", A1, b2) is None
    assert earned("count(event=[a, b], >= 2, unless=b)", b1, A1) is None
    assert earned("count(event=[a, b], >= 2, unless=b)", b1, A1, A2) == "a2"
    assert earned("count(event=a, >= 1, unless=a)", A1, A2) is None
    assert earned("count(event=a, >= 2, unless=a where n = 2)", A1, A2, A3) is None
    assert earned("count(event=a, >= 2, unless=a where n = 2)", A1, A2, A3, A4) == "a4"


def test_unless_at_the_same_instant_is_decided_by_id() -> None:
    condition = "count(event=a, >= 1, unless=b)"
    assert earned(condition, at("13 09:00", "b", "1"), at("13 09:00", "a", "2")) == "2"
    pair = "count(event=a, >= 2, unless=b)"
    assert earned(pair, A1, A2, at("13 09:02", "b", "a1b")) is None  # before a2
    assert earned(pair, A1, A2, at("13 09:02", "b", "a2b")) == "a2"  # after a2, which has earned it by then


def test_unless_spoils_the_whole_unit_of_a_streak() -> None:
    condition = "streak(event=a, per=day, >= 2, unless=b)"
    assert earned(condition, *on(13, 14, 15), at("14 08:00", "b")) is None
    assert earned(condition, *on(13, 14, 15, 16), at("14 08:00", "b")) == "a16"
    assert earned(condition, *on(13, 14), at("12 23:59", "b")) == "a14"


def test_within_per_and_unless_together() -> None:
    condition = "count(event=a, >= 2, within=1h, per=day, unless=b)"
    assert earned(condition, A1, A2) == "a2"
    assert earned(condition, at("13 23:30", "a"), at("14 00:10", "a")) is None
    assert earned(condition, at("13 09:00", "a"), at("13 10:00", "a")) is None
    assert earned(condition, A1, at("13 09:01:30", "b"), A2) is None


# -- filters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "fields", "expected"),
    [
        ("n = 1", {"n": 1}, True),
        ("n = 1", {}, False),
        ("not n = 1", {}, True),
        ("not n = 1", {"n": 1}, False),
        ("n != 1", {}, False),
        ("n != 1", {"n": 2}, True),
        ("n in [1, 2]", {"n": 2}, True),
        ("n in [1, 2]", {}, False),
        ("n not in [1, 2]", {"n": 3}, True),
        ("n not in [1, 2]", {}, False),
        ("not n in [1, 2]", {}, True),
        ("n is present", {"n": 0}, True),
        ("n is present", {}, False),
        ("n is not present", {}, True),
        ("f", {"f": True}, True),
        ("f", {"f": False}, False),
        ("f", {}, False),
        ("not f", {}, True),
        ("f = false", {"f": False}, True),
        ("f = false", {}, False),
        ("x < 1.5", {"x": Decimal("1.49")}, True),
        ("x = 1.5", {"x": Decimal("1.50")}, True),
        ('s > "Z"', {"s": "a"}, True),
        ('s >= "a"', {"s": "Z"}, False),
        ('s = "A"', {"s": "a"}, False),
        ("t < 2026-04-13T10:00:00+02:00", {"t": 0}, True),
        ("t = 1970-01-01T00:00:01Z", {"t": 1_000_000}, True),
        ("n = 1 or n = 2 and f", {"n": 1}, True),
        ("(n = 1 or n = 2) and f", {"n": 1}, False),
        ("not n = 1 and f", {"n": 2, "f": True}, True),
        ("not (n = 2 and f)", {"n": 2, "f": True}, False),
        ("at.hour = 23", {}, True),
        ("at.hour < 23", {}, False),
        ('at.weekday = "mon"', {}, True),
        ('at.weekday in ["sat", "sun"]', {}, False),
        ('at.date = "2026-04-13"', {}, True),
        ('at.date >= "2026-04-14"', {}, False),
    ],
)
def test_filters(where: str, fields: dict[str, Any], expected: bool) -> None:
    assert earned(f"count(event=a where {where}, >= 1)", at("13 23:30", "a", "a", **fields)) == (
        "a" if expected else None
    )


def test_built_ins_by_the_zone_of_the_operator() -> None:
    condition = 'count(event=a where at.date = "2026-04-14", >= 1, tz={})'
    event = at("2026-04-14T00:30:00+02:00", "a", "a")  # the 13th in UTC
    assert earned(condition.format('"UTC"'), event) is None
    assert earned(condition.format('"Europe/Berlin"'), event) == "a"
    assert earned(condition.format("event"), event) == "a"
    assert earned(condition.format("user"), event) is None
    berlin = at("01 00:00", "user.updated", timezone="Europe/Berlin")
    assert earned(condition.format("user"), berlin, event) == "a"
    # The zone at the time of the event, not the one that came after it.
    assert earned(condition.format("user"), event, at("15 00:00", "user.updated", timezone="Europe/Berlin")) is None
    # The zone of a composition is not that of its parts, and that of an operator is that of its `unless`.
    assert earned('all(count(event=a where at.hour = 0, >= 1), tz="Europe/Berlin")', event) is None
    unless = 'count(event=a, >= 1, unless=a where at.hour = 0, tz="Europe/Berlin")'
    assert earned(unless, event) is None


# -- clauses -------------------------------------------------------------------------------------------------


def test_after_and_unlocked() -> None:
    base = 'achievement base { title "Base" when count(event=b, >= 1) }'
    b = at("13 09:02:30", "b", "b")
    after = base + 'achievement x { title "X" when count(event=a, >= 1) after base }'
    assert unlocked(after, A1, b, A3) == ["base < b", "x < b"]  # x hears what base hears
    assert unlocked(after, A1, A3) == []
    assert unlocked(after, b, A3) == ["base < b", "x < a3"]
    asks = base + 'achievement x { title "X" when all(count(event=a, >= 1), unlocked(base)) }'
    assert unlocked(asks, A1, b, A3) == ["base < b", "x < b"]
    soon = base + 'achievement x { title "X" when all(count(event=a, >= 1), unlocked(base), within=1h) }'
    assert unlocked(soon, b, A3) == ["base < b", "x < a3"]
    assert unlocked(soon, b, *on(14)) == ["base < b"]
    # The earliest unlock is the one that counts.
    assert unlocked(soon, b, at("14 12:30", "b"), *on(14)) == ["base < b"]


def test_after_a_tier() -> None:
    base = """achievement base { title "B"
      tier one { when count(event=b, >= 1) } tier two { when count(event=b, >= 2) } }"""
    events = [*on(13, 14, kind="b"), *on(15)]
    text = """achievement x { title "X" when unlocked(%s) }
      achievement y { title "Y" when count(event=b, >= 1) after %s }"""
    assert unlocked(base + text % ("base", "base"), *events)[2:] == ["x < b13", "y < b13"]
    assert unlocked(base + text % ("base.one", "base.one"), *events)[2:] == ["x < b13", "y < b13"]
    assert unlocked(base + text % ("base.two", "base.two"), *events)[2:] == ["x < b14", "y < b14"]


def test_for_asks_the_traits_at_that_moment() -> None:
    text = 'achievement x { title "X" when count(event=a, >= 1) for plan = "pro" and level >= 2 }'
    pro, two = (
        at("13 10:00", "user.updated", "pro", plan="pro"),
        at("13 11:00", "user.updated", "two", level=2),
    )
    assert unlocked(text, A1) == []
    assert unlocked(text, A1, pro) == []
    assert unlocked(text, A1, pro, two) == ["x < two"]  # a trait event is heard
    assert unlocked(text, pro, two, *on(14)) == ["x < a14"]
    free = at("13 12:00", "user.updated", plan="free")
    assert unlocked(text, pro, two, free, *on(14)) == []
    other = at("13 10:00", "user.updated", user="v", plan="pro", level=2)
    assert unlocked(text, other, *on(14)) == []


def test_without_for_a_trait_event_is_not_heard() -> None:
    text = 'achievement x { title "X" when count(event=a, >= 1) active 2026-04-14T00:00:00Z .. }'
    assert unlocked(text, A1, at("15 00:00", "user.updated", plan="pro")) == []
    assert unlocked(text, A1, at("15 00:00", "user.updated", plan="pro"), *on(16)) == ["x < a16"]


def test_active_from_inclusive_to_exclusive() -> None:
    text = 'achievement x { title "X" when count(event=a, >= 2) active %s }'
    both = text % "2026-04-14T12:00:00Z .. 2026-04-16T12:00:00Z"
    assert unlocked(both, *on(13, 14, 15)) == ["x < a15"]
    assert unlocked(both, *on(13, 15, 16)) == []
    assert unlocked(text % "2026-04-14T12:00:00Z ..", *on(13, 14, 20)) == ["x < a20"]
    assert unlocked(text % ".. 2026-04-14T12:00:00Z", *on(13, 14)) == []
    # Outside, nothing is seen "at all": an E of `unless` neither.
    unless = text.replace(">= 2", ">= 2, unless=b") % "2026-04-14T00:00:00Z ..2026-04-16T00:00:00Z"
    assert unlocked(unless, at("13 00:00", "b"), *on(14, 15)) == ["x < a15"]


def test_repeat_each_numbers_its_occurrences() -> None:
    text = 'achievement x { title "X" when count(event=a, >= 2) repeat each }'
    assert unlocked(text, A1, A2, A3, A4, A5) == ["x 1 < a2", "x 2 < a4"]
    tiers = """achievement x { title "X" repeat each
      tier low { when count(event=a, >= 1) } tier high { when count(event=a, >= 2) } }"""
    assert unlocked(tiers, A1, A2, A3) == ["x.high 1 < a2", "x.low 1 < a1", "x.low 2 < a2", "x.low 3 < a3"]


def test_repeat_each_forgets_events_but_not_unlocks() -> None:
    base = 'achievement base { title "B" when count(event=b, >= 1) }'
    text = 'achievement x { title "X" when all(count(event=a, >= 1), unlocked(base)) repeat each }'
    assert unlocked(base + text, at("13 08:00", "b", "b"), A1, A2) == ["base < b", "x 1 < a1", "x 2 < a2"]
    streak = 'achievement x { title "X" when streak(event=a, per=day, >= 2) repeat each }'
    assert unlocked(streak, *on(13, 14, 15), *on(14, time="13:00"), *on(16)) == ["x 1 < a14", "x 2 < a16"]


def test_repeat_every_unit() -> None:
    text = 'achievement x { title "X" when count(event=a, >= 2) repeat every %s }'
    assert unlocked(text % "week", *on(13, 14, 15, 19, 20, 27, 28)) == [
        "x 2026-W16 < a14",
        "x 2026-W18 < a28",
    ]
    assert unlocked(text % "day", A1, A2, *on(14)) == ["x 2026-04-13 < a2"]
    assert unlocked(text % "month", *on(13, 14)) == ["x 2026-04 < a14"]
    assert unlocked(text % "year", *on(13, 14)) == ["x 2026 < a14"]
    assert unlocked(text % "hour", A1, A2) == ["x 2026-04-13T09 < a2"]
    edge = at("13 22:30", "a", "1"), at("13 23:30", "a", "2")
    assert unlocked(text % 'day tz="Europe/Berlin"', *edge) == ["x 2026-04-14 < 2"]
    assert unlocked(text % 'day tz="America/New_York"', *edge) == ["x 2026-04-13 < 2"]


def test_an_occurrence_is_earned_inside_its_unit() -> None:
    text = 'achievement x { title "X" when count(event=a, >= 2) for plan = "pro" repeat every week }'
    pro = at("20 00:00", "user.updated", "pro", plan="pro")
    assert unlocked(text, *on(13, 14), pro) == []
    assert unlocked(text, *on(13, 14), pro, *on(21, 22)) == ["x 2026-W17 < a22"]


def test_scopes() -> None:
    text = 'achievement x { title "X" when count(event=a, >= 2) scope %s }'
    events = [
        at("13 09:00", "a", "1", user="u", team="red"),
        at("13 10:00", "a", "2", user="v", team="blue"),
        at("13 11:00", "a", "3", user="w", team="red"),
        at("13 12:00", "a", "4", user="u"),
        at("13 13:00", "a", "5", user="u", tenant="other", team="red"),
    ]
    assert unlocked(text % "user", *events) == ["x < 4"]
    assert unlocked(text % "tenant", *events) == ["x < 2"]
    assert unlocked(text % "team", *events) == ["x < 3"]
    assert unlocked(text % "team", *events, by="subject") == ["x < red"]
    assert outcome(text % "team", *events).unlocks[0].subject == Subject("t", "team", "red")
    empty = [at("13 09:00", "a", team=""), at("13 10:00", "a", team="")]
    assert unlocked(text % "team", *empty) == []


def test_versions_are_judged_by_when_it_occurred() -> None:
    text = """achievement x version 1 { title "X" when count(event=a, >= 2) }
      achievement x version 2 from 2026-04-14T12:00:00Z { title "X" when count(event=a, >= 4) }"""
    assert unlocked(text, *on(12, 13), by="version") == ["x < v1"]
    assert unlocked(text, *on(13, 14)) == []  # the second at `from` itself: version 2
    assert unlocked(text, *on(13, 14, 15, 16)) == ["x < a16"]  # progress counts all history
    assert unlocked(text, *on(13, 14, 15, 16), by="version") == ["x < v2"]
    assert unlocked(text, *on(12, 13, 14, 15, 16), by="version") == ["x < v1"]  # one unlock, whatever the version


def test_a_lowered_bound_is_judged_at_its_begin() -> None:
    text = """achievement x version 1 { title "X" when count(event=a, >= 9) }
      achievement x version 2 from 2026-04-14T00:00:00Z { title "X" when count(event=a, >= 1) }"""
    assert unlocked(text, *on(13)) == []
    assert unlocked(text, *on(13), *on(15, kind="b")) == ["x < "]
    assert unlocked(text, *on(13), *on(15, kind="b"), *on(16)) == ["x < "]


def test_fresh_counts_from_then_on() -> None:
    text = """achievement x version 1 { title "X" when count(event=a, >= 9) }
      achievement x version 2 from 2026-04-14T12:00:00Z fresh { title "X" when count(event=a, >= 2) }"""
    assert unlocked(text, *on(12, 13, 15)) == []
    assert unlocked(text, *on(12, 13, 15, 16)) == ["x < a16"]
    assert unlocked(text, *on(13, 14, 15)) == ["x < a15"]  # `from` is inclusive


def test_first_version_with_from_is_not_in_effect_before() -> None:
    text = 'achievement x version 1 from 2026-04-14T00:00:00Z { title "X" when count(event=a, >= 1) }'
    assert unlocked(text, *on(12, 13)) == []
    assert unlocked(text, *on(12, 13, 14)) == ["x < "]
    assert unlocked(text, *on(14)) == ["x < a14"]


def test_repeat_each_over_versions_goes_on_after_the_last_unlock() -> None:
    text = """achievement x version 1 { title "X" when count(event=a, >= 2) repeat each }
      achievement x version 2 from 2026-04-15T00:00:00Z { title "X" when count(event=a, >= 3) repeat each }"""
    assert unlocked(text, *on(12, 13, 14, 15, 16, 17)) == ["x 1 < a13", "x 2 < a16"]


def test_settle_waits_for_the_clock_of_the_stream() -> None:
    text = 'achievement x { title "X" when count(event=a, >= 1, unless=b) settle 1h }'
    then = 'achievement y { title "Y" when count(event=a, >= 1) after x }'
    almost, passed = at("13 10:00:59", "c"), at("13 10:01", "c", tenant="other", user="w")
    assert unlocked(text + then, A1, almost) == ["y < a1"]  # what waits counts as earned
    assert unlocked(text, A1, passed) == ["x < a1"]


# -- once per ------------------------------------------------------------------------------------------------


def test_once_per_counts_from_the_last_one_that_counted() -> None:
    text = 'achievement x { title "X" when count(event=o, >= 1) repeat each }'
    times = ("09:00", "09:06", "09:09:59.999999", "09:10", "09:12", "09:19", "09:20")
    events = [at(f"13 {time}", "o", time, k="k") for time in times]
    assert unlocked(text, *events) == ["x 1 < 09:00", "x 2 < 09:10", "x 3 < 09:20"]
    assert outcome(text, *events).copies == {Subject("t", "user", "u"): 4}
    # 09:06 does not count, so 09:12 is measured from 09:00.
    assert unlocked(text, events[0], events[1], events[4]) == ["x 1 < 09:00", "x 2 < 09:12"]


def test_a_fingerprint_is_of_one_user_type_and_values() -> None:
    text = 'achievement x { title "X" when count(event=[o, p], >= 1) repeat each %s }'
    other_value = [at("13 09:00", "o", "1", k="k"), at("13 09:01", "o", "2", k="j"), at("13 09:02", "o", "3")]
    assert unlocked(text % "", *other_value, at("13 09:03", "o", "4")) == ["x 1 < 1", "x 2 < 2", "x 3 < 3"]
    other_type = [at("13 09:00", "o", "1", k="k"), at("13 09:01", "p", "2", k="k")]
    assert unlocked(text % "", *other_type) == ["x 1 < 1", "x 2 < 2"]
    other_user = [at("13 09:00", "o", "1", k="k"), at("13 09:01", "o", "2", k="k", user="v")]
    assert unlocked(text % "scope tenant", *other_user) == ["x 1 < 1", "x 2 < 2"]
    rest_differs = [at("13 09:00", "o", "1", k="k", n=1), at("13 09:01", "o", "2", k="k", n=2)]
    assert unlocked(text % "", *rest_differs) == ["x 1 < 1"]


def test_once_per_without_a_span_is_once_ever() -> None:
    text = 'achievement x { title "X" when count(event=p, >= 1) repeat each }'
    first, copy = at("13 09:00", "p", "1", k="k"), at("2030-01-01T00:00:00Z", "p", "2", k="k")
    assert unlocked(text, first, copy) == ["x 1 < 1"]
    assert unlocked(text, first, copy, at("14 09:00", "p", "3", k="k", l="l")) == ["x 1 < 1", "x 2 < 3"]


def test_copies_are_found_regardless_of_active() -> None:
    text = 'achievement x { title "X" when count(event=o, >= 1) active 2026-04-13T09:05:00Z .. }'
    assert unlocked(text, at("13 09:00", "o", "1", k="k"), at("13 09:06", "o", "2", k="k")) == []


def test_the_first_in_canonical_order_counts() -> None:
    text = 'achievement x { title "X" when count(event=o where n > 0, >= 1) }'
    early, late = at("13 09:00", "o", "1", k="k", n=0), at("13 09:01", "o", "2", k="k", n=1)
    assert unlocked(text, late) == ["x < 2"]
    assert unlocked(text, late, early) == []
    same = at("13 09:01", "o", "3", k="k", n=1)
    assert unlocked(text, same, late) == ["x < 2"]


# -- progress ------------------------------------------------------------------------------------------------


def ratio(current: int | str, target: int) -> Progress:
    return Progress(Fraction(current) / target, Fraction(current), Fraction(target))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("count(event=a, >= 10)", ratio(5, 10)),
        ("count(event=a, > 10)", ratio(5, 11)),
        ("count(event=a, >= 3)", ratio(3, 3)),
        ("count(event=a, distinct=s, >= 10)", ratio(2, 10)),
        ("count(event=b, >= 10)", ratio(0, 10)),
        ("sum(event=a, of=n, >= 20)", ratio(15, 20)),
        ("sum(event=a, of=n, > 20)", ratio(15, 21)),
        ("sum(event=a, of=x, > 20)", ratio(0, 20)),
        ("max(event=a, of=n, >= 8)", ratio(5, 8)),
        ("min(event=a, of=n, <= 0)", ratio(0, 1)),
        ("min(event=a, of=n, <= 1)", ratio(1, 1)),
        ("sequence([a, a, b, c])", ratio(2, 4)),
        ("unlocked(never)", ratio(0, 1)),
        ("streak(event=a, per=day, >= 4)", ratio(1, 4)),
        ("all(count(event=a, >= 10), count(event=b, >= 1))", Progress(Fraction(1, 4))),
        ("any(count(event=a, >= 10), count(event=b, >= 1))", Progress(Fraction(1, 2))),
        (
            "at_least(2, count(event=a, >= 10), count(event=a, >= 20), count(event=b, >= 1))",
            Progress(Fraction(3, 8)),
        ),
        ("count(event=a, >= 10, within=3m)", ratio(3, 10)),  # a2 lies 3 minutes back
        ("count(event=a, >= 10, unless=a where n = 2)", ratio(3, 10)),
        ("sum(event=a, of=n, >= 20, within=2m)", ratio(9, 20)),
        ("all(count(event=a, >= 10), count(event=b, >= 1), within=3m)", Progress(Fraction(3, 20))),
    ],
)
def test_progress(condition: str, expected: Progress) -> None:
    assert progress(condition, A1, A2, A3, A4, A5) == expected


def test_progress_in_the_unit_of_now() -> None:
    condition = "count(event=a, >= 10, per=day)"
    assert progress(condition, *on(13, 14)) == ratio(1, 10)
    assert progress(condition, *on(13, 14), now="14 23:59") == ratio(1, 10)
    assert progress(condition, *on(13, 14), now="15 00:00") == ratio(0, 10)


def test_progress_of_the_current_run() -> None:
    condition = "streak(event=a, per=day, >= 5)"
    assert progress(condition, *on(13, 14)) == ratio(2, 5)
    assert progress(condition, *on(13, 14, 16)) == ratio(1, 5)
    assert progress(condition, *on(13, 14), now="15 23:59") == ratio(2, 5)  # today may still become active
    assert progress(condition, *on(13, 14), now="16 00:00") == ratio(0, 5)
    assert progress("streak(event=a, per=day, >= 5, grace=1)", *on(13, 14), now="16 00:00") == ratio(2, 5)
    assert progress("streak(event=a, per=day, >= 5, within=37h)", *on(12, 13, 14)) == ratio(2, 5)


def test_a_part_that_held_once_is_full() -> None:
    burst = "count(event=a, >= 2, within=1h)"
    assert progress(burst, A1, A2, *on(20)) == ratio(2, 2)
    assert progress(f"all({burst}, count(event=c, >= 9))", A1, A2, *on(20)).fraction == Fraction(1, 2)
    # Not where the window around it has left it behind.
    assert progress(f"all({burst}, count(event=c, >= 9), within=1d)", A1, A2, *on(20)).fraction == Fraction(1, 4)
    assert progress("streak(event=a, per=day, >= 2)", *on(13, 14, 20)) == ratio(2, 2)
    assert progress("count(event=a, >= 2, unless=b)", A1, A2, *on(20, kind="b")) == ratio(2, 2)


def test_progress_of_a_signed_sum_stays_between_0_and_1() -> None:
    assert progress("sum(event=d, of=m, >= 10)", at("13 09:00", "d", m=-5)) == ratio(0, 10)
    assert progress("sum(event=d, of=m, >= 10)", at("13 09:00", "d", m=5)) == ratio(5, 10)


def test_progress_is_full_once_earned() -> None:
    text = 'achievement x { title "X" when count(event=a, >= 2, within=1h) %s }'
    [full] = outcome(text % "", A1, A2, *on(20, kind="b")).progress.values()
    assert full == ratio(2, 2)
    # With `repeat`, of the current occurrence.
    [each] = outcome(text % "repeat each", A1, A2, A3).progress.values()
    assert each == ratio(1, 2)
    [this_day] = outcome(text % "repeat every day", A1, A2).progress.values()
    assert this_day == ratio(2, 2)
    [next_day] = outcome(text % "repeat every day", A1, A2, *on(14)).progress.values()
    assert next_day == ratio(1, 2)


def test_progress_is_of_the_version_in_effect() -> None:
    text = """achievement x version 1 { title "X" when count(event=a, >= 4) }
      achievement x version 2 from 2026-04-14T00:00:00Z %s { title "X" when count(event=a, >= 8) }"""
    assert list(outcome(text % "", *on(12, 13)).progress.values()) == [ratio(2, 4)]
    assert list(outcome(text % "", *on(12, 13, 14)).progress.values()) == [ratio(3, 8)]
    assert list(outcome(text % "fresh", *on(12, 13, 14)).progress.values()) == [ratio(1, 8)]
    future = 'achievement x version 1 from 2026-05-01T00:00:00Z { title "X" when count(event=a, >= 4) }'
    assert outcome(future, A1).progress == {}
