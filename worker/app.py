"""The composition root: servers, stages and signals put together, for one worker in one event loop.

The stages run side by side: while a batch is in the database, the next one is pulled and decoded, and the unlocks of
the one before are announced.

    intake (pulls, decodes) -> writers (each commits parts of a batch) -> outbox (announces)

To stop the worker, set its `stop` event. It then finishes its batch, acknowledges it, announces what was granted, and
returns.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from functools import partial
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import uuid4

import anyio
import structlog

from worker.admin.moments import Moments
from worker.admin.successor import Successor
from worker.broker.error_text import Kind as ErrorKind
from worker.broker.pull import HEARTBEAT_SECONDS
from worker.broker.streams import BrokerAwayError, open_broker
from worker.engine.batch import terminations
from worker.engine.state_cache import StateCache
from worker.engine.stats import Stats
from worker.pipeline.batch_log import BatchLog
from worker.pipeline.intake import Intake
from worker.pipeline.minute_book import MinuteBook
from worker.pipeline.observer import Observer
from worker.pipeline.outbox import OutboxRelay
from worker.pipeline.pipeline import MAX_EVENTS, InForce, Pipeline, StoppedError
from worker.pipeline.rules_in_force import load_deployed
from worker.pipeline.standby import Standby
from worker.probes.front import LOADING_RULES, MIGRATING, STOPPING, Front
from worker.probes.http import Probes, serve
from worker.probes.metrics import Connections, Live, Metrics
from worker.probes.readiness import NATS, POSTGRESQL, Readiness
from worker.process.loop import alone
from worker.retry import delays
from worker.settings import Clock, Migrate, shown
from worker.store import UnavailableError, UnusableError, open_store
from worker.traces.spans import NoSpans

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from worker.broker.client import BrokerClient
    from worker.broker.group import Member
    from worker.broker.streams import Broker
    from worker.engine.batch import Batch, DeadLetter
    from worker.pipeline.intake import Piece
    from worker.settings import Settings
    from worker.store import Store
    from worker.traces.spans import Spans

    Check = Callable[[Store, BrokerClient, Settings], Awaitable[None]]

DRAIN_LOOK_SECONDS: Final = 0.1
"""Between two looks at whether everything is done, when the worker drains the stream."""
STOP_SECONDS: Final = 15.0
"""For what is under way when the worker is to stop: it has 30 s in all (deploy/), and closing waits for servers too."""
STUCK_SECONDS: Final = 120.0
"""A batch that takes longer than this means that the worker is not alive."""

log = structlog.get_logger()

T = TypeVar("T")


def wall_clock() -> int:
    """Return the time, in microseconds since the epoch."""
    return time_ns() // 1000


def at_once() -> anyio.Event:
    """Return an event that is set: as `drain`, it says that nothing more will be published."""
    event = anyio.Event()
    event.set()
    return event


async def run(  # noqa: PLR0913 - each is a choice of its own, named at the call
    settings: Settings,
    *,
    stop: anyio.Event | None = None,
    on_ready: Callable[[], None] | None = None,
    stats: Stats | None = None,
    drain: anyio.Event | None = None,
    now: Callable[[], int] = wall_clock,
    check: Check | None = None,
    spans: Spans | None = None,
) -> Stats:
    """Work until `stop` is set or, once `drain` is set, until nothing is left to do; return what was done.

    It waits for servers that are away, at the start as well as later. `on_ready` is called once the worker pulls.
    `check` looks at the servers before that, and again when a stream or the consumer had to be made anew; `spans` is
    where traces go, if they go anywhere.

    Raises:
        SchemaMismatchError, BrokerMismatchError, RulesRefusedError: this worker cannot use what the servers hold.
        UnsafeError: `check` has found that a guarantee does not hold.
    """
    stop = stop or anyio.Event()
    stats = stats or Stats()
    front = Front(Metrics(stats, {}).render)

    async def work() -> None:
        async with AsyncExitStack() as stack:
            servers = await _unless(stop, partial(_start, stack, settings, now, front, check))
            if servers is not None:
                worker = Worker(settings, *servers, stats, stop, now=now, front=front, spans=spans or NoSpans())
                await worker.run(on_ready=on_ready, drain=drain, check=check)

    await _alone(partial(_behind_probes, settings, front, work))
    return stats


async def _behind_probes(settings: Settings, front: Front, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work while probes are answered: they are there before any server is reached."""
    async with anyio.create_task_group() as beside:
        if settings.health_port is not None:
            await beside.start(serve, front.probes, settings.health_host, settings.health_port)
        await work()
        beside.cancel_scope.cancel()


