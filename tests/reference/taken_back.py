"""The grants that a late event takes back: the grants before it, compared with the supported ones after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.story import Arrival

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsl.compile import Program
    from dsl.event import Event
    from dsl.outcome import Subject


class Known(NamedTuple):
    """Which grant: it is one, whichever version grants it."""

    subject: Subject
    achievement: str
    tier: str | None
    occurrence: str | None


class TakenBack(NamedTuple):
    """A grant of a version that is not supported any more, or is now earned at a later instant."""

    known: Known
    version: int
    earned: int
    now: int | None


def taken_back(program: Program, events: Sequence[Event]) -> Iterator[TakenBack]:
    """Yield what each event takes back, as they arrive one by one."""
    arrival = Arrival(program)
    before: dict[Known, tuple[int, int]] = {}
    for event in events:
        arrival.take([event])
        now = _supported(arrival)
        for known, (version, earned) in before.items():
            later = now[known][1] if known in now else None
            if later is None or later > earned:
                yield TakenBack(known, version, earned, later)
        before = now


def _supported(arrival: Arrival) -> dict[Known, tuple[int, int]]:
    return {
        Known(subject, grant.achievement, grant.tier, grant.occurrence): (grant.version, grant.earned_at)
        for subject, found in arrival.grants.items()
        for grant in found
    }
