"""What a filter may ask of an event beside its payload: who did it, and when by the clock of a zone.

`at` is the instant itself and needs no zone; `actor` is the user of the event. All others are read from local time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.calendar import date_of, day_of, hour_of, minute_of, month_of, week_of, weekday_of, year_of
from dsl.types import FieldType

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.types import Value

ACTOR: Final = "actor"
AT: Final = "at"
ZONED: Final[dict[str, Callable[[int], Value]]] = {
    "at.minute": minute_of,
    "at.hour": hour_of,
    "at.weekday": weekday_of,
    "at.day": day_of,
    "at.month": month_of,
    "at.year": year_of,
    "at.week": week_of,
    "at.date": date_of,
}
"""What reads the event's own time, by the name that a rule gives it: from microseconds on the local clock."""
TYPES: Final = {
    **dict.fromkeys(("at.minute", "at.hour", "at.day", "at.month", "at.year"), FieldType.INT),
    **dict.fromkeys(("at.weekday", "at.week", "at.date"), FieldType.STRING),
    AT: FieldType.TIMESTAMP,
    ACTOR: FieldType.USER,
}
"""The type of each."""
COUNTED: Final = frozenset({*ZONED, ACTOR})
"""What `distinct=` may name beside fields."""
UNLOCKS: Final = "unlocks"
"""What stands in the place of an event name for the unlocks of the subject itself."""
REWARD: Final = "reward."
"""What the fields of unlocks begin with that have the values of rewards."""
UNLOCK_FIELDS: Final = ("achievement", "tier", "family", "occurrence")
"""The other fields of unlocks."""


def is_reward(name: str) -> bool:
    """Return whether a name is that of a value in the rewards of unlocks: `reward.xp`."""
    return name.startswith(REWARD) and "." not in name.removeprefix(REWARD) and "$" not in name


RANGES: Final = {
    "at.minute": (0, 59),
    "at.hour": (0, 23),
    "at.day": (1, 31),
    "at.month": (1, 12),
    "at.year": (1, 9999),
}
"""The least and the greatest value of those that are numbers."""