async def _start(
    stack: AsyncExitStack,
    settings: Settings,
    now: Callable[[], int],
    front: Front,
    check: Check | None,
) -> tuple[Store, Broker]:
    # Besides the writers: the relay, the probes, the counts of each minute or what is observed, and one to spare: for a
    # look at changes of rules, or for a build.
    front.wait_for(POSTGRESQL)
    store = await stack.enter_async_context(
        open_store(settings.database_url, connections=settings.writers + 4, pooler=settings.pooler)
    )
    await _migrate(store, settings, now, front)
    front.wait_for(NATS)
    broker = await stack.enter_async_context(open_broker(settings))
    if check is not None:
        await check(store, broker.client.client, settings)
    return store, broker


async def prepare_schema(store: Store, settings: Settings, *, now: int) -> list[str]:
    """Bring the schema up to date where settings and rights allow it; return the names of what was applied.

    Where nothing is missing it reads alone.

    Raises:
        SchemaMismatchError: the schema is not what this release needs; the message says what to run.
        UnavailableError: the database is away.
    """
    if settings.migrate is Migrate.AUTO:
        return await store.migrate(now=now)
    await store.check_schema()
    return []


async def _migrate(store: Store, settings: Settings, now: Callable[[], int], front: Front) -> None:
    for delay in delays():
        front.wait_for(POSTGRESQL)
        try:
            async with store.alone():
                front.phase = MIGRATING
            applied = await prepare_schema(store, settings, now=now())
        except UnusableError:
            raise
        except UnavailableError as error:
            server = shown(settings.database_url)
            log.warning("postgresql cannot be reached", server=server, said=str(error), retry_in=round(delay, 1))
        else:
            if applied:
                log.info("migrated", applied=applied)
            return
        await anyio.sleep(delay)


async def _unless(stop: anyio.Event, start: Callable[[], Awaitable[T]]) -> T | None:
    """Return what `start` returns, or None if `stop` was set before."""
    result: T | None = None
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            await stop.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        result = await start()
        tasks.cancel_scope.cancel()
    return result


async def _alone(work: Callable[[], Awaitable[T]]) -> T:
    """Return what `work` returns; raise a single error as itself, not as a group of one."""
    try:
        return await work()
    except BaseExceptionGroup as group:
        raise alone(group) from None


