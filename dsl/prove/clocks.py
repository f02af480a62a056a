"""Clocks that run backwards: where the label of a calendar unit may come back after a later one.

An hour that a clock repeats as a whole is one unit, and nothing comes back. But where a clock is set back from 03:45 to
02:45, the labels run 02, 03, 02, 03; then a later start within a unit need not lie in that unit.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from dsl.calendar import offset_at, unit_index
from dsl.types import DAY, SECOND, Unit

if TYPE_CHECKING:
    from dsl.syntax import Zone

_FIRST: Final = 0
_LAST: Final = 68 * 365 * DAY
"""From 1970 to 2038, as far as time zone databases list what they know; later years repeat the last rule."""
_STRIDE: Final = 5 * DAY
"""Shorter than any time for which a clock was ever set forward or back."""


def steady(tz: Zone | None, unit: Unit) -> bool:
    """Return whether the labels of a unit never come back in a zone; not proven for the zones of users."""
    if tz is None or tz.kind == "event":
        return True
    return tz.kind == "iana" and _steady(tz.name, unit)


@cache
def _steady(name: str, unit: Unit) -> bool:
    return all(
        unit_index(unit, at - 1 + before * SECOND) <= unit_index(unit, at + after * SECOND)
        for at, before, after in _set_back(name)
    )


@cache
def _set_back(name: str) -> tuple[tuple[int, int, int], ...]:
    """Return when a clock was set back, with the offsets in seconds before and after."""
    if name == "UTC":
        return ()
    found: list[tuple[int, int, int]] = []
    offset = offset_at(name, _FIRST)
    for begin in range(_FIRST, _LAST, _STRIDE):
        after = offset_at(name, begin + _STRIDE)
        if after < offset:
            found.append((_moment(name, begin, begin + _STRIDE, offset), offset, after))
        offset = after
    return tuple(found)


def _moment(name: str, low: int, high: int, before: int) -> int:
    """Return the instant between two at which a clock stops having an offset."""
    while high - low > SECOND:
        middle = (low + high) // 2 // SECOND * SECOND
        if offset_at(name, middle) == before:
            low = middle
        else:
            high = middle
    return high
