"""From messages to a batch: bytes are read under one rule set as they arrive, and grouped by audience. Pure."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final

import msgspec

from dsl.compile import USER
from dsl.labels import over_long
from dsl.nodes.keys import MOST_BYTES
from dsl.outcome import Subject
from dsl.roles import PSEUDONYM, is_pseudonym
from worker.contract.bulk_reader import each_of
from worker.contract.fields import is_array
from worker.contract.message import translated
from worker.contract.partition import partition_of
from worker.contract.reasons import Reason
from worker.contract.strict_reader import Rejected, element_of
from worker.contract.transport import region_of, transport_of
from worker.engine.batch import MAX_SUBJECT_BYTES, Audience, Batch, DeadLetter, Group, Seen, audience_beside, grouped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.compile import Program
    from dsl.event import Event
    from worker.contract.message import Message
    from worker.engine.rule_set import Deployed

RESERVED: Final = f"{{}}: what begins with {PSEUDONYM!r} stands for an erased user, and is no user's id"
"""What is wrong with a name; the field goes into the braces."""
PIECE: Final = 32
"""Messages that are read together where not all that have arrived can be."""


class Decoding:
    """A batch in the making: messages are read under one rule set as they arrive."""

    def __init__(self, rules: Deployed) -> None:
        self._rules = rules
        self._messages: list[Message] = []
        self._letters: list[DeadLetter] = []
        self._regions: set[str] = set()
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
        ends, regions = transport_of(messages, self._rules.region)
        plain = self._rules.contract.plain.read(subjects, bodies, now=now, ends=ends)
        if plain is None:
            return False
        if plain.sizes is not None and 0 in plain.sizes and any(message.block for message in messages):
            return False  # an empty array may be the data of a CloudEvent, which only headers tell
        self._regions.update(plain.regions or regions)
        if plain.sizes is None:
            self._take(messages, repeat(0), plain.events, plain.rows)
        else:
            self._take(
                each_of(messages, plain.sizes), chain.from_iterable(map(range, plain.sizes)), plain.events, plain.rows
            )
        return True

    def _look_closely(self, message: Message, now: int) -> None:
        (end,), _ = transport_of((message,), self._rules.region)
        contract, block = self._rules.contract, message.block
        found = contract.look_closely(message.subject, message.body, now=now, end=end, block=block)
        for element, one in enumerate(found):
            if isinstance(one, Rejected):
                self._letters.append(DeadLetter(message, element, one.reason, one.detail, one.body))
            else:
                self._regions.add(region_of(one.row))
                source = message if one.envelope is None else translated(message, one.envelope)
                self._take((source,), (element,), (one.event,), (one.row,))

    def _take(
        self, messages: Iterable[Message], elements: Iterable[int], events: Iterable[Event], rows: Iterable[str]
    ) -> None:
        for message, element, wrong in self._roster.add(messages, elements, events, rows):
            body = element_of(message.body, element)
            self._letters.append(DeadLetter(message, element, Reason.CONTRACT, wrong, body))

    def done(self, *, now: int) -> Batch:
        """Return what has been read, as a batch of this moment."""
        groups, regions = tuple(self._roster.groups), frozenset(self._regions)
        return Batch(tuple(self._messages), groups, tuple(self._letters), self._rules, now, regions)


def decode(messages: Sequence[Message], rules: Deployed, *, now: int) -> Batch:
    """Read messages under a rule set; `now` in microseconds."""
    decoding = Decoding(rules)
    decoding.add(messages, now=now)
    return decoding.done(now=now)


def decoded_again(batch: Batch, rules: Deployed) -> Batch:
    """Return a batch, or a piece of one, under other rules."""
    places = {item.place for group in batch.groups for item in group.items}
    places.update((letter.message.seq, letter.element) for letter in batch.letters)
    whole = decode(batch.messages, rules, now=batch.now)
    return msgspec.structs.replace(
        whole,
        groups=grouped([item for item in whole.items if item.place in places]),
        letters=tuple(letter for letter in whole.letters if (letter.message.seq, letter.element) in places),
    )


class _Roster:
    """The groups of one batch, by audience. One group for each user: most batches have many events of a few."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._for_users = program.for_users
        self._roles, self._naming, heard = program.roles, program.roles.naming, program.scopes[USER].types
        self._views = {name: [(view, view in heard) for view in program.roles.views_of(name)] for name in self._naming}
        self._users_alone = len(program.scopes) == 1
        self._labels = program.labels
        self._users: dict[tuple[str, str], Group] = {}
        """By tenant and user, for events that the plan of users hears and no other."""
        self._others: dict[tuple[Subject, ...], Group] = {}
        """By the user and the subjects whose plans hear it, for others that name no users."""
        self._named: dict[tuple[object, ...], Group] = {}
        """By user and the subjects of other scopes, for those that name users."""
        self._seen: dict[tuple[str, str, str, int], Seen] = {}
        """By tenant, user, event type and roles."""
        self.groups: list[Group] = []

    def add(
        self, messages: Iterable[Message], elements: Iterable[int], events: Iterable[Event], rows: Iterable[str]
    ) -> list[tuple[Message, int, str]]:
        """Add events to their groups; return those that belong to none: message, index in it, and what is wrong."""
        wrong: list[tuple[Message, int, str]] = []
        users, for_users, labels = self._users, self._for_users, self._labels
        for message, element, event, row in zip(messages, elements, events, rows, strict=False):
            if event.type in labels and (long := too_long_label(self._program, event)) is not None:
                wrong.append((message, element, long))
                continue
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
            if is_pseudonym(event.user):
                return RESERVED.format("user_id")
            pair = (event.tenant, event.user)
            group = self._users[pair] = self._new_group(_audience_of_user(*pair))
            return group
        if event.type in self._naming:
            return self._find_naming(event)
        subjects = subjects_of(self._program, event)
        if isinstance(subjects, str):
            return subjects
        user = Subject(event.tenant, USER, event.user)
        group = self._others.get((user, *subjects))
        if group is None:
            members = (user, *(subject for subject in subjects if subject != user))
            audience = Audience(user, subjects, members, partition_of(*user))
            group = self._others[user, *subjects] = self._new_group(audience)
        return group

    def _find_naming(self, event: Event) -> Group | str:
        """Return the group of an event of a type that names users, with what the event is to each of them."""
        tenant, kind = event.tenant, event.type
        others = () if self._users_alone else tuple(self._program.others(event))
        seen: list[Seen] = []
        for name, bits in self._roles.parts(event).items():
            one = self._seen.get((tenant, name, kind, bits))
            if one is None:
                if is_pseudonym(name):
                    return reserved(self._program, event) or ""
                one = self._seen[tenant, name, kind, bits] = (Subject(tenant, USER, name), *self._views[kind][bits])
            seen.append(one)
        key = (seen[0][0], *others)
        group = self._named.get(key)
        if group is None:
            wrong = too_long(others)
            if wrong is not None:
                return wrong
            beside = audience_beside(seen[0][0], tuple([Subject(tenant, *each) for each in others]))
            group = self._named[key] = self._new_group(beside)
        group.views.append(tuple(seen))
        return group

    def _new_group(self, audience: Audience) -> Group:
        group = Group(audience)
        self.groups.append(group)
        return group


