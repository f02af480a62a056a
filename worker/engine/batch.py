"""One batch on its way through the pipeline: what was decoded, and what one attempt at committing it has found out."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cached_property, lru_cache
from itertools import chain, repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.event import Event
from dsl.outcome import Subject
from worker.contract.bulk_reader import each_of
from worker.contract.fields import is_array
from worker.contract.message import Message
from worker.contract.partition import PARTITIONS, partition_of
from worker.contract.reasons import Reason
from worker.contract.sameness import Written, written_of
from worker.contract.strict_reader import Rejected, element_of
from worker.engine.rule_set import Deployed
from worker.engine.state_cache import Hold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dsl.compile import Program
    from dsl.event import Position
    from dsl.progress import Grant
    from worker.engine.reconcile import Decision
    from worker.engine.state_cache import Checkpoint, Refolded, SubjectState

PIECE: Final = 32
"""Messages that are read together where not all of a turn can be."""
MAX_SUBJECT_BYTES: Final = 512
"""UTF-8 bytes of a subject, which is part of keys; ids have the same limit."""


class Concern(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Whom events concern. Those of one batch share these: a key by identity costs least."""

    user: Subject
    subjects: tuple[Subject, ...]
    """Everybody whose plan hears them; the user too, if that one does."""
    everybody: tuple[Subject, ...]
    """The user, and everybody whose plan hears them."""
    partition: int
    """Of the user."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """One accepted event: where it came from, and whom it concerns."""

    message: Message
    element: int
    event: Event
    row: str
    """What the ledger will have of it, as in worker/contract/row.py."""
    concern: Concern

    @property
    def body(self) -> bytes:
        """All of it, for a dead letter: the message, or one element of it."""
        return element_of(self.message.body, self.element)

    @property
    def written(self) -> Written:
        """What is kept of it as received; read again, which hardly any event needs."""
        return written_of(self.body)

    @property
    def key(self) -> tuple[str, str]:
        """The ledger's primary key: event id and tenant."""
        return self.event.id, self.event.tenant

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in the stream."""
        return self.message.seq, self.element


class Group(msgspec.Struct, frozen=True, gc=False):
    """Events of one batch that concern the same, in the order of arrival.

    Side by side, since most batches need events and rows and nothing else: an object for each event costs.
    """

    concern: Concern
    events: list[Event] = []
    rows: list[str] = []
    messages: list[Message] = []
    elements: list[int] = []

    @property
    def items(self) -> list[Item]:
        """The events one by one, put together when they are asked for."""
        columns = zip(self.messages, self.elements, self.events, self.rows, strict=True)
        return [Item(*column, self.concern) for column in columns]

    def add(self, message: Message, element: int, event: Event, row: str) -> None:
        """Add an event that concerns the same."""
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

    @property
    def size(self) -> int:
        """The number of events."""
        return sum([len(group.events) for group in self.groups])

    @property
    def items(self) -> list[Item]:
        """The events, in the order of the stream. Put together when it is asked for: most batches go by groups."""
        return sorted(chain.from_iterable([group.items for group in self.groups]), key=_place)

    def pieces(self, size: int) -> Iterator[Batch]:
        """Yield the batch in pieces of so many events: messages that are arrays can hold any number of them."""
        if self.size <= size:
            yield self
            return
        items = self.items
        for at in range(0, len(items), size):
            letters = self.letters if at == 0 else ()
            yield msgspec.structs.replace(self, groups=_grouped(items[at : at + size]), letters=letters)

    def split(self, writers: int) -> dict[int, Batch]:
        """Return the batch by writers, those that have something to do: a user always goes the same way.

        Writers have ranges of partitions; a broker deals them out by their remainders, and leaves work for each writer.
        Dead letters go with the first of them.
        """
        if writers == 1:
            return {0: self}
        ways: defaultdict[int, list[Group]] = defaultdict(list)
        for group in self.groups:
            ways[group.concern.partition * writers // PARTITIONS].append(group)
        first = min(ways, default=0)
        return {
            writer: msgspec.structs.replace(
                self, groups=tuple(ways[writer]), letters=self.letters if writer == first else ()
            )
            for writer in sorted(ways) or [first]
        }

    def again(self, rules: Deployed) -> Batch:
        """Return the batch, or the piece of one that it is, under other rules."""
        mine = {item.place for group in self.groups for item in group.items}
        mine.update((letter.message.seq, letter.element) for letter in self.letters)
        whole = decode(self.messages, rules, now=self.now)
        return msgspec.structs.replace(
            whole,
            groups=_grouped([item for item in whole.items if item.place in mine]),
            letters=tuple(letter for letter in whole.letters if (letter.message.seq, letter.element) in mine),
        )

    def condemned(self, reason: Reason, detail: str) -> Batch:
        """Return the batch with its events dead-lettered."""
        letters = (DeadLetter(item.message, item.element, reason, detail, item.body) for item in self.items)
        return msgspec.structs.replace(self, groups=(), letters=(*self.letters, *letters))


_place = attrgetter("place")


def _grouped(items: Sequence[Item]) -> tuple[Group, ...]:
    groups: dict[Concern, Group] = {}
    for item in items:
        if item.concern not in groups:
            groups[item.concern] = Group(item.concern)
        groups[item.concern].add(item.message, item.element, item.event, item.row)
    return tuple(groups.values())


class Attempt:
    """What one transaction over one batch has found out so far. A failed attempt is thrown away as a whole."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.hold = Hold()
        self.standings: dict[Subject, SubjectState] = {}
        self.letters: list[DeadLetter] = list(batch.letters)
        self.fresh: list[Item] = []
        """By the long way: what the ledger did not have, in the order of arrival."""
        self.events: list[Event] = []
        """Events that the ledger did not have, by either way."""
        self.duplicates = 0
        self.erased = 0
        self.late = 0
        self.refolded: dict[Subject, Refolded] = {}
        """Subjects that were folded anew, with everything that they have earned since."""
        self.replanned: set[Subject] = set()
        """Those of them that were, because other rules had folded what was known of them."""
        self.absorbed: dict[Subject, Position] = {}
        """Subjects that took late events, with the earliest of them, and whose checkpoints behind it have yet to go."""
        self.checkpoints: list[Checkpoint] = []
        self.stepped: list[tuple[Subject, Grant]] = []
        self.touched: list[Subject] = []
        self.decisions: list[Decision] = []

    @cached_property
    def subjects(self) -> list[Subject]:
        """Every user and subject of the batch, once, in the order of arrival."""
        everybody = chain.from_iterable([group.concern.everybody for group in self.batch.groups])
        return list(dict.fromkeys(everybody))


