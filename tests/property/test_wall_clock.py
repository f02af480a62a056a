"""The reference's wall clocks against manual results, and the engine's calendar against them around jumps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl import calendar
from dsl.types import SECOND, Unit
from tests.reference import wall_clock
from tests.reference.wall_clock import instant

JUMPS = {
    "Europe/Berlin": ("2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"),
    "America/New_York": ("2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"),
    "Australia/Lord_Howe": ("2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z"),
    "America/Havana": ("2026-03-08T05:00:00Z", "2026-11-01T05:00:00Z"),  # at midnight
    "Pacific/Chatham": ("2026-04-04T14:00:00Z", "2026-09-26T14:00:00Z"),  # at 02:45
    "America/St_Johns": ("2006-04-02T03:31:00Z", "2006-10-29T02:31:00Z"),  # at 00:01
    "Pacific/Apia": ("2011-12-30T10:00:00Z",),  # skips a day
    "Asia/Kathmandu": ("2026-01-01T00:00:00Z",),
}


@pytest.mark.parametrize(
    ("unit", "at", "clock", "label", "begin"),
    [
        ("hour", "2026-10-25T01:30:00Z", "Europe/Berlin", "2026-10-25T02", "2026-10-25T00:00:00Z"),
        ("day", "2026-10-25T23:00:00Z", "Europe/Berlin", "2026-10-26", "2026-10-25T23:00:00Z"),
        ("week", "2027-01-01T00:00:00Z", "UTC", "2026-W53", "2026-12-28T00:00:00Z"),
        ("month", "2026-12-31T23:00:00Z", "Europe/Berlin", "2027-01", "2026-12-31T23:00:00Z"),
        ("year", "2026-12-31T22:59:59Z", "Europe/Berlin", "2026", "2025-12-31T23:00:00Z"),
        ("day", "2026-03-08T05:00:00Z", "America/Havana", "2026-03-08", "2026-03-08T05:00:00Z"),
        ("hour", "2026-09-26T14:00:00Z", "Pacific/Chatham", "2026-09-27T03", "2026-09-26T14:00:00Z"),
        ("day", "2011-12-30T10:00:00Z", "Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"),
        ("day", "2026-04-13T04:30:00Z", -18_000, "2026-04-12", "2026-04-12T05:00:00Z"),
    ],
)
def test_units_by_hand(unit: str, at: str, clock: wall_clock.Clock, label: str, begin: str) -> None:
    assert wall_clock.label(unit, instant(at), clock) == label
    assert wall_clock.begin(unit, wall_clock.unit_at(unit, instant(at), clock), clock) == instant(begin)


MINUTE = 60 * SECOND
MID_HOUR = {instant("2026-09-26T14:00:00Z"), instant("2006-04-02T03:31:00Z")}
"""Jumps out of the middle of one hour into the middle of the next."""


@pytest.mark.parametrize(
    ("zone", "at"), [("Pacific/Chatham", "2026-09-26T14:00:00Z"), ("America/St_Johns", "2006-04-02T03:31:00Z")]
)
def test_an_hour_that_begins_with_a_jump(zone: str, at: str) -> None:
    index = calendar.unit_index(Unit.HOUR, instant(at) + calendar.offset_at(zone, instant(at)) * SECOND)
    assert calendar.unit_start(Unit.HOUR, index, zone) == instant(at)


@given(
    st.sampled_from(
        [(zone, instant(jump)) for zone, jumps in JUMPS.items() for jump in jumps if instant(jump) not in MID_HOUR]
    ),
    st.one_of(st.sampled_from((0, -1, 1)), st.integers(-3_000 * MINUTE, 3_000 * MINUTE)),
    st.sampled_from(Unit),
)
def test_the_calendar_agrees(jump: tuple[str, int], distance: int, unit: Unit) -> None:
    zone, at = jump[0], jump[1] + distance
    index = calendar.unit_index(unit, at + calendar.offset_at(zone, at) * SECOND)
    assert calendar.label(unit, index) == wall_clock.label(unit, at, zone)
    assert calendar.unit_start(unit, index, zone) == wall_clock.begin(unit, wall_clock.unit_at(unit, at, zone), zone)


@given(
    st.sampled_from([(zone, instant(jump)) for zone, jumps in JUMPS.items() for jump in jumps]),
    st.one_of(st.sampled_from((0, -1, 1)), st.integers(-3_000 * MINUTE, 3_000 * MINUTE)),
    st.sampled_from(Unit),
)
def test_a_stretch_shows_one_label_and_ends_where_another_begins(
    jump: tuple[str, int], distance: int, unit: Unit
) -> None:
    zone, at = jump[0], jump[1] + distance
    begin, end = calendar.stretch(unit, at, zone)
    assert begin <= at < end
    assert wall_clock.shows_one(unit, begin, at, zone)
    assert wall_clock.shows_one(unit, at, end - 1, zone)
    number = wall_clock.unit_at(unit, at, zone)
    assert wall_clock.unit_at(unit, begin - 1, zone) != number
    assert wall_clock.unit_at(unit, end, zone) != number


@given(st.sampled_from((0, 20_700, -43_200)), st.integers(0, 10**15), st.sampled_from(Unit))
def test_a_stretch_by_an_offset_is_the_unit(offset: int, at: int, unit: Unit) -> None:
    begin, end = calendar.stretch(unit, at, offset)
    assert begin == wall_clock.begin(unit, wall_clock.unit_at(unit, at, offset), offset)
    assert end == wall_clock.begin(unit, wall_clock.unit_at(unit, at, offset) + 1, offset)
