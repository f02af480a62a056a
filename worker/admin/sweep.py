"""The events of users that something new reads, by one pass over ledger and archive: the server sorts them by user.

An index by user finds all events of a user, in pages of the table that lie far apart, and those of other types in vain.
An index by user and type would cost every live event. So the ledger is read as it lies, and sorted by a hash of tenant
and user, which takes a quarter of a sort by their names. A slice is a range of hashes, and one snapshot: rows that live
work replaces cannot go meanwhile. So a slice beside live work is small, and a large one is left once there is some.

A chunk is some users with all their events of these types. It answers for the ledger where it can (`Chunk.read`).
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from dsl.outcome import canonical_order
from worker.admin.hashed_events import FIRST, LAST, runs_by_hash
from worker.engine.state_cache import BEGINNING
from worker.pipeline.ledger import runs_back

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping

    from dsl.compile import Plan
    from dsl.event import Event, Position
    from dsl.outcome import Subject
    from worker.admin.hashed_events import Swept
    from worker.engine.rule_set import Deployed
    from worker.pipeline.ledger import Run
    from worker.store import Session, Store

CHUNK_USERS: Final = 1000
CHUNK_EVENTS: Final = 50_000
LONG: Final = 20_000
"""Events of one user that a chunk holds; the history of one with more is read by key, page by page."""
SLICE_EVENTS: Final = 1_000_000
"""Of a slice beside live work; its snapshot is held for seconds."""
CALM_EVENTS: Final = 16_000_000
"""Of one without: each slice looks at the whole ledger, and the server sorts these on its disk, some 130 bytes each."""
SLICE_SECONDS: Final = 30
"""Of a build with a rate, for one slice."""
WATCH_SECONDS: Final = 0.5
"""For which live work is looked for before the first slice of a large ledger."""
GROWTH: Final = 10
"""A slice is at most so many times as large as the one before beside live work."""
IN_ONE_SCAN: Final = """
SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off;
SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL work_mem = '64MB';
SET LOCAL max_parallel_workers_per_gather = 0;
"""
"""Elsewhere every statement goes by key. No plan for several processes: what a cursor reads, one alone reads."""


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
        if self.swept.types <= frozenset(types):
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
    ) -> AsyncIterator[list[Run]]:
        """Do what `runs_back` does: from memory where the events are there, by key where they are not."""
        plan = rules.program.scopes[scope] if part is None else part
        here: list[Run] = []
        others = dict(after)
        if plan.types <= self.swept.types:
            whole = self.swept.has(plan)
            for subject, position in after.items():
                if subject in self.long or subject not in self.events:
                    continue
                behind = self._behind(subject, position, plan)
                if whole or not behind:
                    del others[subject]
                if whole and behind:
                    here.append((subject, behind))
        if here:
            yield here
        if others:
            async for page in runs_back(session, rules, scope, others, part=part):
                yield page

    def _behind(self, subject: Subject, after: Position, plan: Plan) -> list[Event]:
        events = self.events[subject]
        if after != BEGINNING:
            events = events[bisect_right(events, (after.at, after.id), key=canonical_order) :]
        return events if plan.types >= self.swept.types else [event for event in events if event.type in plan.types]


class Sweep:
    """Reads the ledger in slices behind a hash; `rate` is how many events a second the build may read."""

    def __init__(self, rules: Deployed, swept: Swept, *, after: int | None, rate: int | None = None) -> None:
        self._rules = rules
        self._swept = swept
        self._events = SLICE_EVENTS if rate is None else min(SLICE_EVENTS, SLICE_SECONDS * rate)
        self._calm_events = CALM_EVENTS if rate is None else self._events
        self._share = 0.0
        """Of all hashes, for a slice of so many events as one has beside live work."""
        self.after = FIRST if after is None else after
        """All users up to here were read."""

    @property
    def over(self) -> bool:
        """Whether all users were read."""
        return self.after == LAST

    async def slice(self, store: Store, calm: Callable[[], bool]) -> AsyncGenerator[Chunk]:
        """Yield the chunks of the next slice; `calm` tells whether there is no live work.

        Raises:
            UnavailableError: the database went away.
        """
        expected = self._events
        if self._share:
            expected = self._calm_events if calm() else self._events
        elif await self._begin(store) and calm():
            expected = self._calm_events
        events, larger = 0, expected / self._events
        upto = min(LAST, self.after + int(min(1.0, larger * self._share) * 2**64))
        async with store.transaction(patient=True) as session:
            await session.script(IN_ONE_SCAN)
            async with aclosing(chunks(session, self._rules, self._swept, after=self.after, upto=upto)) as found:
                async for chunk in found:
                    events += chunk.number
                    yield chunk
                    if expected > self._events <= events and not calm():
                        self.after = chunk.last
                        return
        self.after = upto
        self._share *= min(GROWTH, expected / max(events, 1))

    async def _begin(self, store: Store) -> bool:
        """See how large the ledger is; return whether partitions stay as they are while one waits a moment."""
        async with store.transaction() as session:
            ledger = await session.value(int, "estimated_events") or 0
            before = await session.value(int, "generations")
        self._share = min(1.0, self._events / max(ledger, 1))
        if ledger <= self._events:
            return False
        await anyio.sleep(WATCH_SECONDS)
        async with store.transaction() as session:
            return await session.value(int, "generations") == before


async def chunks(
    session: Session, rules: Deployed, swept: Swept, *, after: int = FIRST, upto: int = LAST
) -> AsyncGenerator[Chunk]:
    """Yield the users behind a hash, up to another one.

    Raises:
        UnavailableError: the database went away.
    """
    made = Chunk(swept, {}, set(), 0, after)
    events, last = 0, after
    async with aclosing(runs_by_hash(session, rules, swept, after=after, upto=upto)) as pages:
        async for page in pages:
            for number, subject, own in page:
                if number != last and (len(made.events) >= CHUNK_USERS or events >= CHUNK_EVENTS):
                    yield made._replace(number=events, last=last)
                    made, events = Chunk(swept, {}, set(), 0, number), 0
                events, last = events + len(own), number
                _add(made, subject, own)
    if made.events:
        yield made._replace(number=events, last=last)


def _add(chunk: Chunk, subject: Subject, events: list[Event]) -> None:
    known = chunk.events.setdefault(subject, events)
    if subject in chunk.long:
        return
    if known is not events:
        known += events
    if len(known) > LONG:
        chunk.long.add(subject)
        known.clear()