class Decoding:
    """A batch in the making: messages are read under one rule set as they arrive."""

    def __init__(self, rules: Deployed) -> None:
        self._rules = rules
        self._messages: list[Message] = []
        self._letters: list[DeadLetter] = []
        self._roster = _Roster(rules.program)

    def add(self, messages: Sequence[Message], *, now: int) -> None:
        """Read messages; `now` in microseconds."""
        self._messages.extend(messages)
        if self._read(messages, now):
            return
        for at in range(0, len(messages), PIECE):
            piece = messages[at : at + PIECE]
            if len(piece) == len(messages) or not self._read(piece, now):
                self._read_each(piece, now)

    def _read_each(self, messages: Sequence[Message], now: int) -> None:
        """Read messages one by one: one of them needs a closer look, or an element of one."""
        for message in messages:
            if not (is_array(message.body) and self._read((message,), now)):
                self._look_closely(message, now)

    def _read(self, messages: Sequence[Message], now: int) -> bool:
        """Read messages that are plain; False where one of them is not, and none is read."""
        subjects, bodies = [message.subject for message in messages], [message.body for message in messages]
        seqs = [message.seq for message in messages]
        plain = self._rules.contract.plain.read(subjects, bodies, now=now, seqs=seqs)
        if plain is None:
            return False
        if plain.sizes is None:
            self._take(messages, repeat(0), plain.events, plain.rows)
        else:
            self._take(
                each_of(messages, plain.sizes), chain.from_iterable(map(range, plain.sizes)), plain.events, plain.rows
            )
        return True

    def _look_closely(self, message: Message, now: int) -> None:
        told = self._rules.contract.look_closely(message.subject, message.body, now=now, seq=message.seq)
        for element, one in enumerate(told):
            if isinstance(one, Rejected):
                self._letters.append(DeadLetter(message, element, one.reason, one.detail, one.body))
            else:
                self._take((message,), (element,), (one.event,), (one.row,))

    def _take(
        self, messages: Iterable[Message], elements: Iterable[int], events: Iterable[Event], rows: Iterable[str]
    ) -> None:
        for message, element, wrong in self._roster.add(messages, elements, events, rows):
            body = element_of(message.body, element)
            self._letters.append(DeadLetter(message, element, Reason.CONTRACT, wrong, body))

    def done(self, *, now: int) -> Batch:
        """Return what has been read, as a batch of this moment."""
        return Batch(tuple(self._messages), tuple(self._roster.found), tuple(self._letters), self._rules, now)


