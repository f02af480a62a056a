"""Value types of the language, as they appear in trees, programs and events.

Numbers are `int` or `Decimal`, never `float`: order of addition must not show. Instants and durations are whole
microseconds, UTC, since the Unix epoch; they are plain `int`s so that comparing positions stays cheap.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

Number = int | Decimal
Value = str | bool | int | Decimal
Listed = tuple[Value, ...]
"""The value of a list field. Only what reads lists meets one; every other field has a `Value`."""
Json = None | bool | int | float | Decimal | str | list["Json"] | dict[str, "Json"]

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY

MAX_DIGITS: Final = 38
"""Significant digits that a number in an event may have."""
MAX_ELEMENTS: Final = 1_000
"""Elements that a list in an event may have."""
MAX_USERS: Final = 100
"""Elements that a list of users in an event may have."""
MAX_USER_BYTES: Final = 512
"""Bytes of UTF-8 that the id of a user may have."""


def length(us: int) -> str:
    """Return a length, in microseconds, in the largest unit of the language that it is whole in: `7d`, `90s`."""
    for unit, letter in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")):
        if us % unit == 0:
            return f"{us // unit}{letter}"
    return f"{us}us"


class FieldType(StrEnum):
    """Types that a payload field or a trait may be declared with."""

    STRING = "string"
    INT = "int"
    DECIMAL = "decimal"
    BOOL = "bool"
    TIMESTAMP = "timestamp"
    USER = "user"
    STRINGS = "[string]"
    INTS = "[int]"
    DECIMALS = "[decimal]"
    USERS = "[user]"

    @property
    def element(self) -> FieldType | None:
        """The type of the elements of a list; None where it is no list."""
        return FieldType(self.value[1:-1]) if self.value[0] == "[" else None

    @property
    def names_users(self) -> bool:
        """Whether values are users of the tenant: one, or a list of them."""
        return self in (FieldType.USER, FieldType.USERS)


class Unit(StrEnum):
    """Calendar units. A week is an ISO week, from Monday."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
