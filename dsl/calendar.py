"""Calendar units in a time zone.

An index identifies a unit: a whole number that grows by one from a unit to its neighbour *by label on the local
calendar*. An hour that the clock repeats has one index; an hour that the clock skips still has its own index.
Instants are microseconds since the epoch (UTC); offsets are seconds east of UTC.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from dsl.types import DAY, HOUR, MINUTE, SECOND, Unit

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_NAIVE_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - local wall clock, on purpose without a zone
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

MAX_OFFSET: Final = 24 * HOUR
"""No offset of RFC 3339, and none of a zone, is as far from UTC as this.

So what happens from an instant on lies in no unit before `unit_index(unit, instant - MAX_OFFSET)`, on any clock.
"""


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo | None:
    """Return the IANA zone called `name`, or None where there is none."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - most rule sets name no zone

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@lru_cache(maxsize=65536)
def _offset_in_quarter(name: str, quarter: int) -> tuple[int, int] | None:
    """Offsets (seconds) of zone `name` at the first and the last second of a quarter of an hour."""
    tz = zone(name)
    if tz is None:
        return None
    try:
        first = EPOCH + timedelta(seconds=quarter * 900)
        return _seconds(first.astimezone(tz)), _seconds((first + timedelta(seconds=899)).astimezone(tz))
    except OverflowError:  # the edge of the calendar: treat it as UTC
        return 0, 0