def decode(messages: Sequence[Message], rules: Deployed, *, now: int) -> Batch:
    """Read messages under a rule set; `now` in microseconds."""
    decoding = Decoding(rules)
    decoding.add(messages, now=now)
    return decoding.done(now=now)


class _Roster:
    """Whom the events of one batch concern. One group for each user: most batches have many events of a few."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._for_users = program.for_users
        self._users: dict[tuple[str, str], Group] = {}
        """By tenant and user, for events that the plan of users hears and no other."""
        self._others: dict[tuple[Subject, ...], Group] = {}
        """By the user and whose plans hear it, for all others."""
        self.found: list[Group] = []

    def add(
        self, messages: Iterable[Message], elements: Iterable[int], events: Iterable[Event], rows: Iterable[str]
    ) -> list[tuple[Message, int, str]]:
        """Add events to the groups that they belong to; return those that belong to none, with what is wrong."""
        wrong: list[tuple[Message, int, str]] = []
        users, for_users = self._users, self._for_users
        for message, element, event, row in zip(messages, elements, events, rows, strict=False):
            group = users.get((event.tenant, event.user)) if event.type in for_users else None
            if group is None:
                group = self._find(event)
                if isinstance(group, str):
                    wrong.append((message, element, group))
                    continue
            group.add(message, element, event, row)
        return wrong

    def _find(self, event: Event) -> Group | str:
        if event.type in self._for_users:
            pair = (event.tenant, event.user)
            group = self._users[pair] = self._made(_concern_of(*pair))
            return group
        subjects = subjects_of(self._program, event)
        if isinstance(subjects, str):
            return subjects
        user = Subject(event.tenant, "user", event.user)
        group = self._others.get((user, *subjects))
        if group is None:
            everybody = (user, *(subject for subject in subjects if subject != user))
            concern = Concern(user, subjects, everybody, partition_of(*user))
            group = self._others[user, *subjects] = self._made(concern)
        return group

    def _made(self, concern: Concern) -> Group:
        group = Group(concern)
        self.found.append(group)
        return group


@lru_cache(maxsize=65536)
def _concern_of(tenant: str, user: str) -> Concern:
    """Return whom events concern that the plan of users hears and no other: the same for one batch after another."""
    subject = Subject(tenant, "user", user)
    return Concern(subject, (subject,), (subject,), partition_of(*subject))


def subjects_of(program: Program, event: Event) -> tuple[Subject, ...] | str:
    """Return whose plans hear an event, or what is wrong with that."""
    found = program.subjects(event)
    for scope, name in found:
        if len(name) * 4 > MAX_SUBJECT_BYTES and len(name.encode()) > MAX_SUBJECT_BYTES:
            return f"payload.{scope}: longer than {MAX_SUBJECT_BYTES} bytes, too long for a subject"
    return tuple(Subject(event.tenant, scope, name) for scope, name in found)


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
