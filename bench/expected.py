"""What must come out of the five rules, worked out without the engine. Pure.

Written plainly, from the language page alone. A user's events count once each, by the order of (`at`, `id`); a late one
has the user's events gone through again.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.events import DAY, LESSON, PROJECT, TUTORIAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.events import Event

HUNDRED: Final = 100
DIFFERENT: Final = 10
BIG: Final = 1000
WEEK: Final = 7


class Unlock(NamedTuple):
    """One grant as it is compared; `earned_at` in microseconds since the epoch."""

    user: str
    achievement: str
    earned_at: int


class Expected(NamedTuple):
    """What a stream must yield."""

    unlocks: frozenset[Unlock]
    granted_by: Mapping[tuple[str, str], str]
    """(user, achievement) to the id of the event at whose arrival it was first held."""
    events: int
    """Different ones."""


class _User:
    """The five rules over one user's events, each step a later event."""

    def __init__(self) -> None:
        self.earned: dict[str, int] = {}
        self._lessons = 0
        self._different: set[str] = set()
        self._sum = 0
        self._day = -1
        self._run = 0
        self._tutorial: int | None = None
        """The latest tutorial."""
        self._project: int | None = None
        """The latest tutorial that a project has followed."""

    def step(self, event: Event) -> None:
        if event.type == TUTORIAL:
            self._tutorial = event.at
        elif event.type == PROJECT:
            self._project = self._tutorial
        elif event.type == LESSON:
            self._lesson(event)

    def _lesson(self, event: Event) -> None:
        self._lessons += 1
        self._different.add(event.lesson)
        self._sum += event.amount
        day = event.at // DAY
        if day != self._day:
            self._run = self._run + 1 if day == self._day + 1 else 1
            self._day = day
        self._grant("hundred", event.at, self._lessons >= HUNDRED)
        self._grant("ten_different", event.at, len(self._different) >= DIFFERENT)
        self._grant("big", event.at, self._sum >= BIG)
        self._grant("week", event.at, self._run >= WEEK)
        self._grant("path", event.at, self._project is not None and event.at - self._project < 7 * DAY)

    def _grant(self, achievement: str, at: int, holds: bool) -> None:  # noqa: FBT001
        if holds:
            self.earned.setdefault(achievement, at)


def expect(events: Iterable[Event]) -> Expected:
    """Return what a stream must yield; `events` in the order of arrival, duplicates and late ones among them."""
    users: dict[str, _User] = {}
    histories: dict[str, list[tuple[int, str, Event]]] = {}
    granted_by: dict[tuple[str, str], str] = {}
    seen: set[str] = set()
    for event in events:
        if event.id in seen:
            continue
        seen.add(event.id)
        history = histories.setdefault(event.user, [])
        place = (event.at, event.id, event)
        if not history or place > history[-1]:
            history.append(place)
            user = users.setdefault(event.user, _User())
            user.step(event)
        else:
            insort(history, place)
            user = users[event.user] = _User()
            for _, _, one in history:
                user.step(one)
        for achievement in user.earned:
            granted_by.setdefault((event.user, achievement), event.id)
    unlocks = frozenset(
        Unlock(name, achievement, at) for name, user in users.items() for achievement, at in user.earned.items()
    )
    return Expected(unlocks, granted_by, len(seen))


class Difference(NamedTuple):
    """How unlocks differ from the expected ones, in numbers."""

    missing: int
    extra: int
    moved: int
    """Granted to whom they belong, with another `earned_at`."""

    def __bool__(self) -> bool:
        return any(self)

    def __str__(self) -> str:
        parts = zip(self, ("missing", "too many", "with another earned_at"), strict=True)
        return ", ".join(f"{number:,} {what}" for number, what in parts if number) or "none"


def compare(expected: frozenset[Unlock], found: Iterable[Unlock]) -> Difference:
    """Return how unlocks that were found differ from the expected ones."""
    found = list(found)
    wanted = {unlock[:2]: unlock.earned_at for unlock in expected}
    got = {unlock[:2]: unlock.earned_at for unlock in found}
    moved = sum(got[key] != at for key, at in wanted.items() if key in got)
    # A grant that is there twice is one too many.
    extra = len(got.keys() - wanted.keys()) + len(found) - len(got)
    return Difference(len(wanted.keys() - got.keys()), extra, moved)
