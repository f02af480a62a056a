"""A batch is committed: facts are gathered, a decision is made, and what it says is written, in one transaction.

Whatever fails for a reason that passes is tried again as a whole, which insert-first makes harmless even where
the commit had taken place; what fails because of the data is split until the culprit is alone.

Measured and tried: docs/decisions/0008-hot-path/writers.md.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import structlog

from worker.contract.reasons import Reason
from worker.engine.decide import decide
from worker.engine.decoding import Decoding, decoded_again
from worker.engine.fast_users import Trust, divide, unknown_users
from worker.engine.folding import UnfoldableError
from worker.engine.long_way import LongWay, LongWayError
from worker.engine.state_cache import Hold
from worker.engine.subject_events import events_of_users
from worker.engine.tally import Tally
from worker.pipeline.fast_path import commit_fast
from worker.pipeline.fence import RulesMovedError
from worker.pipeline.gather import gather
from worker.pipeline.lookup import look_up_states
from worker.pipeline.stopwatch import Stopwatch
from worker.pipeline.write import write
from worker.retry import delays
from worker.settings import Clock
from worker.store import OvertakenError, RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from dsl.outcome import Subject
    from worker.engine.batch import Batch, DeadLetter
    from worker.engine.decide import Writes
    from worker.engine.fast_users import FastBatch
    from worker.engine.reconcile import Decision
    from worker.engine.rule_set import Deployed
    from worker.engine.state_cache import StateCache
    from worker.engine.stats import Stats
    from worker.settings import Settings
    from worker.store import Store

MAX_EVENTS: Final = 5000
"""Of one transaction. A message that is an array may hold more."""

log = structlog.get_logger()


class StoppedError(Exception):
    """The worker is to end, and this batch cannot be committed at the moment."""


class Committed(NamedTuple):
    """What a batch has decided, under which rules and when (`now`, in microseconds).

    Where it was not `certain` at the first try, an attempt may have been committed before, and what that one decided is
    not decided again.
    """

    decisions: Sequence[Decision]
    rules: Deployed
    now: int
    certain: bool


class InForce:
    """The rules in force, as far as this worker knows: shared by all its writers. `load` reads them from the ledger."""

    def __init__(self, load: Callable[[], Awaitable[Deployed]]) -> None:
        self._load = load
        self.rules: Deployed | None = None

    @property
    def epoch(self) -> int:
        """Their epoch; 0 where none were read."""
        return 0 if self.rules is None else self.rules.epoch

    async def reload(self) -> Deployed:
        """Read them again.

        Raises:
            UnavailableError: the database is away.
        """
        before, self.rules = self.rules, await self._load()
        if before is not None:
            self.rules.former.adopt(before.former)
        if before is None or before.epoch != self.rules.epoch:
            if self.rules.epoch:
                log.info("rules in force", epoch=self.rules.epoch, achievements=len(self.rules.rules.achievements))
            else:
                log.warning("no rules in force: events are recorded and nothing is granted; run `ach apply`")
        return self.rules


class Pipeline:
    """Commits batches, one after the other: a worker has one for each of its writers.

    `now` is the wall clock in microseconds; `stopping` says whether to give up rather than try again; `on_committed` is
    called with what a batch has decided, once that is committed.
    """

    def __init__(  # noqa: PLR0913 - what it works with, each by name
        self,
        store: Store,
        settings: Settings,
        cache: StateCache,
        stats: Stats,
        *,
        in_force: InForce,
        now: Callable[[], int],
        stopping: Callable[[], bool],
        on_committed: Callable[[Committed], None] | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._cache = cache
        self._stats = stats
        self._in_force = in_force
        self._now = now
        self._stopping = stopping
        self._on_committed = on_committed
        self._trust = Trust()
        self._tally = Tally()

    def take_tally(self) -> Tally:
        """Return what was committed since this was called last."""
        taken, self._tally = self._tally, Tally()
        return taken

    async def begin(self) -> Decoding:
        """Begin to read messages under the rules that were in force when we last looked; committing looks again.

        Raises:
            StoppedError: the rules cannot be read at the moment, and the worker is to end.
        """
        return Decoding(self._in_force.rules or await self._reload(_nothing))

    async def commit(self, batch: Batch, *, waiting: Callable[[], Awaitable[None]]) -> list[DeadLetter]:
        """Commit a batch, however often that has to be tried; return everything that was dead-lettered.

        `waiting` is called before each further attempt, so that the broker does not deliver the batch again.

        Raises:
            StoppedError: it is not committed, as far as is known, and the worker is to end.
        """
        events = events_of_users(batch.groups)
        if unknown := unknown_users(events, self._cache):
            await self._look_up(batch.rules, unknown)
        watch = Stopwatch()
        with watch:
            fast, rest, reasons = divide(batch, events, self._cache, trusting=self._trust.given())
        if reasons:
            self._stats.long_ways.update(reasons)
        if fast is None:
            return await self._commit(batch, waiting=waiting)
        committed = await self._commit_fast(fast, watch)
        if fast.look.late:
            (self._trust.kept if committed else self._trust.broken)()
        if not committed:
            return await self._commit(batch, waiting=waiting, certain=False)
        return await self._commit(rest, waiting=waiting) if rest.groups or rest.letters else []

    async def _look_up(self, rules: Deployed, unknown: Mapping[Subject, int]) -> None:
        try:
            async with self._store.alone() as session:
                await look_up_states(session, rules, unknown, self._cache)
        except (UnavailableError, RefusedError) as error:  # those that stay unknown take the long way
            log.debug("users stay unknown", said=str(error))

    async def _commit_fast(self, fast: FastBatch, watch: Stopwatch) -> bool:
        """Commit what can take the fast path; return False where that has not happened, as far as is known."""
        began = perf_counter()
        clock = fast.latest if self._settings.clock is Clock.STREAM else fast.batch.now
        try:
            async with self._store.alone() as session:
                writes = await commit_fast(session, fast, self._cache, clock=clock, watch=watch)
        except (LongWayError, OvertakenError, UnavailableError, RefusedError, UnfoldableError) as error:
            log.debug("the long way", because=str(error))
            self._cache.failed(fast.hold)
            self._stats.overtaken += 1
            self._stats.long_ways[_reason_of(error)] += 1
            return False
        except BaseException:
            self._cache.failed(fast.hold)
            raise
        self._committed(fast.batch, fast.hold, writes, perf_counter() - began, watch, certain=True)
        self._tally.count(writes, fast=True)
        return True

    async def _commit(
        self, batch: Batch, *, waiting: Callable[[], Awaitable[None]], certain: bool = True
    ) -> list[DeadLetter]:
        """Commit a batch the long way, which takes nothing for granted.

        It is not `certain` that nothing of it is committed already where that was tried before.
        """
        for delay in delays():
            began, hold, watch = perf_counter(), Hold(), Stopwatch()
            try:
                writes = await self._attempt(batch, hold, watch)
            except RulesMovedError:
                self._cache.failed(hold)
                certain = False
                batch = decoded_again(batch, await self._reload(waiting))
                continue
            except (RefusedError, UnfoldableError) as error:
                self._cache.failed(hold)
                return await self._isolate(batch, error, waiting)
            except UnavailableError as error:
                self._cache.failed(hold)
                certain = False
                self._stats.retries += 1
                self._tally.retries += 1
                await self._wait(error, delay, waiting)
                continue
            except BaseException:
                self._cache.failed(hold)
                raise
            self._committed(batch, hold, writes, perf_counter() - began, watch, certain=certain)
            self._tally.count(writes, fast=False)
            return [*writes.arrivals.letters]
        raise AssertionError("delays() never ends")

    async def _attempt(self, batch: Batch, hold: Hold, watch: Stopwatch) -> Writes:
        async with self._store.transaction() as session:
            facts = await gather(session, batch, self._cache, hold, watch)
            clock = facts.arrivals.latest if self._settings.clock is Clock.STREAM else batch.now
            with watch:
                writes = decide(batch.rules, facts, now=batch.now, clock=clock)
            return await write(session, self._settings, batch.rules, writes)

    def _committed(
        self, batch: Batch, hold: Hold, writes: Writes, seconds: float, watch: Stopwatch, *, certain: bool
    ) -> None:
        self._cache.committed(hold)
        self._stats.count_evaluation(batch.groups, batch.rules.heard, watch.seconds)
        self._stats.count_batch(writes, seconds)
        decisions = writes.decisions
        if self._on_committed is not None and (decisions or not certain):
            self._on_committed(Committed(decisions, batch.rules, batch.now, certain=certain))

    async def _isolate(
        self, batch: Batch, error: RefusedError | UnfoldableError, waiting: Callable[[], Awaitable[None]]
    ) -> list[DeadLetter]:
        """Commit what can be committed of a batch that cannot as a whole, and dead-letter what cannot."""
        if not batch.groups:
            raise error
        if batch.size == 1:
            reason = Reason.REFUSED if isinstance(error, RefusedError) else Reason.DEFECT
            # The words of the server may quote what was sent: they are in the dead letter, and not in the log.
            log.error("an event cannot be processed and becomes a dead letter: please report this", reason=reason.value)
            return await self._commit(batch.condemned(reason, str(error)), waiting=waiting, certain=False)
        letters: list[DeadLetter] = []
        for piece in batch.pieces((batch.size + 1) // 2):
            letters.extend(await self._commit(piece, waiting=waiting, certain=False))
        return letters

    async def _reload(self, waiting: Callable[[], Awaitable[None]]) -> Deployed:
        for delay in delays():
            try:
                return await self._in_force.reload()
            except UnavailableError as error:
                await self._wait(error, delay, waiting)
        raise AssertionError("delays() never ends")

    async def _wait(self, error: UnavailableError, delay: float, waiting: Callable[[], Awaitable[None]]) -> None:
        log.warning("the database is not available", said=str(error), retry_in=round(delay, 2))
        if self._stopping():
            raise StoppedError from error
        await waiting()
        await anyio.sleep(delay)


def _reason_of(error: Exception) -> LongWay:
    """Return why the fast path was left."""
    match error:
        case LongWayError(reason=reason):
            return reason
        case OvertakenError(reason=reason):
            return LongWay(reason)
        case UnfoldableError():
            return LongWay.UNFOLDABLE
        case RefusedError():
            return LongWay.EVENT_KNOWN
        case _:
            return LongWay.UNAVAILABLE


async def _nothing() -> None:
    pass