def _seconds(moment: datetime) -> int:
    offset = moment.utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def offset_at(name: str, at: int) -> int:
    """Return the offset in seconds of zone `name` (UTC where unknown) at the instant `at`."""
    seconds = at // SECOND
    pair = _offset_in_quarter(name, seconds // 900)
    if pair is None:
        return 0
    if pair[0] == pair[1]:
        return pair[0]
    tz = zone(name)
    return 0 if tz is None else _seconds((EPOCH + timedelta(seconds=seconds)).astimezone(tz))


Wall = str | int
"""A clock on a wall: the name of an IANA zone, or an offset in seconds east of UTC."""


def local_at(wall: Wall, at: int) -> int:
    """Return what a clock on a wall shows at an instant, in microseconds."""
    return at + (wall if isinstance(wall, int) else offset_at(wall, at)) * SECOND


def unit_index(unit: Unit, local: int) -> int:
    """Return the index of the unit that holds the local wall-clock time `local` (microseconds)."""
    if unit is Unit.DAY:
        return local // DAY
    if unit is Unit.HOUR:
        return local // HOUR
    if unit is Unit.MINUTE:
        return local // MINUTE
    day = local // DAY
    if unit is Unit.WEEK:
        return (day + 3) // 7
    when = _date(day)
    return when.year if unit is Unit.YEAR else when.year * 12 + when.month - 1


@lru_cache(maxsize=16384)
def _date(day: int) -> date:
    return date.fromordinal(min(max(day + _EPOCH_DAY, 1), date.max.toordinal()))


def unit_start_local(unit: Unit, index: int) -> int:
    """Return the local wall-clock time (microseconds) at which unit `index` begins."""
    if unit is Unit.DAY:
        return index * DAY
    if unit is Unit.HOUR:
        return index * HOUR
    if unit is Unit.MINUTE:
        return index * MINUTE
    if unit is Unit.WEEK:
        return (index * 7 - 3) * DAY
    year, month = (index, 1) if unit is Unit.YEAR else (index // 12, index % 12 + 1)
    return (date(min(max(year, 1), 9999), month, 1).toordinal() - _EPOCH_DAY) * DAY


def unit_start(unit: Unit, index: int, zone_name: str) -> int:
    """Return the instant at which unit `index` begins in a zone: the first one with its label.

    Where the clock skips the label's first moment, that is the instant of the jump.
    """
    local = unit_start_local(unit, index)
    tz = zone(zone_name)
    if tz is None or zone_name == "UTC":
        return local
    try:
        wall = (_NAIVE_EPOCH + timedelta(microseconds=local)).replace(tzinfo=tz)
    except OverflowError:
        return local
    # PEP 495: of a moment that the clock skips, fold 0 has the offset before the jump and fold 1 the one after.
    before, after = _seconds(wall.replace(fold=0)), _seconds(wall.replace(fold=1))
    return local - before * SECOND if after <= before else _jump(local, before, after, zone_name)


def _jump(local: int, before: int, after: int, zone_name: str) -> int:
    """Return the instant of the jump over a wall-clock time, between the two that its offsets (seconds) give."""
    low, high = local - after * SECOND, local - before * SECOND
    while low < high:
        middle = low + (high - low) // SECOND // 2 * SECOND
        if middle + offset_at(zone_name, middle) * SECOND >= local:
            high = middle
        else:
            low = middle + SECOND
    return low


def stretch(unit: Unit, at: int, wall: Wall) -> tuple[int, int]:
    """Return the span of instants, end exclusive, around `at` in which a wall clock shows one label without a break.

    That is the unit, but where a clock was set back so that a label came back after another one.
    """
    index = unit_index(unit, local_at(wall, at))
    start, following = unit_start_local(unit, index), unit_start_local(unit, index + 1)
    if following <= start:  # the edge of the calendar
        return start - DAY, 2**63
    if isinstance(wall, int):
        return start - wall * SECOND, following - wall * SECOND

    def shows(moment: int) -> bool:
        return unit_index(unit, local_at(wall, moment)) == index

    begin, end, again = unit_start(unit, index, wall), unit_start(unit, index + 1, wall), _second(start, wall)
    if end <= at:  # the next label came before: this one came back, for what is left of it
        return _turn(end, at, shows), at + following - local_at(wall, at)
    if again is None or shows(again - 1):
        return begin, end
    # The clock was set back just behind the start of the unit, so that it begins twice.
    return (again, end) if at >= again else (begin, _turn(again - 1, at, shows) + 1)


def _second(local: int, zone_name: str) -> int | None:
    """Return the second instant at which a zone shows a wall-clock time, None where it does so once at most."""
    tz = zone(zone_name)
    try:
        wall = (_NAIVE_EPOCH + timedelta(microseconds=local)).replace(tzinfo=tz)
    except OverflowError:
        return None
    before, after = _seconds(wall.replace(fold=0)), _seconds(wall.replace(fold=1))
    return local - after * SECOND if after < before else None


def _turn(no: int, yes: int, shows: Callable[[int], bool]) -> int:
    """Return the instant nearest to `no` from which on, up to `yes`, something is so that is not so at `no`."""
    while abs(yes - no) > 1:
        middle = (yes + no) // 2
        if shows(middle):
            yes = middle
        else:
            no = middle
    return yes


def label(unit: Unit, index: int) -> str:
    """Return the label of a unit: `2026-W15`, `2026-04-13`, `2026-04`, `2026`, `2026-04-13T10` or `...T10:15`."""
    local = unit_start_local(unit, index)
    day = _date(local // DAY)
    if unit is Unit.DAY:
        return day.isoformat()
    if unit is Unit.HOUR:
        return f"{day.isoformat()}T{local % DAY // HOUR:02d}"
    if unit is Unit.MINUTE:
        return f"{day.isoformat()}T{local % DAY // HOUR:02d}:{local % HOUR // MINUTE:02d}"
    if unit is Unit.WEEK:
        iso = day.isocalendar()
        return f"{iso.year:04d}-W{iso.week:02d}"
    return f"{day.year:04d}" if unit is Unit.YEAR else f"{day.year:04d}-{day.month:02d}"


def index_of(unit: Unit, text: str) -> int | None:
    """Return the index of the unit that has a label, None where none has."""
    try:
        day = _first_day(unit, text)
        hour, minute = _time(unit, text)
    except ValueError:
        return None
    index = unit_index(unit, (day - EPOCH.date()).days * DAY + hour * HOUR + minute * MINUTE)
    return index if label(unit, index) == text else None


def _time(unit: Unit, text: str) -> tuple[int, int]:
    """Return the hour and the minute in the label of a unit."""
    if unit not in {Unit.HOUR, Unit.MINUTE}:
        return 0, 0
    hour, _, minute = text.partition("T")[2].partition(":")
    return int(hour), int(minute) if unit is Unit.MINUTE else 0


def _first_day(unit: Unit, text: str) -> date:
    match unit:
        case Unit.MINUTE | Unit.HOUR | Unit.DAY:
            return date.fromisoformat(text.partition("T")[0])
        case Unit.WEEK:
            year, _, week = text.partition("-W")
            return date.fromisocalendar(int(year), int(week), 1)
        case Unit.MONTH:
            return date.fromisoformat(f"{text}-01")
        case Unit.YEAR:
            return date(int(text), 1, 1)


def minute_of(local: int) -> int:
    """Return the minute of the hour (0-59) at a local time."""
    return local // MINUTE % 60


def hour_of(local: int) -> int:
    """Return the hour (0-23) of a local wall-clock time."""
    return local % DAY // HOUR


def weekday_of(local: int) -> str:
    """Return the weekday (`mon` to `sun`) of a local wall-clock time."""
    return WEEKDAYS[(local // DAY + 3) % 7]


def date_of(local: int) -> str:
    """Return the date (`2026-04-13`) of a local wall-clock time."""
    return _date(local // DAY).isoformat()


def day_of(local: int) -> int:
    """Return the day of the month (1-31) at a local time."""
    return _date(local // DAY).day


def month_of(local: int) -> int:
    """Return the month (1-12) at a local time."""
    return _date(local // DAY).month


def year_of(local: int) -> int:
    """Return the year at a local time."""
    return _date(local // DAY).year


def week_of(local: int) -> str:
    """Return the ISO week at a local time: `2026-W15`."""
    return label(Unit.WEEK, unit_index(Unit.WEEK, local))


def format_instant(at: int) -> str:
    """Return an instant in UTC with microseconds: `2026-04-13T18:00:00.000000Z`."""
    return (EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
