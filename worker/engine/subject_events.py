"""What a batch brings for each subject, in canonical order. Pure.

Measured and tried: docs/decisions/0008-hot-path/shared-texts.md.
"""

from __future__ import annotations

from operator import eq, lt
from typing import TYPE_CHECKING

from dsl.outcome import canonical_order
from dsl.roles import seen_as

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.event import Event
    from dsl.outcome import Subject
    from worker.engine.batch import Group, Item


class SubjectEvents:
    """Events of one subject in one batch: all of them, and those that the plan of its scope hears.

    For users, `events` are all that the user did or is named in; for other subjects those that the plan hears.
    """

    __slots__ = ("behind", "events", "heard", "shared")

    def __init__(self, events: list[Event], heard: list[Event], *, shared: bool) -> None:
        self.events = events
        self.heard = heard
        self.shared = shared
        """Whether the plan of another scope hears one of them, too."""
        self.behind = 0
        """How many came behind later ones."""

    def put_in_order(self, latest: tuple[int, str]) -> bool:
        """Put them in canonical order, and count how many came behind later ones; `latest` came before all of them.

        Return False where one is there twice, or is `latest` itself. The lists are those of the batch: they
        stay as they are, and new ones take their place where the order is another.
        """
        instants = [event.at for event in self.events]
        if instants[0] > latest[0] and all(map(lt, instants, instants[1:])):
            return True
        distinct, places = True, [*map(canonical_order, self.events)]
        for place in places:
            if place > latest:
                latest = place
            elif place == latest:
                distinct = False
            else:
                self.behind += 1
        if self.behind:
            places.sort()
            distinct = distinct and not any(map(eq, places, places[1:]))
            all_heard = self.heard is self.events
            self.events = sorted(self.events, key=canonical_order)
            self.heard = self.events if all_heard else sorted(self.heard, key=canonical_order)
        return distinct


def events_of_users(groups: Iterable[Group]) -> dict[Subject, SubjectEvents]:
    """Return the events of each user, group after group; those of shared events are of no use but to know the user.

    Users that an event names beside the one who did it have it too, as it is in their history.
    """
    found: dict[Subject, SubjectEvents] = {}
    own: dict[Subject, SubjectEvents] = {}
    for group in groups:
        if group.views:
            _add_viewed(found, own, group)
            continue
        user, subjects, events = group.audience.user, group.audience.subjects, group.events
        shared = len(subjects) > 1 or (len(subjects) == 1 and subjects[0] is not user and subjects[0] != user)
        heard = events if subjects else []
        before = found.get(user)
        if before is None:
            found[user] = SubjectEvents(events, heard, shared=shared)
        else:
            own.pop(user, None)
            found[user] = SubjectEvents(
                [*before.events, *events], [*before.heard, *heard], shared=shared or before.shared
            )
    return found


def _add_viewed(found: dict[Subject, SubjectEvents], own: dict[Subject, SubjectEvents], group: Group) -> None:
    """Add the events of a group to all users that they name, each as it is in the history of the user.

    `own` are those whose lists were made here: the others are the batch's, and stay as they are.
    """
    shared = bool(group.audience.subjects)
    for event, views in zip(group.events, group.views, strict=True):
        kind = event.type
        for user, view, heard in views:
            mine = own.get(user)
            if mine is None:
                before = found.get(user)
                mine = SubjectEvents([], [], shared=shared)
                if before is not None:
                    mine = SubjectEvents([*before.events], [*before.heard], shared=before.shared)
                own[user] = found[user] = mine
            if shared:
                mine.shared = True
            seen = event if view == kind else seen_as(event, view)
            mine.events.append(seen)
            if heard:
                mine.heard.append(seen)


def events_of_subjects(items: Iterable[Item]) -> dict[Subject, SubjectEvents]:
    """Return the events of each user and of each other subject whose plan hears them, in the order given."""
    found: dict[Subject, SubjectEvents] = {}
    for item in items:
        audience = item.audience
        views = {user: view for user, view, _ in audience.views}
        for subject in audience.members:
            own = found.get(subject)
            if own is None:
                own = found[subject] = SubjectEvents([], [], shared=len(audience.members) > 1)
            event = item.event if subject not in views else seen_as(item.event, views[subject])
            own.events.append(event)
            if subject in audience.subjects:
                own.heard.append(event)
    return found
