"""What the broker refuses to keep, and when each is tried again. Pure: the clock is handed in.

It is known to this worker alone, and only while it lives: the unlock itself waits in the outbox.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.retry import delays

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from uuid import UUID

FIRST_SECONDS: Final = 1.0
"""Until what was refused is tried again, at the most."""
LONGEST_SECONDS: Final = 30.0
"""Between two attempts at the same, at the most: its settings may have been mended."""
MOST: Final = 10_000
"""Unlocks that wait by themselves. Where there are more, it is the broker that is at fault, and all wait for it."""

MOST_AWAY: Final = 12
"""Rounds in a row (half a minute) that come to nothing, before what is in them is taken for the reason."""


class FullError(Exception):
    """So many are refused that this is no matter of single unlocks."""


class _Wait(NamedTuple):
    until: float
    further: Iterator[float]


class Refusals:
    """Unlocks that wait by themselves; `now` is in seconds, of a clock that never goes back."""

    def __init__(self) -> None:
        self._waits: dict[UUID, _Wait] = {}
        self._away = 0
        """Rounds in a row that came to nothing though the broker is connected."""

    def __len__(self) -> int:
        return len(self._waits)

    def __contains__(self, unlock_id: UUID) -> bool:
        return unlock_id in self._waits

    def round_failed(self, unlocks: Iterable[UUID]) -> bool:
        """Note that a round came to nothing though the broker is connected; tell whether to put off what was in it."""
        self._away += 1
        # What was refused before is refused again, in silence; or it is all that there is, and nothing helps.
        return self._away >= MOST_AWAY or all(unlock_id in self for unlock_id in unlocks)

    def round_came_through(self) -> None:
        """Note that the broker answers."""
        self._away = 0

    def put_off(self, unlock_id: UUID, now: float) -> float:
        """Note that one was refused; return the seconds until it is tried again, longer each time.

        Raises:
            FullError: too many are.
        """
        wait = self._waits.get(unlock_id)
        if wait is None and len(self._waits) >= MOST:
            raise FullError
        further = delays(first=FIRST_SECONDS, longest=LONGEST_SECONDS) if wait is None else wait.further
        seconds = next(further)
        self._waits[unlock_id] = _Wait(now + seconds, further)
        return seconds

    def forget(self, unlocks: Collection[UUID]) -> None:
        """Note that these are announced, or gone."""
        for unlock_id in unlocks:
            self._waits.pop(unlock_id, None)

    def all(self) -> list[UUID]:
        """Return all that wait, sorted."""
        return sorted(self._waits)

    def resting(self, now: float) -> list[UUID]:
        """Return those that are not to be tried yet, sorted."""
        return sorted(unlock_id for unlock_id, wait in self._waits.items() if wait.until > now)

    def due(self, now: float) -> set[UUID]:
        """Return those that are."""
        return {unlock_id for unlock_id, wait in self._waits.items() if wait.until <= now}

    @property
    def next_at(self) -> float:
        """When the next one is to be tried; infinity where none waits."""
        return min((wait.until for wait in self._waits.values()), default=inf)
