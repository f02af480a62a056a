"""What the broker refuses to keep, and when each unlock is tried again. Pure: clock and delays are handed in.

Only this worker knows it, and only while it runs: the unlock itself waits in the outbox.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from uuid import UUID

FIRST_SECONDS: Final = 1.0
"""From the first refusal to the next attempt, at most."""
LONGEST_SECONDS: Final = 30.0
"""Between two attempts, at most: an operator may have mended the stream's settings."""
MOST: Final = 10_000
"""Unlocks that wait by themselves. If more are refused, the broker is at fault, and all wait for it."""

MOST_AWAY: Final = 12
"""Failed rounds in a row (half a minute) after which the unlocks in them are taken for the reason."""


class FullError(Exception):
    """So many unlocks are refused that single unlocks cannot be the reason."""


class Delays(Protocol):
    """Begins a series of seconds to wait, each up to twice as long as the one before (worker/retry.py)."""

    def __call__(self, *, first: float, longest: float) -> Iterator[float]:  # noqa: D102 - the class says it
        ...


class _Wait(NamedTuple):
    until: float
    further: Iterator[float]


class Refusals:
    """Unlocks that wait by themselves; `now` is in seconds, of a clock that never goes back."""

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self._waits: dict[UUID, _Wait] = {}
        self._away = 0
        """Failed rounds in a row while the broker was connected."""

    def __len__(self) -> int:
        return len(self._waits)

    def __contains__(self, unlock_id: UUID) -> bool:
        return unlock_id in self._waits

    def round_failed(self, unlocks: Iterable[UUID]) -> bool:
        """Note that a round failed while the broker was connected; return whether to put off its unlocks."""
        self._away += 1
        # The broker refuses the same unlocks again without an answer; or there are no others that have to wait.
        return self._away >= MOST_AWAY or all(unlock_id in self for unlock_id in unlocks)

    def round_came_through(self) -> None:
        """Note that the broker answers."""
        self._away = 0

    def put_off(self, unlock_id: UUID, now: float) -> float:
        """Note that an unlock was refused; return the seconds until it is tried again, more each time.

        Raises:
            FullError: MOST others wait already.
        """
        wait = self._waits.get(unlock_id)
        if wait is None and len(self._waits) >= MOST:
            raise FullError
        further = self._delays(first=FIRST_SECONDS, longest=LONGEST_SECONDS) if wait is None else wait.further
        seconds = next(further)
        self._waits[unlock_id] = _Wait(now + seconds, further)
        return seconds

    def forget(self, unlocks: Collection[UUID]) -> None:
        """Note that unlocks are announced, or gone."""
        for unlock_id in unlocks:
            self._waits.pop(unlock_id, None)

    def all(self) -> list[UUID]:
        """Return all unlocks that wait, sorted."""
        return sorted(self._waits)

    def resting(self, now: float) -> list[UUID]:
        """Return the unlocks that are not to be tried yet, sorted."""
        return sorted(unlock_id for unlock_id, wait in self._waits.items() if wait.until > now)

    def due(self, now: float) -> set[UUID]:
        """Return the unlocks that are to be tried now."""
        return {unlock_id for unlock_id, wait in self._waits.items() if wait.until <= now}

    @property
    def next_at(self) -> float:
        """When the next unlock is to be tried; infinity if none waits."""
        return min((wait.until for wait in self._waits.values()), default=inf)
