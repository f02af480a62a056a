"""One batch on its way through the pipeline: what was decoded, and what one attempt at committing it has found out."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dsl.outcome import Subject
from worker.contract import Accepted, Rejected
from worker.deployed import Deployed
from worker.message import Message
from worker.partition import PARTITIONS, partition_of
from worker.standing import Hold
from worker.verdict import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsl.compile import Program
    from dsl.event import Event, Position
    from dsl.progress import Grant
    from worker.reconcile import Decision
    from worker.standing import Checkpoint, Refolded, Standing

MAX_SUBJECT_BYTES = 512
"""UTF-8 bytes of a subject, which is part of keys; ids have the same limit."""


class Concern(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Whom an event concerns. Events of one batch share these: they are keys by identity, which costs least."""

    user: Subject
    subjects: tuple[Subject, ...]
    """Everybody whose plan hears the event; the user too, if that one does."""
    everybody: tuple[Subject, ...]
    """The user, and everybody whose plan hears the event."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """One accepted event: where it came from, and whom it concerns."""

    message: Message
    element: int
    accepted: Accepted
    key: tuple[str, str]
    """The ledger's primary key: event id and tenant."""
    concern: Concern


class Letter(NamedTuple):
    """One dead letter: a message, or one element of it."""

    message: Message
    element: int
    reason: Reason
    detail: str
    body: bytes


class Batch(msgspec.Struct, frozen=True):
    """Decoded messages under one rule set; `items` in the order of arrival, `now` in microseconds."""

    messages: tuple[Message, ...]
    items: tuple[Item, ...]
    letters: tuple[Letter, ...]
    rules: Deployed
    now: int

    def pieces(self, size: int) -> Iterator[Batch]:
        """Yield the batch in pieces of so many events: messages that are arrays can hold any number of them."""
        if len(self.items) <= size:
            yield self
            return
        for at in range(0, len(self.items), size):
            letters = self.letters if at == 0 else ()
            yield msgspec.structs.replace(self, items=self.items[at : at + size], letters=letters)

    def split(self, writers: int) -> dict[int, Batch]:
        """Return the batch by writers, those that have something to do: a user always goes the same way.

        Writers have ranges of partitions; a broker deals them out by their remainders, and leaves work for each writer.
        Dead letters go with the first of them.
        """
        items: list[list[Item]] = [[] for _ in range(writers)]
        ways: dict[Concern, list[Item]] = {}
        for item in self.items:
            concern = item.concern
            way = ways.get(concern)
            if way is None:
                way = ways[concern] = items[partition_of(*concern.user) * writers // PARTITIONS]
            way.append(item)
        busy = {writer: tuple(found) for writer, found in enumerate(items) if found} or {0: ()}
        first = min(busy)
        return {
            writer: msgspec.structs.replace(self, items=found, letters=self.letters if writer == first else ())
            for writer, found in busy.items()
        }

    def again(self, rules: Deployed) -> Batch:
        """Return the batch, or the piece of one that it is, under other rules."""
        mine = {(one.message.seq, one.element) for one in (*self.items, *self.letters)}
        whole = decode(self.messages, rules, now=self.now)
        return msgspec.structs.replace(
            whole,
            items=tuple(item for item in whole.items if (item.message.seq, item.element) in mine),
            letters=tuple(letter for letter in whole.letters if (letter.message.seq, letter.element) in mine),
        )

    def condemned(self, reason: Reason, detail: str) -> Batch:
        """Return the batch with its events dead-lettered."""
        letters = (Letter(item.message, item.element, reason, detail, item.accepted.body) for item in self.items)
        return msgspec.structs.replace(self, items=(), letters=(*self.letters, *letters))


class Attempt:
    """What one transaction over one batch has found out so far. A failed attempt is thrown away as a whole."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        concerns = dict.fromkeys([item.concern for item in batch.items])
        self.subjects = dict.fromkeys(chain.from_iterable([concern.everybody for concern in concerns]))
        """Every user and subject of the batch, once, in the order of arrival."""
        self.hold = Hold()
        self.standings: dict[Subject, Standing] = {}
        self.letters: list[Letter] = list(batch.letters)
        self.fresh: list[Item] = []
        """Events that the ledger did not have, in the order of arrival."""
        self.duplicates = 0
        self.erased = 0
        self.late = 0
        self.refolded: dict[Subject, Refolded] = {}
        """Subjects that were folded anew, with everything that they have earned since."""
        self.absorbed: dict[Subject, Position] = {}
        """Subjects that took late events in place, with the earliest of them."""
        self.checkpoints: list[Checkpoint] = []
        self.stepped: list[tuple[Subject, Grant]] = []
        self.touched: list[Subject] = []
        self.decisions: list[Decision] = []


def decode(messages: Sequence[Message], rules: Deployed, *, now: int) -> Batch:
    """Read messages under a rule set; `now` in microseconds."""
    items: list[Item] = []
    letters: list[Letter] = []
    roster = _Roster(rules.program)
    read, concern_of = rules.contract.read, roster.find
    for message in messages:
        for element, one in enumerate(read(message.subject, message.body, now=now)):
            if isinstance(one, Rejected):
                letters.append(Letter(message, element, one.reason, one.detail, one.body))
                continue
            event = one.event
            concern = concern_of(event)
            if isinstance(concern, str):
                letters.append(Letter(message, element, Reason.CONTRACT, concern, one.body))
            else:
                items.append(Item(message, element, one, (event.id, event.tenant), concern))
    return Batch(tuple(messages), tuple(items), tuple(letters), rules, now)


class _Roster:
    """Whom the events of one batch concern. One object for each user: most batches have many events of a few."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._for_users = program.for_users
        self._users: dict[tuple[str, str], Concern] = {}
        """By tenant and user, for events that the plan of users hears and no other."""

    def find(self, event: Event) -> Concern | str:
        """Return whom an event concerns, or what is wrong with that."""
        pair = (event.tenant, event.user)
        concern = self._users.get(pair)
        if concern is None:
            user = Subject(event.tenant, "user", event.user)
            concern = self._users[pair] = Concern(user, (user,), (user,))
        if event.type in self._for_users:
            return concern
        subjects = subjects_of(self._program, event)
        if isinstance(subjects, str):
            return subjects
        user = concern.user
        return Concern(user, subjects, (user, *(subject for subject in subjects if subject != user)))


def subjects_of(program: Program, event: Event) -> tuple[Subject, ...] | str:
    """Return whose plans hear an event, or what is wrong with that."""
    found = program.subjects(event)
    for scope, name in found:
        if len(name) * 4 > MAX_SUBJECT_BYTES and len(name.encode()) > MAX_SUBJECT_BYTES:
            return f"payload.{scope}: longer than {MAX_SUBJECT_BYTES} bytes, too long for a subject"
    return tuple(Subject(event.tenant, scope, name) for scope, name in found)


def terminations(batch: Batch, letters: Sequence[Letter]) -> dict[int, Reason]:
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
