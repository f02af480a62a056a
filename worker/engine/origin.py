"""How an unlock came to be granted; announced with it, as a consumer may not celebrate what a backfill finds. Pure."""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.moments import at_moment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from collections.abc import Set as AbstractSet

    from dsl.outcome import Subject
    from dsl.progress import Grant
    from worker.engine.batch import Group

RESENT: Final = "Ach-Dead-Letter"
"""Header that says which dead letter a message was sent again from. A producer may forge it: nothing relies on it."""
_RESENT: Final = RESENT.lower().encode() + b":"
_block: Final = attrgetter("block")


class Origin(StrEnum):
    """How an unlock came to be granted; the values are those of the table `unlock`."""

    LIVE = "live"
    """At once, by an event that had just arrived."""
    BACKFILL = "backfill"
    """By rules that came into force behind its event, or by a version that began behind it."""
    SETTLED = "settled"
    """By the clock: it was earned before, and has settled."""
    REPLAYED = "replayed"
    """At once, by an event that was a dead letter before."""
    BY_HAND = "by_hand"
    """By an operator."""


class Arrived(NamedTuple):
    """What decides the origin of what a batch grants; events by tenant and id."""

    resent: AbstractSet[tuple[str, str]] = frozenset()
    """Events that were dead letters before."""
    replanned: Collection[Subject] = ()
    """Subjects that are folded again because of other rules."""
    here: AbstractSet[tuple[str, str]] = frozenset()
    """Events of the batch; known only where a subject is folded again because of other rules."""

    def origin(self, subject: Subject, grant: Grant) -> Origin:
        """Return the origin of what is granted at once."""
        event = subject.tenant_id, grant.event_id
        if event in self.resent:
            return Origin.REPLAYED
        return Origin.BACKFILL if at_moment(grant) or self.by_rules(subject, grant) else Origin.LIVE

    def by_rules(self, subject: Subject, grant: Grant) -> bool:
        """Tell whether other rules have caused a decision about a grant, and no event of the batch."""
        return subject in self.replanned and (subject.tenant_id, grant.event_id) not in self.here


NEWS: Final = Arrived()
"""Of a batch without such events and subjects."""


def arrived(groups: Iterable[Group], replanned: Collection[Subject] = ()) -> Arrived:
    """Return what decides the origin of unlocks that the events of some groups earn."""
    groups = list(groups)
    resent = {
        (event.tenant, event.id)
        for group in groups
        if any(map(_block, group.messages))
        for message, event in zip(group.messages, group.events, strict=True)
        if message.block and _RESENT in message.block.lower()
    }
    if not replanned:
        return Arrived(resent) if resent else NEWS
    here = {(event.tenant, event.id) for group in groups for event in group.events}
    return Arrived(resent, frozenset(replanned), here)
