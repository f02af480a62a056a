"""A batch: events of decoded messages, grouped by the subjects that hear them, and dead letters. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import chain, compress, repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.compile import USER
from dsl.event import Event
from dsl.outcome import Subject
from worker.contract.message import Message
from worker.contract.partition import PARTITIONS, partition_of
from worker.contract.sameness import Written, written_of
from worker.contract.strict_reader import element_of
from worker.engine.rule_set import Deployed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from worker.contract.reasons import Reason

MAX_SUBJECT_BYTES: Final = 512
"""UTF-8 bytes of a subject, which is part of keys; ids have the same limit."""


Seen = tuple[Subject, str, bool]
"""A user, what an event is in the history of that user (dsl/roles.py), and whether the plan of users hears that."""
Views = tuple[Seen, ...]
"""The same of all users of an event, its own first."""


class Audience(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The user who did something, and the subjects whose plans hear it.

    Events of one batch share these objects: a key by identity costs least.
    """

    user: Subject
    subjects: tuple[Subject, ...]
    """The subjects whose plans hear the events; the user is one of them if the plan of users does."""
    members: tuple[Subject, ...]
    """The user, all of `subjects`, and all of `named`, each once."""
    partition: int
    """Of the user."""
    named: tuple[Subject, ...] = ()
    """Users beside the one who did it: the contract says which fields name them, whether or not a plan hears it."""
    views: Views = ()
    """What an event is in the history of each user, its own first; empty where its contract names no users."""


class Renamed(NamedTuple):
    """What is kept of an event in which pseudonyms stand for erased users."""

    payload: str | None
    digest: bytes
    """Of what was received, by which a copy is known."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """One accepted event: where it came from, and who hears it."""

    message: Message
    element: int
    event: Event
    row: str
    """Its row of the ledger, as in worker/contract/row.py."""
    audience: Audience
    renamed: Renamed | None = None
    """Set where it names users that were erased: pseudonyms stand for them in all but the message."""

    @property
    def body(self) -> bytes:
        """All of it, for a dead letter: the message, or one element of it."""
        return element_of(self.message.body, self.element)

    @property
    def written(self) -> Written:
        """What is kept of it, as received but for erased users; read again, which hardly any event needs."""
        written = written_of(self.body)
        return written if self.renamed is None else written._replace(payload=self.renamed.payload)

    @property
    def key(self) -> tuple[str, str]:
        """The ledger's primary key: event id and tenant."""
        return self.event.id, self.event.tenant

    @property
    def place(self) -> tuple[int, int]:
        """Its place in the stream: sequence of the message, and index in an array."""
        return self.message.seq, self.element


class Group(msgspec.Struct, frozen=True, gc=False):
    """Events of one batch with one audience, in the order of arrival.

    Side by side, since most batches need events and rows and nothing else: an object for each event costs.
    """

    audience: Audience
    events: list[Event] = []
    rows: list[str] = []
    messages: list[Message] = []
    elements: list[int] = []
    views: list[Views] = []
    """Of each event, where contracts name users; the audience has the other subjects alone then."""

    @property
    def items(self) -> list[Item]:
        """The events one by one, put together when they are asked for."""
        audience: Iterable[Audience] = repeat(self.audience, len(self.events))
        if self.views:
            audience = [audience_of(views, self.audience.subjects) for views in self.views]
        columns = zip(self.messages, self.elements, self.events, self.rows, audience, strict=True)
        return [Item(*column) for column in columns]

    @property
    def members(self) -> Iterable[Subject]:
        """All users and subjects of the events; some of them several times."""
        named = [user for views in self.views for user, _, _ in views]
        return (*self.audience.members, *named) if named else self.audience.members

    @property
    def places(self) -> list[tuple[int, int]]:
        """The place of each event in the stream: sequence of the message, and index in an array."""
        return [*zip([message.seq for message in self.messages], self.elements, strict=True)]

    def between(self, first: tuple[int, int], last: tuple[int, int]) -> Group | None:
        """Return the events with a place in a range, both ends included; None where there are none."""
        chosen = [first <= place <= last for place in self.places]
        if all(chosen):
            return self
        if not any(chosen):
            return None
        return Group(
            self.audience,
            [*compress(self.events, chosen)],
            [*compress(self.rows, chosen)],
            [*compress(self.messages, chosen)],
            [*compress(self.elements, chosen)],
            [*compress(self.views, chosen)],
        )

    def add(self, message: Message, element: int, event: Event, row: str) -> None:
        """Add an event of the same audience."""
        self.events.append(event)
        self.rows.append(row)
        self.messages.append(message)
        self.elements.append(element)


class DeadLetter(NamedTuple):
    """One dead letter: a message, or one element of it."""

    message: Message
    element: int
    reason: Reason
    detail: str
    body: bytes


