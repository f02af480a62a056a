"""The sentence of the engine: a batch is decoded, fenced, recorded, judged, granted, buried and committed.

One batch is one transaction. Whatever fails for a reason that passes is tried again as a whole, which insert-first
makes harmless even where the commit had taken place; what fails because of the data is split until the culprit is
alone.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import anyio
import structlog

from worker.contract.reasons import Reason
from worker.engine.batch import Attempt, Batch, DeadLetter, Decoding
from worker.engine.origin import arrived
from worker.pipeline.dead_letters import bury
from worker.pipeline.fast_path import Trust, commit_fast, divide, meet, unknown_users
from worker.pipeline.fence import RulesMovedError, take_partitions
from worker.pipeline.folding import UnfoldableError, judge, save_progress
from worker.pipeline.grants import Earned, settle_unlocks
from worker.pipeline.ledger import list_members, load_standings, move_latest, record_events
from worker.retry import delays
from worker.settings import Clock
from worker.store import OvertakenError, RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from dsl.outcome import Subject
    from worker.engine.reconcile import Decision
    from worker.engine.rule_set import Deployed
    from worker.engine.state_cache import StateCache
    from worker.engine.stats import Stats
    from worker.pipeline.fast_path import FastPath
    from worker.settings import Settings
    from worker.store import Session, Store

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

    async def reload(self) -> Deployed:
        """Read them again.

        Raises:
            UnavailableError: the database is away.
        """
        before, self.rules = self.rules, await self._load()
        if before is None or before.epoch != self.rules.epoch:
            if self.rules.epoch:
                log.info("rules in force", epoch=self.rules.epoch, achievements=len(self.rules.rules.achievements))
            else:
                log.warning("no rules in force: events are recorded and nothing is granted; run `ach apply`")
        return self.rules


class Pipeline:
    """Commits batches, one after the other: a worker has one for each of its writers.

    `now` is the wall clock in microseconds; `stopping` tells whether to give up rather than try again; `on_committed`
    is told what a batch has decided, once that is committed.
    """

    def __init__(  # noqa: PLR0913 - what it works with, each by name
        self,
        store: Store,
        settings: Settings,
        memory: StateCache,
        stats: Stats,
        *,
        in_force: InForce,
        now: Callable[[], int],
        stopping: Callable[[], bool],
        on_committed: Callable[[Committed], None] | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._memory = memory
        self._stats = stats
        self._in_force = in_force
        self._now = now
        self._stopping = stopping
        self._on_committed = on_committed
        self._trust = Trust()

    async def begin(self) -> Decoding:
        """Begin to read messages under the rules that were in force when we last looked; committing looks again.

        Raises:
            StoppedError: the rules cannot be read at the moment, and the worker is to end.
        """
        return Decoding(self._in_force.rules or await self._reload(_nothing))

    async def commit(self, batch: Batch, *, waiting: Callable[[], Awaitable[None]]) -> list[DeadLetter]:
        """Commit a batch, however often that has to be tried; return everything that was dead-lettered.

        `waiting` is called before each further attempt, so that the broker does not lose its patience.

        Raises:
            StoppedError: it is not committed, as far as is known, and the worker is to end.
        """
        if strangers := unknown_users(batch, self._memory):
            await self._meet(batch.rules, strangers)
        express, rest = divide(batch, self._memory, trusting=self._trust.given())
        if express is None:
            return await self._commit(batch, waiting=waiting)
        committed = await self._commit_express(express)
        if express.attempt.late:
            (self._trust.kept if committed else self._trust.broken)()
        if not committed:
            return await self._commit(batch, waiting=waiting, certain=False)
        return await self._commit(rest, waiting=waiting) if rest.groups or rest.letters else []

    async def _meet(self, rules: Deployed, strangers: Mapping[Subject, int]) -> None:
        try:
            async with self._store.alone() as session:
                await meet(session, rules, strangers, self._memory)
        except (UnavailableError, RefusedError) as error:  # who stays a stranger goes the long way
            log.debug("strangers stay strangers", said=str(error))

    async def _commit_express(self, express: FastPath) -> bool:
        """Commit what can go the express way; return False where it has not, as far as is known."""
        began, attempt = perf_counter(), express.attempt
        try:
            async with self._store.alone() as session:
                await commit_fast(session, express, self._memory, clock=self._clock(attempt))
        except (OvertakenError, UnavailableError, RefusedError, UnfoldableError) as error:
            log.debug("the long way", because=str(error))
            self._memory.failed(attempt.hold)
            self._stats.overtaken += 1
            return False
        except BaseException:
            self._memory.failed(attempt.hold)
            raise
        self._committed(attempt, perf_counter() - began, certain=True)
        return True

    async def _commit(
        self, batch: Batch, *, waiting: Callable[[], Awaitable[None]], certain: bool = True
    ) -> list[DeadLetter]:
        """Commit a batch the long way, which takes nothing for granted.

        It is not `certain` that nothing of it is committed already where that was tried before.
        """
        for delay in delays():
            began = perf_counter()
            attempt = Attempt(batch)
            try:
                await self._attempt(attempt)
            except RulesMovedError:
                self._memory.failed(attempt.hold)
                certain = False
                batch = batch.again(await self._reload(waiting))
                continue
            except (RefusedError, UnfoldableError) as error:
                self._memory.failed(attempt.hold)
                return await self._isolate(batch, error, waiting)
            except UnavailableError as error:
                self._memory.failed(attempt.hold)
                certain = False
                self._stats.retries += 1
                await self._wait(error, delay, waiting)
                continue
            except BaseException:
                self._memory.failed(attempt.hold)
                raise
            self._committed(attempt, perf_counter() - began, certain=certain)
            return attempt.letters
        raise AssertionError("delays() never ends")

    def _committed(self, attempt: Attempt, seconds: float, *, certain: bool) -> None:
        batch = attempt.batch
        self._memory.committed(attempt.hold)
        self._stats.count_batch(attempt, seconds)
        if self._on_committed is not None and (attempt.decisions or not certain):
            self._on_committed(Committed(attempt.decisions, batch.rules, batch.now, certain=certain))

    async def _attempt(self, attempt: Attempt) -> None:
        async with self._store.transaction() as session:
            await take_partitions(session, attempt, self._memory)
            await load_standings(session, attempt, self._memory)
            await record_events(session, attempt)
            await list_members(session, attempt)
            await judge(session, attempt)
            move_latest(attempt)
            await save_progress(session, attempt)
            await self._settle(session, attempt)
            buried = await bury(session, self._settings, attempt.letters, now=attempt.batch.now)
            attempt.letters = buried.letters
            attempt.erased += buried.erased

    async def _settle(self, session: Session, attempt: Attempt) -> None:
        batch, clock = attempt.batch, self._clock(attempt)
        earned = Earned(attempt.stepped, attempt.refolded, arrived(batch.groups, attempt.replanned))
        attempt.decisions = await settle_unlocks(session, batch.rules, earned, now=batch.now, clock=clock)

    def _clock(self, attempt: Attempt) -> int:
        """Return what tells whether an unlock has settled, in microseconds."""
        if self._settings.clock is Clock.STREAM:
            return max((event.at for event in attempt.events), default=0)
        return attempt.batch.now

    async def _isolate(
        self, batch: Batch, error: RefusedError | UnfoldableError, waiting: Callable[[], Awaitable[None]]
    ) -> list[DeadLetter]:
        """Commit what can be committed of a batch that cannot as a whole, and dead-letter what cannot."""
        if not batch.groups:
            raise error
        if batch.size == 1:
            reason = Reason.REFUSED if isinstance(error, RefusedError) else Reason.DEFECT
            log.error("dead-lettering", reason=reason.value, said=str(error))
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


async def _nothing() -> None:
    pass