class Worker:
    """One worker between its servers.

    Its writers commit side by side, each a range of the partitions of a large batch: while one waits for the database,
    another one folds.
    """

    def __init__(  # noqa: PLR0913 - what it works with, each by name
        self,
        settings: Settings,
        store: Store,
        broker: Broker,
        stats: Stats,
        stop: anyio.Event,
        *,
        now: Callable[[], int],
        front: Front,
        spans: Spans,
    ) -> None:
        self._settings = settings
        self._front = front
        self._store = store
        self._broker = broker
        self._stats = stats
        self._stop = stop
        self._outbox_relay = OutboxRelay(
            store, broker, settings, stats, now=now, busy=lambda: self._intake.busy, spans=spans
        )
        self._batch_log = BatchLog(settings.input_prefix, spans)
        self._now = now
        self._standby = Standby(store, lag=broker.backlog)
        self._in_force = in_force = InForce(partial(load_deployed, store, settings, self._standby.sets))
        self._successor = Successor(store, settings, self._standby, now=now, granted=self._outbox_relay.wake)
        self._moments = Moments(store, settings, self._standby, now=now, granted=self._outbox_relay.wake)
        stats.minutes.prefix = settings.input_prefix
        stats.minutes.tenants.most = settings.metrics_tenants
        identity = uuid4()
        self._book = MinuteBook(
            store,
            stats,
            self._standby,
            worker_id=identity,
            epoch=lambda: 0 if in_force.rules is None else in_force.rules.epoch,
            now=now,
        )
        self._observer = Observer(store, broker, stats, rules=lambda: in_force.rules, now=now)
        self._memory = StateCache(identity.hex, settings.cache_subjects)
        self._writers = [
            Pipeline(
                store.kept(),
                settings,
                self._memory,
                stats,
                in_force=in_force,
                now=now,
                stopping=stop.is_set,
                on_committed=self._outbox_relay.committed,
            )
            for _ in range(settings.writers)
        ]
        self._stages = anyio.CancelScope()
        self._last_pull = anyio.Event()
        """Set once nothing more is to be pulled."""
        self._busy_since: dict[int, float] = {}
        self._intake = Intake(broker, settings, self._writers[0].begin, now)
        self._readiness = Readiness({NATS: broker.answers, POSTGRESQL: self._store_answers}, self._amiss)
        broker.join(identity, lambda: self._intake.busy)

    async def run(self, *, on_ready: Callable[[], None] | None, drain: anyio.Event | None, check: Check | None) -> None:
        """Run the stages until they have stopped, and the tasks beside them."""
        async with anyio.create_task_group() as beside:
            self._front.hand_over(self._probes())
            beside.start_soon(self._readiness.run)
            if self._settings.health_port is not None:
                beside.start_soon(self._observer.run)
            beside.start_soon(self._watch_stop)
            beside.start_soon(self._intake.keep_held)
            beside.start_soon(self._attend)
            beside.start_soon(self._book.run)
            beside.start_soon(self._standby.run)
            beside.start_soon(self._successor.run)
            beside.start_soon(self._moments.run)
            beside.start_soon(self._batch_log.run)
            if check is not None:
                beside.start_soon(self._check_again, check)
            if drain is not None:
                beside.start_soon(self._watch_drain, drain)
            with self._stages:
                await self._run_stages(on_ready)
            self._batch_log.sum_up()
            beside.cancel_scope.cancel()

    async def _check_again(self, check: Check) -> None:
        """Look at streams and consumer again, beside the work, when they may have been made anew."""
        while True:
            await self._broker.remade()
            await check(self._store, self._broker.client.client, self._settings)

    async def _run_stages(self, on_ready: Callable[[], None] | None) -> None:
        async with anyio.create_task_group() as stages:
            stages.start_soon(self._outbox_relay.run)
            if self._broker.member is not None:
                stages.start_soon(self._leave_group, self._broker.member)
            async with anyio.create_task_group() as writers:
                inputs: list[MemoryObjectSendStream[Piece]] = []
                for number in range(len(self._writers)):
                    # Room for one: under full load, a writer that is done has its next piece already.
                    send, receive = anyio.create_memory_object_stream["Piece"](1)
                    inputs.append(send)
                    writers.start_soon(self._commit, number, receive)
                writers.start_soon(self._pull, inputs, on_ready, stages)
            self._outbox_relay.stop()

    async def _pull(
        self, inputs: list[MemoryObjectSendStream[Piece]], on_ready: Callable[[], None] | None, members: TaskGroup
    ) -> None:
        async with AsyncExitStack() as stack:
            for one in inputs:
                stack.push_async_exit(one)
            await self._broker.subscribe()
            if self._broker.member is not None:
                members.start_soon(self._broker.member.run)
            log.info("working", nats=shown(self._settings.nats_url), postgresql=shown(self._settings.database_url))
            # Also logs which rules are in force, or that none are.
            with suppress(StoppedError):
                await self._writers[0].begin()
            if on_ready is not None:
                on_ready()
            await self._intake.run(inputs)

    async def _commit(self, writer: int, receive: MemoryObjectReceiveStream[Piece]) -> None:
        async with receive:
            async for piece in receive:
                await self._commit_one(writer, piece)

    async def _commit_one(self, writer: int, piece: Piece) -> None:
        whole, pipeline = piece.whole, self._writers[writer]
        whole.times.start()

        async def waiting() -> None:
            self._busy_since[writer] = monotonic()
            await self._broker.keep(whole.batch.messages)

        self._busy_since[writer] = monotonic()
        try:
            # What was not split is the work of all writers.
            share = len(self._writers) if piece.batch is whole.batch else 1
            for part in piece.batch.pieces(share * MAX_EVENTS):
                whole.letters.extend(await pipeline.commit(part, waiting=waiting))
        except StoppedError:
            whole.stopped = True
        finally:
            del self._busy_since[writer]
            whole.tally.add(pipeline.take_tally())
        whole.missing -= 1
        if whole.missing:
            return
        if whole.stopped:
            size = len(whole.batch.messages)
            log.warning("stopped before a batch was committed; it will be delivered again", size=size)
        else:
            whole.times.committed = monotonic()
            await self._acknowledge(whole.batch, whole.letters)
            self._batch_log.ended(whole)
        self._intake.ended(whole)
        if not self._intake.busy:
            self._outbox_relay.rest()
        if self._settings.clock is Clock.STREAM:  # later events are what lets unlocks settle
            self._outbox_relay.wake()

    async def _acknowledge(self, batch: Batch, letters: list[DeadLetter]) -> None:
        self._stats.messages += len(batch.messages)
        ended = terminations(batch, letters)
        await self._broker.ack([message for message in batch.messages if message.seq not in ended])
        for message in batch.messages:
            if message.seq in ended:
                await self._broker.terminate(message, ended[message.seq].value)

    # -- tasks beside the stages --

    async def _watch_stop(self) -> None:
        await self._stop.wait()
        log.info("stopping")
        self._front.phase = STOPPING
        self._stop_pulling()
        await anyio.sleep(STOP_SECONDS)
        log.warning("stopped in the middle, since a server does not answer; nothing is lost", seconds=STOP_SECONDS)
        # First: to give a connection back would be to wait for its server again.
        await self._store.close()
        self._stages.cancel()

    async def _watch_drain(self, drain: anyio.Event) -> None:
        await drain.wait()
        # Polled: the broker does not signal that a consumer has caught up.
        while not await self._is_done():  # noqa: ASYNC110
            await anyio.sleep(DRAIN_LOOK_SECONDS)
        self._stop_pulling()

    def _stop_pulling(self) -> None:
        self._broker.stop_pulling()
        self._last_pull.set()

    async def _leave_group(self, member: Member) -> None:
        """Hand the partitions over while the last batches are committed: the database may let those wait."""
        await self._last_pull.wait()
        await member.leave()

    async def _is_done(self) -> bool:
        """Return whether all messages are acknowledged, all moments judged, and all unlocks announced."""
        try:
            caught_up = not await self._broker.backlog() and await self._moments.are_judged()
            return caught_up and await self._outbox_relay.is_empty()
        except (BrokerAwayError, UnavailableError):
            return False

    async def _attend(self) -> None:
        while True:
            await anyio.sleep(HEARTBEAT_SECONDS)
            await self._broker.attend()

    def _probes(self) -> Probes:
        broker = self._broker
        gauges: dict[tuple[str, str], Callable[[], float]] = {
            ("ach_buffered_messages", "Messages that wait in the worker."): lambda: broker.buffered,
            ("ach_cached_subjects", "Subjects whose state is kept in memory."): lambda: len(self._memory),
            ("ach_nats_connected", "Whether the worker is connected to the broker."): lambda: broker.connected,
            ("ach_refused_unlocks", "Unlocks whose announcement the broker refuses at present."): lambda: (
                self._outbox_relay.refused
            ),
            ("ach_announcing_denied", "Whether the broker forbids the worker to announce."): lambda: broker.denied,
            ("ach_nats_silent_seconds", "Time since the broker last answered a request."): lambda: (
                broker.silent_seconds
            ),
        }
        live = Live(self._now, lambda: self._in_force.rules, self._connections)
        metrics = Metrics(self._stats, gauges, live)
        return Probes(stuck=self._stuck, ready=self._readiness.reasons, metrics=metrics.render)

    def _connections(self) -> Connections:
        client = self._broker.client
        return Connections(client.clients, client.errors, ErrorKind, self._store.connections)

    def _stuck(self) -> str:
        if any(monotonic() - since >= STUCK_SECONDS for since in self._busy_since.values()):
            return "no progress"
        most, gone = self._settings.broker_gone, self._broker.gone_seconds
        return f"no nats for {gone:.0f} s" if most and gone > most else ""

    def _amiss(self) -> tuple[list[str], list[str]]:
        """Return what the worker waits for, beside servers that do not answer, and further reasons not to be ready."""
        waiting = [self._broker.missing] if self._broker.missing else []
        return waiting, [LOADING_RULES] if self._in_force.rules is None else []

    async def _store_answers(self) -> bool:
        try:
            await self._store.ping()
        except UnavailableError:
            return False
        return True
