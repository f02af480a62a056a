"""The events of all subjects of a scope, as a stream in the order of subjects; streams that are merged."""

from __future__ import annotations

from asyncio import Lock, create_task, sleep, wait
from bisect import bisect_right
from functools import partial
from itertools import chain, groupby, islice
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from dsl.compile import USER
from dsl.outcome import Subject
from dsl.roles import base_of, bases, is_pseudonym
from worker.engine.batch import MAX_SUBJECT_BYTES
from worker.engine.columns import FIELDLESS
from worker.pipeline.archive import archived_by_tenant, archived_by_user, archived_in_roles, archived_of_types, merged
from worker.pipeline.ledger import event_of, in_roles
from worker.pipeline.sorted_lines import SortedLines

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from dsl.compile import Plan
    from dsl.event import Event
    from worker.engine.rule_set import Deployed
    from worker.pipeline.ledger import EventRow
    from worker.store import Session

    Run = tuple[Subject, list[Event]]

T = TypeVar("T")

LINES: Final = 1000
"""Events that are taken out of temporary files together."""
_SEPARATOR: Final = "\0"
"""Between the parts of a line: PostgreSQL stores no text that has it."""
_SHIFT: Final = 10**18
"""Added to instants (microseconds), so that they are in order as text of one width."""


class Events:
    """The events that the plan of one scope hears, as runs: some events of a subject that follow each other."""

    def __init__(self, session: Session, rules: Deployed, scope: str, plan: Plan) -> None:
        self._session = session
        self._rules = rules
        self._scope = scope
        self._types = sorted(bases(plan.types))
        self._plan = plan
        self._in_roles = in_roles(rules, scope)
        self._read = sorted(read_by(plan)) if scope in FIELDLESS else self._types
        """Types whose payload the plan looks into; of others it is not fetched."""

    def all(self) -> AsyncGenerator[list[Run]]:
        """Yield all of them, in the order of subjects, and in canonical order."""
        if self._in_roles:
            return self._by_role("events_by_user_in_roles")
        if self._scope in FIELDLESS:
            return self._by_key("events_by_user" if self._scope == USER else "events_by_tenant")
        return self._by_field()

    def unseen(self) -> AsyncGenerator[list[Run]]:
        """Yield those that states have not seen yet: states of users may lag behind, and no others."""
        if self._in_roles:
            return self._by_role(_UNSEEN_IN_ROLES)
        return self._by_key(_UNSEEN) if self._scope == USER else _no_events()

    async def _by_key(self, query: str) -> AsyncGenerator[list[Run]]:
        scope, reads = self._scope, frozenset(self._read)
        subject_of = _USER if scope == USER else _TENANT
        event = partial(event_of, self._rules)

        async def archived() -> AsyncGenerator[list[Event]]:
            pages = archived_by_user if scope == USER else archived_by_tenant
            async for page in pages(self._session, self._types):
                yield [event(*row[:-1], row[-1] if row[2] in reads else None) for _, row in page]

        found = self._session.pages(event, query, types=self._types, read=self._read)
        if query != _UNSEEN:
            found = merged(found, archived(), _BY_USER if scope == USER else _BY_TENANT)
        async for page in found:
            yield [
                (Subject(names[0], scope, names[1]), list(events))
                for names, events in groupby(page, key=subject_of)
                if scope != USER or not is_pseudonym(names[1])
            ]

    async def _by_role(self, query: str) -> AsyncGenerator[list[Run]]:
        """Yield the events of users as they are in the history of each, without those in roles that no rule names."""
        roles, heard = self._rules.program.roles, self._plan.types

        def seen(name: str, *row: *EventRow) -> tuple[Subject, Event]:
            return Subject(row[0], USER, name), roles.seen_by(event_of(self._rules, *row), name)

        def named(row: EventRow) -> Iterator[str]:
            return chain((row[3],), roles.named(event_of(self._rules, *row)))

        async def archived() -> AsyncGenerator[list[tuple[Subject, Event]]]:
            async for page in archived_in_roles(self._session, self._types, named):
                yield [seen(name, *row) for name, row in page]

        found: AsyncIterator[list[tuple[Subject, Event]]] = self._session.pages(seen, query, types=self._types)
        if query != _UNSEEN_IN_ROLES:
            found = merged(found, archived(), _in_order)
        async for page in found:
            mine = (one for one in page if one[1].type in heard)
            yield [(user, [event for _, event in some]) for user, some in groupby(mine, key=itemgetter(0))]

    async def _by_field(self) -> AsyncGenerator[list[Run]]:
        """Yield the events of the subjects of a field: which subject that is, the new rules say."""
        with SortedLines() as lines:
            async for page in self._session.pages(_row, "events_of_types", types=self._types):
                lines.add(line for row in page for line in self._lines(row))
            async for page in archived_of_types(self._session, self._types):
                lines.add(line for row in page for line in self._lines(row))
            ordered = iter(lines)
            while part := [self._heard(line) for line in islice(ordered, LINES)]:
                yield [(subject, [event for _, event in heard]) for subject, heard in groupby(part, key=itemgetter(0))]

    def _lines(self, row: EventRow) -> Iterator[bytes]:
        event = event_of(self._rules, *row)
        for scope, name in self._rules.program.subjects(event):
            if scope == self._scope and len(name.encode()) <= MAX_SUBJECT_BYTES:
                key = (event.tenant, name, f"{event.at + _SHIFT:020}", event.id)
                yield _SEPARATOR.join((*key, msgspec.json.encode(row).decode())).encode()

    def _heard(self, line: bytes) -> tuple[Subject, Event]:
        tenant, name, _, _, row = line.decode().split(_SEPARATOR, 4)
        return Subject(tenant, self._scope, name), event_of(self._rules, *_decoder.decode(row))


