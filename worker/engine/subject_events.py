"""What a batch brings for each subject, in canonical order. Pure.

Measured and tried: docs/decisions/0008-hot-path/shared-texts.md.
"""

from __future__ import annotations

from itertools import chain, repeat
from operator import eq, itemgetter, lt
from typing import TYPE_CHECKING, Final

from dsl.outcome import canonical_order
from dsl.roles import seen_as

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dsl.event import Event
    from dsl.outcome import Subject
    from worker.engine.batch import Audience, Group, Item, Views

_PLACE: Final = itemgetter(0, 1)


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


def events_of_users(groups: Sequence[Group]) -> dict[Subject, SubjectEvents]:
    """Return the events of each user, group after group; those of shared events are of no use but to know the user.

    Users that an event names beside the one who did it have it too, as it is in their history; then all events are
    gone through in the order of the stream. Group after group, a user who is named would get them actor by actor, and
    most would seem late.
    """
    if any(group.views for group in groups):
        return _in_order_of_stream(groups)
    found: dict[Subject, SubjectEvents] = {}
    for group in groups:
        user, events = group.audience.user, group.events
        shared, heard = _is_shared(group.audience), events if group.audience.subjects else []
        before = found.get(user)
        if before is None:
            found[user] = SubjectEvents(events, heard, shared=shared)
        else:
            found[user] = SubjectEvents(
                [*before.events, *events], [*before.heard, *heard], shared=shared or before.shared
            )
    return found


def _is_shared(audience: Audience) -> bool:
    user, subjects = audience.user, audience.subjects
    return len(subjects) > 1 or (len(subjects) == 1 and subjects[0] is not user and subjects[0] != user)


def _in_order_of_stream(groups: Sequence[Group]) -> dict[Subject, SubjectEvents]:
    found: dict[Subject, SubjectEvents] = {}
    for _, _, event, views, shared in sorted(chain.from_iterable(map(_entries, groups)), key=_PLACE):
        kind = event.type
        for user, view, heard in views:
            own = found.get(user)
            if own is None:
                events: list[Event] = []
                own = found[user] = SubjectEvents(events, events, shared=shared)
            elif shared:
                own.shared = True
            seen = event if view == kind else seen_as(event, view)
            # One list, as long as all of them are heard.
            if not heard and own.heard is own.events:
                own.heard = [*own.events]
            elif heard and own.heard is not own.events:
                own.heard.append(seen)
            own.events.append(seen)
    return found


def _entries(group: Group) -> Iterator[tuple[int, int, Event, Views, bool]]:
    """Return the events of a group, each behind its place in the stream, with its views and whether it is shared."""
    audience = group.audience
    seqs = [message.seq for message in group.messages]
    if group.views:
        return zip(seqs, group.elements, group.events, group.views, repeat(bool(audience.subjects)))
    kinds = {event.type for event in group.events}
    views = {kind: ((audience.user, kind, bool(audience.subjects)),) for kind in kinds}
    own = [views[event.type] for event in group.events]
    return zip(seqs, group.elements, group.events, own, repeat(_is_shared(audience)))


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
