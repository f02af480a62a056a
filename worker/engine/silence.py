"""When each achievement was granted last, and how long it has usually been quiet between grants. Pure.

An achievement whose rule hears nothing any more looks like one that is hard to earn. What tells them apart is its own
past: the longest time without a grant, by whole hours, in the weeks before the latest one. The past is that of the
grants and ends with the latest, so a rule that stays silent keeps it for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

HOUR: Final = 3_600_000_000
"""Microseconds."""
HOURS: Final = 28 * 24
"""Of the past that is remembered."""
LEAST_HOURS: Final = 5
"""With grants in them, below which nothing is usual."""


class Grants(NamedTuple):
    """When one achievement was granted: a bit for each hour, the latest one is the lowest."""

    latest: int
    """Microseconds since the epoch."""
    hours: int = 1

    def with_one(self, at: int) -> Grants:
        """Return the same with a grant at an instant."""
        ahead = at // HOUR - self.latest // HOUR
        hours = self.hours << ahead | 1 if ahead > 0 else self.hours | 1 << -ahead
        if ahead > HOURS:  # no shift by the distance from a clock that was wrong
            hours = 1
        return Grants(max(self.latest, at), hours & ((1 << HOURS) - 1))

    @property
    def quiet_hours(self) -> int | None:
        """The longest time between two grants; None where there are too few to call anything usual."""
        if self.hours.bit_count() < LEAST_HOURS:
            return None
        return max(map(len, f"{self.hours:b}".split("1"))) + 1


class Silence:
    """The grants of all achievements that rules in force have."""

    def __init__(self) -> None:
        self.grants: dict[str, Grants] = {}

    def see(self, achievement: str, at: int) -> None:
        """Take note of a grant, in any order and as often as one likes."""
        known = self.grants.get(achievement)
        self.grants[achievement] = Grants(at) if known is None else known.with_one(at)

    def keep(self, achievements: Collection[str]) -> None:
        """Forget all other achievements: no rule in force has them."""
        self.grants = {name: one for name, one in self.grants.items() if name in achievements}