@lru_cache(maxsize=65536)
def _audience_of_user(tenant: str, user: str) -> Audience:
    """Return the audience of events that only the plan of users hears: the same object for batch after batch."""
    subject = Subject(tenant, "user", user)
    return Audience(subject, (subject,), (subject,), partition_of(*subject))


def subjects_of(program: Program, event: Event) -> tuple[Subject, ...] | str:
    """Return the subjects whose plans hear an event, or what is wrong with one of them."""
    wrong = reserved(program, event) or too_long_label(program, event)
    if wrong is not None:
        return wrong
    found = program.subjects(event)
    return too_long(found) or tuple(Subject(event.tenant, scope, name) for scope, name in found)


def too_long(subjects: Iterable[tuple[str, str]]) -> str | None:
    """Return what is wrong with the name of one of some subjects, given by scope and name."""
    for scope, name in subjects:
        if len(name) * 4 > MAX_SUBJECT_BYTES and len(name.encode()) > MAX_SUBJECT_BYTES:
            return f"payload.{scope}: longer than {MAX_SUBJECT_BYTES} bytes, too long for a subject"
    return None


def too_long_label(program: Program, event: Event) -> str | None:
    """Return what is wrong with a value of an event that names an occurrence."""
    field = over_long(event, program.labels.get(event.type, ()))
    return None if field is None else f"payload.{field}: longer than {MOST_BYTES} bytes, too long for an occurrence"


def reserved(program: Program, event: Event) -> str | None:
    """Return what is wrong with the name of a user of an event: only an erased user is called like that."""
    if is_pseudonym(event.user):
        return RESERVED.format("user_id")
    field = program.roles.reserved(event)
    return None if field is None else RESERVED.format(f"payload.{field}")
