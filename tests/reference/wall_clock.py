"""Wall clocks for the reference evaluator, from `datetime` and `zoneinfo` alone (not from `dsl.calendar`).

A *clock* is the name of an IANA zone or a fixed offset in seconds. Units are numbered so that neighbours by
label have neighbouring numbers.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Clock = str | int

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
HOUR: Final = 3_600_000_000
DAY: Final = 24 * HOUR


@lru_cache(maxsize=4096)
def _zone(clock: Clock) -> tzinfo:
    if isinstance(clock, int):
        return timezone(timedelta(seconds=clock))
    try:
        return ZoneInfo(clock)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def instant(text: str) -> int:
    """Return an RFC 3339 instant as microseconds since the epoch."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=1 << 18)
def wall(at: int, clock: Clock) -> datetime:
    """Return what the clock on the wall shows at an instant."""
    return (EPOCH + timedelta(microseconds=at)).astimezone(_zone(clock)).replace(tzinfo=None, fold=0)


def unit_of(unit: str, shown: datetime) -> int:
    """Return the number of the unit that holds what the clock shows."""
    match unit:
        case "minute":
            return (shown.toordinal() * 24 + shown.hour) * 60 + shown.minute
        case "hour":
            return shown.toordinal() * 24 + shown.hour
        case "day":
            return shown.toordinal()
        case "week":
            return (shown.toordinal() - 1) // 7  # day 1 of the calendar, 0001-01-01, was a Monday
        case "month":
            return shown.year * 12 + shown.month - 1
        case "year":
            return shown.year
        case _:
            raise ValueError(unit)


def unit_at(unit: str, at: int, clock: Clock) -> int:
    """Return the number of the unit that an instant lies in, on a clock."""
    return unit_of(unit, wall(at, clock))


def label(unit: str, at: int, clock: Clock) -> str:
    """Return the label of the unit that an instant lies in: `2026-W15`, `2026-04-13T10`, ..."""
    shown = wall(at, clock)
    match unit:
        case "minute":
            return shown.isoformat(timespec="minutes")
        case "hour":
            return shown.isoformat(timespec="hours")
        case "day":
            return shown.date().isoformat()
        case "week":
            year, week, _ = shown.isocalendar()
            return f"{year:04}-W{week:02}"
        case "month":
            return shown.date().isoformat()[:7]
        case "year":
            return shown.date().isoformat()[:4]
        case _:
            raise ValueError(unit)


def _first_shown(unit: str, number: int) -> datetime:
    """Return what a clock shows at the start of a unit, if it does not jump there."""
    match unit:
        case "minute":
            return _first_shown("hour", number // 60).replace(minute=number % 60)
        case "hour":
            return datetime.combine(date.fromordinal(number // 24), datetime.min.time()).replace(hour=number % 24)
        case "day":
            return datetime.combine(date.fromordinal(number), datetime.min.time())
        case "week":
            return datetime.combine(date.fromordinal(number * 7 + 1), datetime.min.time())
        case "month":
            return datetime(number // 12, number % 12 + 1, 1)  # noqa: DTZ001 - a wall clock has no zone
        case _:
            return datetime(number, 1, 1)  # noqa: DTZ001 - a wall clock has no zone


def _offset(at: int, clock: Clock) -> int:
    return (wall(at, clock) - wall(at, "UTC")) // timedelta(microseconds=1)


def _jumps(low: int, high: int, clock: Clock) -> list[int]:
    """Return the instants from `low` to `high` at which the clock's offset changes."""
    found: list[int] = []
    for begin in range(low, high, HOUR):
        before, after = begin, begin + HOUR
        if _offset(before, clock) == _offset(after, clock):
            continue
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (middle, after) if _offset(middle, clock) == _offset(begin, clock) else (before, middle)
        found.append(after)
    return found


@lru_cache(maxsize=1024)
def _jumps_in(block: int, clock: Clock) -> tuple[int, ...]:
    """Return the instants in a block of a thousand hours at which the clock's offset changes."""
    return tuple(_jumps(block * 1000 * HOUR, (block + 1) * 1000 * HOUR, clock))


def shows_one(unit: str, low: int, high: int, clock: Clock) -> bool:
    """Return whether a clock shows the label of one unit from an instant to another, and no other in between."""
    number = unit_at(unit, low, clock)
    if unit_at(unit, high, clock) != number:
        return False
    # Between two jumps, a clock only goes forward.
    blocks = range(low // (1000 * HOUR), high // (1000 * HOUR) + 1)
    jumps = [jump for block in blocks for jump in _jumps_in(block, clock) if low < jump <= high]
    return all(unit_at(unit, at, clock) == number for jump in jumps for at in (jump - 1, jump))


@lru_cache(maxsize=1 << 16)
def begin(unit: str, number: int, clock: Clock) -> int:
    """Return the first instant in a unit: it shows the unit's first moment, or the clock jumps there."""
    naive = (_first_shown(unit, number) - EPOCH.replace(tzinfo=None)) // timedelta(microseconds=1)
    low, high = naive - 36 * HOUR, naive + 36 * HOUR
    jumps = _jumps(low, high, clock)
    offsets = {_offset(at, clock) for at in (low, *jumps)}
    candidates = [naive - offset for offset in offsets] + jumps
    return min(at for at in candidates if unit_at(unit, at, clock) == number)