class Batch(msgspec.Struct, frozen=True):
    """Decoded messages under one rule set, or a part of them; `now` in microseconds."""

    messages: tuple[Message, ...]
    groups: tuple[Group, ...]
    letters: tuple[DeadLetter, ...]
    rules: Deployed
    now: int
    regions: frozenset[str] = frozenset()
    """Of its events; where it is one, no row has to be asked for its own."""

    @property
    def size(self) -> int:
        """The number of events."""
        return sum([len(group.events) for group in self.groups])

    @property
    def items(self) -> list[Item]:
        """The events, in the order of the stream. Put together when it is asked for: most batches go by groups."""
        return sorted(chain.from_iterable([group.items for group in self.groups]), key=_place)

    @property
    def subjects(self) -> list[Subject]:
        """Every user and subject of the batch, once, in the order of arrival."""
        return list(dict.fromkeys(chain.from_iterable([group.members for group in self.groups])))

    def pieces(self, size: int) -> Iterator[Batch]:
        """Yield the batch in pieces of so many events: messages that are arrays can hold any number of them."""
        if self.size <= size:
            yield self
            return
        places = sorted(chain.from_iterable([group.places for group in self.groups]))
        once = len(set(places)) == len(places)
        items = [] if once else self.items
        for at in range(0, len(places), size):
            if once:
                first, last = places[at], places[min(at + size, len(places)) - 1]
                groups = tuple([part for group in self.groups if (part := group.between(first, last)) is not None])
            else:  # a message that was delivered twice
                groups = grouped(items[at : at + size])
            yield msgspec.structs.replace(self, groups=groups, letters=self.letters if at == 0 else ())

    def split(self, writers: int) -> dict[int, Batch]:
        """Return the batch by writers, those that have something to do: a user always goes to the same writer.

        Writers have ranges of partitions; a broker deals them out by their remainders, and leaves work for each writer.
        Dead letters go with the first of them. A batch with events that name further users is not split: these have
        partitions of any range, and writers that want the same one would wait for each other.
        """
        if writers == 1 or any(group.views for group in self.groups):
            return {0: self}
        shares: defaultdict[int, list[Group]] = defaultdict(list)
        for group in self.groups:
            shares[group.audience.partition * writers // PARTITIONS].append(group)
        first = min(shares, default=0)
        return {
            writer: msgspec.structs.replace(
                self, groups=tuple(shares[writer]), letters=self.letters if writer == first else ()
            )
            for writer in sorted(shares) or [first]
        }

    def condemned(self, reason: Reason, detail: str) -> Batch:
        """Return the batch with its events dead-lettered."""
        letters = (DeadLetter(item.message, item.element, reason, detail, item.body) for item in self.items)
        return msgspec.structs.replace(self, groups=(), letters=(*self.letters, *letters))


_place = attrgetter("place")


def grouped(items: Sequence[Item]) -> tuple[Group, ...]:
    """Return events by audience, each group in the order given."""
    groups: dict[object, Group] = {}
    for item in items:
        audience, key = item.audience, object()
        if audience.views:
            others = tuple(one for one in audience.subjects if one.scope != USER)
            key = audience.user, others
            if key not in groups:
                groups[key] = Group(audience_beside(audience.user, others))
            groups[key].views.append(audience.views)
        else:
            key = audience
            if key not in groups:
                groups[key] = Group(audience)
        groups[key].add(item.message, item.element, item.event, item.row)
    return tuple(groups.values())


def audience_of(views: Views, others: tuple[Subject, ...]) -> Audience:
    """Return the audience of one event that names users; `others` are subjects of other scopes."""
    users = tuple([user for user, _, _ in views])
    subjects = (*[user for user, _, heard in views if heard], *others)
    return Audience(users[0], subjects, (*users, *others), partition_of(*users[0]), users[1:], views)


def audience_beside(user: Subject, others: tuple[Subject, ...]) -> Audience:
    """Return what is common to the audiences of events of a user that name users."""
    return Audience(user, others, (user, *others), partition_of(*user))


def terminations(batch: Batch, letters: Sequence[DeadLetter]) -> dict[int, Reason]:
    """Return per stream sequence why a message is ended: one that held nothing but dead letters. All others are acked.

    `letters` are all that were buried, which the rules of the commit decide, not those that it was decoded under.
    """
    if not letters:
        return {}
    alive = Counter(one.message.seq for one in (*batch.items, *batch.letters))
    reasons: dict[int, Reason] = {}
    for letter in {(letter.message.seq, letter.element): letter for letter in letters}.values():
        alive[letter.message.seq] -= 1
        reasons[letter.message.seq] = letter.reason
    return {seq: reason for seq, reason in reasons.items() if not alive[seq]}
