"""A function at work: the pipeline of a worker, with a connection that is kept from batch to batch."""

from __future__ import annotations

from contextlib import AsyncExitStack
from time import monotonic, time
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4
from weakref import WeakKeyDictionary

import anyio
import msgspec
import structlog

from ach.announcing import Relay
from ach.errors import DatabaseError
from ach.ready import wall_clock
from ach.records import STREAM, read_records
from worker.engine.state_cache import StateCache
from worker.engine.stats import Stats
from worker.pipeline.minute_book import minute_columns
from worker.pipeline.pipeline import MAX_EVENTS, InForce, Pipeline
from worker.pipeline.rules_in_force import RuleSetRow, load_deployed, prepare, renamed_before, since_of
from worker.store import (
    DatabaseUrlError,
    RefusedError,
    SchemaMismatchError,
    UnavailableError,
    UnusableError,
    open_store,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from ach.delivery import Announce, BatchResponse
    from ach.records import Records, Tenant
    from ach.rules import Rules
    from worker.contract.message import Message
    from worker.engine.rule_set import Deployed
    from worker.settings import Settings
    from worker.store import Store

IDLE_SECONDS: Final = 30.0
"""After which a connection is not used again. A process that was frozen finds its own cut off without a word, and would
wait for an answer; the wall clock shows that time has passed."""
COUNT_SECONDS: Final = 10.0
"""Between two writings of what was counted, by the wall clock."""
CONNECTIONS: Final = 3
"""One for batches; with announcements, one for what is claimed, and one to read rules meanwhile."""

log = structlog.get_logger()


class _Open(NamedTuple):
    """What works over one pool of connections."""

    stack: AsyncExitStack
    store: Store
    pipeline: Pipeline
    relay: Relay


class Function:
    """Commits batches, one after the other. `close` it in the loop that it was used in."""

    def __init__(self, settings: Settings, rules: Rules | None = None) -> None:
        # Dead letters say by their stream that they came this way.
        self._settings = msgspec.structs.replace(settings, input_stream=STREAM)
        self._rules = rules
        self._memory = StateCache(uuid4().hex, settings.cache_subjects)
        self.stats = Stats()
        self.stats.minutes.prefix = settings.input_prefix
        self._in_force = InForce(self._load)
        self._turn = anyio.Lock()
        self._store: Store | None = None
        self._open: _Open | None = None
        self._used_at = self._counted_at = 0.0

    async def batch(
        self, records: Records, *, tenant: Tenant, announce: Announce | None = None, seconds: float
    ) -> BatchResponse:
        """Do what `ach.batch` says."""
        read = read_records(records, tenant, prefix=self._settings.input_prefix)
        ends, opened = monotonic() + seconds, None
        async with self._turn:
            with anyio.move_on_after(ends - monotonic()):
                ready = await self._opened()
                await self._commit(ready.pipeline, [one.message for one in read])
                opened = ready
            if opened is None:
                log.error("a batch was not committed in time and is to come again", size=len(read), seconds=seconds)
            elif announce is not None:
                with anyio.move_on_after(ends - monotonic()):
                    await opened.relay.relay(announce)
            with anyio.move_on_after(COUNT_SECONDS):
                await self._write_counts()
            self._used_at = time()
        return {"batchItemFailures": [] if opened else [{"itemIdentifier": one.id} for one in read]}

    async def close(self) -> None:
        """Close the connection; the next batch opens another one."""
        opened, self._open = self._open, None
        if opened is not None:
            await opened.stack.aclose()

    async def _commit(self, pipeline: Pipeline, messages: Sequence[Message]) -> None:
        if not messages:
            return
        decoding = await pipeline.begin()
        decoding.add(messages, now=wall_clock())
        batch = decoding.done(now=wall_clock())
        for part in batch.pieces(MAX_EVENTS):
            await pipeline.commit(part, waiting=_nothing)

    async def _opened(self) -> _Open:
        if self._open is None or not 0 <= time() - self._used_at < IDLE_SECONDS:
            await self.close()
            self._open = await self._connect()
        self._used_at = time()
        return self._open

    async def _connect(self) -> _Open:
        stack = AsyncExitStack()
        store = await stack.enter_async_context(
            open_store(self._settings.database_url, connections=CONNECTIONS, pooler=self._settings.pooler)
        )
        self._store = store.kept()
        pipeline = Pipeline(
            self._store,
            self._settings,
            self._memory,
            self.stats,
            in_force=self._in_force,
            now=wall_clock,
            stopping=_never,
        )
        try:
            await self._check()
        except BaseException:
            await stack.aclose()
            raise
        return _Open(stack, store, pipeline, Relay(store, self._settings, self.stats, now=wall_clock))

    async def _check(self) -> None:
        """Look at schema and rules once before the first batch: what an operator has to mend is said at once."""
        if self._in_force.rules is not None or self._store is None:
            return
        try:
            await self._store.check_schema()
            await self._in_force.reload()
        except (UnusableError, DatabaseUrlError, SchemaMismatchError) as error:
            raise DatabaseError(str(error)) from None
        except UnavailableError as error:  # the batch waits for it
            log.debug("the rules cannot be read yet", said=str(error))

    async def _load(self) -> Deployed:
        if self._store is None:
            raise AssertionError("rules are read through an open connection")
        if self._rules is None:
            return await load_deployed(self._store, self._settings)
        async with self._store.transaction() as session:
            row = await session.row(RuleSetRow, "rules_in_force")
            since = await since_of(session)
            renamed = await renamed_before(session)
        ruleset = self._rules.ready.ruleset
        if row is None or sorted(file.text for file in row.files()) != sorted(one.text for one in ruleset.sources):
            in_force = "none are" if row is None else f"rule set {row.epoch} is"
            raise DatabaseError(
                f"the rules that were given are not those in force, {in_force}: give the files of `ach apply`, or none"
            )
        return prepare(row.epoch, ruleset, since, self._settings, row.cause, renamed)

    async def _write_counts(self) -> None:
        """Write what was counted by minute, for the console; where that fails, it waits for the next batch."""
        minutes = self.stats.minutes
        if self._store is None or not minutes or 0 <= time() - self._counted_at < COUNT_SECONDS:
            return
        taken = minutes.take()
        try:
            async with self._store.alone() as session:
                await session.run("add_minutes", **minute_columns(taken))
        except (UnavailableError, RefusedError) as error:
            minutes.put_back(taken)
            log.debug("the counts of this minute wait", said=str(error))
        self._counted_at = time()


_known: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Settings, Rules | None], Function]] = (
    WeakKeyDictionary()
)


def functions_of(loop: asyncio.AbstractEventLoop) -> dict[tuple[Settings, Rules | None], Function]:
    """Return the functions of a loop, for `ach.batch` to find again."""
    return _known.setdefault(loop, {})


def _never() -> bool:
    return False


async def _nothing() -> None:
    pass
