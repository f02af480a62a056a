"""What a batch tells of each user, in order. Pure."""

from __future__ import annotations

from operator import eq, lt
from typing import TYPE_CHECKING

from dsl.outcome import canonical_order

if TYPE_CHECKING:
    from dsl.event import Event
    from dsl.outcome import Subject
    from worker.engine.batch import Batch


class UserEvents:
    """All that a batch tells of one user: the events, and those of them that the plan of users hears."""

    __slots__ = ("behind", "events", "heard")

    def __init__(self, events: list[Event], heard: list[Event]) -> None:
        self.events = events
        self.heard = heard
        self.behind = 0
        """How many came behind later ones."""

    def put_in_order(self, latest: tuple[int, str]) -> bool:
        """Put them in order, and count how many came behind later ones; False where one is there twice.

        The lists are those of the batch: they stay as they are.
        """
        instants = [event.at for event in self.events]
        if instants[0] > latest[0] and all(map(lt, instants, instants[1:])):
            return True
        places = [*map(canonical_order, self.events)]
        for place in places:
            if place > latest:
                latest = place
            elif place == latest:
                return False
            else:
                self.behind += 1
        if self.behind:
            places.sort()
            if any(map(eq, places, places[1:])):
                return False
            same = self.heard is self.events
            self.events = sorted(self.events, key=canonical_order)
            self.heard = self.events if same else sorted(self.heard, key=canonical_order)
        return True


def user_events_of(batch: Batch) -> dict[Subject, UserEvents]:
    """Return what is told of each user whose events, in this batch, concern nobody else."""
    told: dict[Subject, UserEvents] = {}
    shared: set[Subject] = set()
    for group in batch.groups:
        user, subjects, events = group.concern.user, group.concern.subjects, group.events
        if subjects and subjects != (user,):
            shared.add(user)
        heard = events if subjects else []
        before = told.get(user)
        if before is None:
            told[user] = UserEvents(events, heard)
        else:
            told[user] = UserEvents([*before.events, *events], [*before.heard, *heard])
    for user in shared:
        del told[user]
    return told