_USER: Final = attrgetter("tenant", "user")
_TENANT: Final = attrgetter("tenant", "tenant")
_BY_USER: Final = attrgetter("tenant", "user", "at", "id")
_BY_TENANT: Final = attrgetter("tenant", "at", "id")
_UNSEEN: Final = "unseen_events_by_user"
_UNSEEN_IN_ROLES: Final = "unseen_events_in_roles"
"""They are never archived."""
_decoder: Final = msgspec.json.Decoder(tuple[str, str, str, str, int, int, str | None])


def read_by(plan: Plan) -> set[str]:
    """Return the event types whose fields a plan reads."""
    read = {base_of(event) for entry in plan.entries for event, _ in entry.reads}
    return read | {entry.base for entry in plan.dispatch.values() if entry.traits or entry.once is not None}


def _in_order(row: tuple[Subject, Event]) -> tuple[object, ...]:
    subject, event = row
    return subject, event.at, event.id


def _row(*row: *EventRow) -> EventRow:
    return row


async def _no_events() -> AsyncGenerator[list[Run]]:
    return
    yield []


async def ahead(pages: AsyncIterator[list[T]], lock: Lock) -> AsyncGenerator[list[T]]:
    """Yield pages, and ask for the next one beforehand: the server works on it while this one is looked at.

    A connection answers one question at a time, so whatever is asked beside holds the same lock.
    """

    async def fetch() -> list[T] | None:
        async with lock:
            return await anext(pages, None)

    waiting = create_task(fetch())
    try:
        while True:
            page = await waiting
            if page is None:
                return
            waiting = create_task(fetch())
            await sleep(0)  # so that it is sent
            if page:
                yield page
    finally:
        waiting.cancel()
        await wait([waiting])


class Ordered(Generic[T]):
    """A stream of pages in the order of subjects, taken up to a subject at a time."""

    def __init__(self, pages: AsyncIterator[list[T]], key: Callable[[T], Subject]) -> None:
        self._pages = pages
        self._key = key
        self._page: list[T] = []
        self._at = 0
        self._ended = False

    async def take(self, bound: Subject | None) -> list[T] | None:
        """Take some of the next rows, up to those of a subject (None: of any); return None where there are no more."""
        while self._at == len(self._page):
            page = None if self._ended else await anext(self._pages, None)
            if page is None:
                self._ended = True
                return None
            self._page, self._at = page, 0
        page, at = self._page, self._at
        self._at = len(page) if bound is None else bisect_right(page, bound, at, key=self._key)
        return page[at : self._at] or None
