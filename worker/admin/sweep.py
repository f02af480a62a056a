"""The events of users that something new reads, by one pass over ledger and archive: the server sorts them by user.

An index by user finds all events of a user, in pages of the table that lie far apart, and those of other types in vain.
An index by user and type would cost every live event. So the ledger is read as it lies, and sorted by a hash of tenant
and user, which takes a quarter of a sort by their names. A slice is a range of hashes, and one snapshot, which is held
for seconds: rows that live work replaces cannot go meanwhile.

A chunk is some users with all their events of these types. It answers for the ledger where it can (`Chunk.read`).
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import aclosing
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.compile import USER
from dsl.outcome import Subject, canonical_order
from dsl.roles import is_pseudonym
from worker.admin.preview_events import read_by
from worker.engine.state_cache import BEGINNING
from worker.pipeline.archive import archived_by_hash, merged
from worker.pipeline.ledger import event_of, read_back

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping

    from dsl.compile import Plan
    from dsl.event import Event, Position
    from worker.contract.pack import EventRow
    from worker.engine.rule_set import Deployed
    from worker.store import Session, Store

CHUNK_USERS: Final = 1000
CHUNK_EVENTS: Final = 50_000
LONG: Final = 20_000
"""Events of one user that a chunk holds; the history of one with more is read by key, page by page."""
PAGE: Final = 2000
SLICE_EVENTS: Final = 1_000_000
SLICE_SECONDS: Final = 30
"""Of a build with a rate, for one slice."""
GROWTH: Final = 10
"""A slice is at most so many times as large as the one before."""
FIRST, LAST = -(2**63), 2**63 - 1
"""Of all hashes."""

IN_ONE_SCAN: Final = """
SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off;
SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL work_mem = '64MB';
"""
"""Elsewhere every statement goes by key."""


class Swept(NamedTuple):
    """What a sweep reads."""

    part: Plan
    """What is new, and what it names: all events of its types are read."""
    read: frozenset[str]
    """Event types whose payload is looked into."""

    def has(self, plan: Plan) -> bool:
        """Tell whether all is read that a plan looks at."""
        return plan is self.part or (plan.types <= self.part.types and read_by(plan) <= self.read)


class Chunk(NamedTuple):
    """Some users, with all their events of the types that are swept."""

    swept: Swept
    events: dict[Subject, list[Event]]
    """In canonical order; of users with a long history none."""
    long: set[Subject]
    number: int
    """Events that were read."""
    last: int
    """The hash of the last one."""

    def having(self, types: Collection[str]) -> list[Subject]:
        """Return the users with an event of some types."""
        if self.swept.part.types <= frozenset(types):
            return [*self.events]
        return [
            subject
            for subject, events in self.events.items()
            if subject in self.long or any(event.type in types for event in events)
        ]

    async def read(
        self,
        session: Session,
        rules: Deployed,
        scope: str,
        after: Mapping[Subject, Position],
        *,
        part: Plan | None = None,
    ) -> AsyncIterator[list[tuple[Subject, Event]]]:
        """Do what `read_back` does: from memory where the events are there, by key where they are not."""
        plan = rules.program.scopes[scope] if part is None else part
        here = {one for one in after if one not in self.long} if self.swept.has(plan) else set[Subject]()
        found: list[tuple[Subject, Event]] = []
        for subject in sorted(here):
            found += [(subject, event) for event in self._behind(subject, after[subject], plan)]
            if len(found) >= PAGE:
                yield found
                found = []
        if found:
            yield found
        others = {subject: position for subject, position in after.items() if subject not in here}
        if others:
            async for page in read_back(session, rules, scope, others, part=part):
                yield page

    def _behind(self, subject: Subject, after: Position, plan: Plan) -> list[Event]:
        events = self.events.get(subject, [])
        if plan is not self.swept.part:
            events = [event for event in events if event.type in plan.types]
        if after == BEGINNING:
            return events
        return events[bisect_right(events, (after.at, after.id), key=canonical_order) :]


class Sweep:
    """Reads the ledger in slices behind a hash; `rate` is how many events a second the build may read."""

    def __init__(self, rules: Deployed, swept: Swept, *, after: int | None, rate: int | None = None) -> None:
        self._rules = rules
        self._swept = swept
        self._events = SLICE_EVENTS if rate is None else min(SLICE_EVENTS, SLICE_SECONDS * rate)
        self._share = 0.0
        """Of all hashes, for the next slice."""
        self.after = FIRST if after is None else after
        """All users up to here were read."""

    @property
    def over(self) -> bool:
        """Whether all users were read."""
        return self.after == LAST

    async def slice(self, store: Store) -> AsyncGenerator[Chunk]:
        """Yield the chunks of the next slice.

        Raises:
            UnavailableError: the database went away.
        """
        events = 0
        async with store.transaction(patient=True) as session:
            if not self._share:
                ledger = await session.value(int, "estimated_events") or 0
                self._share = min(1.0, self._events / max(ledger, 1))
            upto = min(LAST, self.after + int(self._share * 2**64))
            await session.script(IN_ONE_SCAN)
            async with aclosing(chunks(session, self._rules, self._swept, after=self.after, upto=upto)) as found:
                async for chunk in found:
                    events += chunk.number
                    yield chunk
        self.after = upto
        self._share *= min(GROWTH, self._events / max(events, 1))


async def chunks(
    session: Session, rules: Deployed, swept: Swept, *, after: int = FIRST, upto: int = LAST
) -> AsyncGenerator[Chunk]:
    """Yield the users behind a hash, up to another one.

    Raises:
        UnavailableError: the database went away.
    """

    def hashed(*row: *_HashedRow) -> tuple[int, Event]:
        number, at, tenant, user, event_id, event_type, offset, payload = row
        return number, event_of(rules, tenant, event_id, event_type, user, at, offset, payload)

    made = Chunk(swept, {}, set(), 0, after)
    asked = {"types": sorted(swept.part.types), "read": sorted(swept.read), "after": after, "upto": upto}

    async def archived() -> AsyncGenerator[list[tuple[int, Event]]]:
        async for page in archived_by_hash(session, asked):
            yield [hashed(number, *_as_hashed(row, swept.read)) for number, row in page]

    async for page in merged(session.pages(hashed, "events_by_hash", **asked), archived(), _by_hash):
        for number, run in groupby(page, itemgetter(0)):
            if number != made.last and (len(made.events) >= CHUNK_USERS or made.number >= CHUNK_EVENTS):
                yield made
                made = Chunk(swept, {}, set(), 0, number)
            events = [event for _, event in run]
            for subject, own in _by_user(events):
                _add(made, subject, own)
            made = made._replace(number=made.number + len(events), last=number)
    if made.events:
        yield made


def _as_hashed(row: EventRow, read: Collection[str]) -> tuple[int, str, str, str, str, int, str | None]:
    tenant, event_id, event_type, user, at, offset, payload = row
    return at, tenant, user, event_id, event_type, offset, payload if event_type in read else None


def _by_hash(row: tuple[int, Event]) -> tuple[object, ...]:
    number, event = row
    return number, event.at, event.id, event.tenant, event.user


def _by_user(events: list[Event]) -> Iterator[tuple[Subject, list[Event]]]:
    """Yield the users of a hash, one as a rule, with their events; a pseudonym has no history."""
    users = {(event.tenant, event.user) for event in events}
    for tenant, user in users:
        if is_pseudonym(user):
            continue
        own = events if len(users) == 1 else [one for one in events if (one.tenant, one.user) == (tenant, user)]
        yield Subject(tenant, USER, user), own


def _add(chunk: Chunk, subject: Subject, events: list[Event]) -> None:
    known = chunk.events.setdefault(subject, [])
    if subject not in chunk.long:
        known += events
        if len(known) > LONG:
            chunk.long.add(subject)
            known.clear()


_HashedRow = tuple[int, int, str, str, str, str, int, str | None]
