"""Where a chain of changes happens: one database, two workers, perhaps a broker, and a fuse that makes them die.

A worker that dies stops before or after one statement and is thrown away; another worker takes its place, and gets
what had not been acknowledged.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import lru_cache
from itertools import count, repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unittest.mock import patch

import anyio
import asyncpg
import msgspec
import nats
from nats.js.api import StorageType, StreamConfig

from tests.faults.changes_chain import (
    NOW,
    Apply,
    Backfill,
    Chain,
    Erase,
    Exhume,
    Grant,
    Op,
    Pass,
    Relay,
    Restart,
    Revoke,
    Send,
    Together,
)
from worker.admin import outdated, sweep
from worker.admin.backfill import backfill, bring_up_to_date
from worker.admin.erasure import erase_user
from worker.admin.manual_grant import CannotGrantError, grant_by_hand
from worker.admin.revocation import revoke
from worker.admin.rollout import MeaningChangedError, apply_rules
from worker.broker.streams import Broker, BrokerAwayError, open_broker
from worker.contract.message import Message
from worker.engine import fast_users, folding, rule_set
from worker.engine.pace import Courtesy
from worker.engine.rule_set import RuleFile, read_rules
from worker.engine.state_cache import StateCache
from worker.engine.stats import Stats
from worker.pipeline import fast_path, outbox, pipeline, rules_in_force
from worker.pipeline.outbox import OutboxRelay
from worker.pipeline.pipeline import InForce, Pipeline
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Clock, Settings
from worker.store import Session, UnavailableError, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence

    from nats.aio.client import Client

    from dsl.outcome import Subject
    from dsl.ruleset import RuleSet
    from tests.faults.changes_chain import Crash, Sizes
    from worker.pipeline.pipeline import Committed
    from worker.store import Store

PATIENCE: Final = 60.0
FORGET: Final = """
DELETE FROM event_subject; DELETE FROM event; DELETE FROM progress; DELETE FROM checkpoint; DELETE FROM unlock;
DELETE FROM evaluation; DELETE FROM dead_letter; DELETE FROM aggregate; DELETE FROM change;
DELETE FROM rule_version; DELETE FROM rule_set;
DELETE FROM erasure; DELETE FROM correction; UPDATE partition SET rules_epoch = 0, generation = 0, owner = '';
"""
_runs = count(1)


class Died(BaseException):
    """What stops a worker where it stands."""


class Fuse:
    """Counts statements and announcements, and makes one of them the last."""

    def __init__(self) -> None:
        self._crash: Crash | None = None
        self._passed = 0
        self.burnt = False

    @contextmanager
    def armed(self, crash: Crash | None) -> Generator[None]:
        """Burn at a crash, if the block comes to it."""
        self._crash, self._passed, self.burnt = crash, 0, False
        try:
            yield
        finally:
            self._crash = None

    def pass_before(self) -> None:
        """Pass the one side of a statement."""
        if self._crash is not None and not self._crash.behind and self._passed == self._crash.number:
            self._burn()

    def pass_behind(self) -> None:
        """Pass the other side."""
        if self._crash is None:
            return
        self._passed += 1
        if self._crash.behind and self._passed > self._crash.number:
            self._burn()

    def _burn(self) -> None:
        crash, self._crash, self.burnt = self._crash, None, True
        if crash is not None and crash.dies:
            raise Died
        raise ConnectionResetError("the answer is lost")


FUSE: Final = Fuse()


@contextmanager
def fused() -> Generator[None]:
    """Let the fuse see every statement of the worker, for the length of a block."""
    with ExitStack() as stack:
        for name in ("rows", "row", "value", "run", "script"):
            stack.enter_context(patch.object(Session, name, _seen(getattr(Session, name))))
        stack.enter_context(patch.object(Broker, "announce", _announcements_seen(Broker.announce)))
        stack.enter_context(patch.object(asyncpg.Connection, "execute", _commits_seen(asyncpg.Connection.execute)))
        # An answer that is lost is asked for again at once.
        for module in (pipeline, outbox):
            stack.enter_context(patch.object(module, "delays", _at_once))
        # The same few rules are read by worker, backfill and judge.
        for module in (rules_in_force, rule_set):
            stack.enter_context(patch.object(module, "read_rules", _read_once))
        yield


def _at_once(*, first: float = 0.0, longest: float = 0.0) -> Iterator[float]:
    return repeat(min(first, longest, 0.0))


def _seen(original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    async def seen(this: object, *args: object, **options: object) -> Any:  # noqa: ANN401
        FUSE.pass_before()
        result = await original(this, *args, **options)
        FUSE.pass_behind()
        return result

    return seen


def _announcements_seen(original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    seen = _seen(original)

    async def away(*args: object) -> Any:  # noqa: ANN401
        try:
            return await seen(*args)
        except ConnectionResetError as error:
            raise BrokerAwayError(str(error)) from error

    return away


def _commits_seen(original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    async def seen(this: asyncpg.Connection, statement: str, *args: object, **options: object) -> Any:  # noqa: ANN401
        if statement != "COMMIT;":
            return await original(this, statement, *args, **options)
        try:
            FUSE.pass_before()
        except BaseException:
            await original(this, "ROLLBACK;")
            raise
        result = await original(this, statement, *args, **options)
        FUSE.pass_behind()
        return result

    return seen


@lru_cache(maxsize=256)
def _read(files: tuple[RuleFile, ...]) -> RuleSet:
    return read_rules(files)


def _read_once(files: Sequence[RuleFile]) -> RuleSet:
    return _read(tuple(files))


@contextmanager
def sized(sizes: Sizes) -> Generator[None]:
    """Let the worker have the constants of a chain."""
    wanted = (
        (folding, "CHECKPOINT_EVERY", sizes.checkpoint_every),
        (folding, "CHECKPOINT_BYTES", 10**6),
        (folding, "CHECKPOINTS_KEPT", 3),
        (fast_path, "SAVE_EVERY", sizes.save_every),
        (fast_users, "WORTH_IT", sizes.worth_it),
        (outdated, "PAGE", sizes.page),
        (Courtesy, "LARGEST", sizes.piece),
        (sweep, "CHUNK_USERS", sizes.page),
        (sweep, "LONG", 3 * sizes.page),
    )
    with ExitStack() as stack:
        for module, name, value in wanted:
            stack.enter_context(patch.object(module, name, value))
        yield


class Target(NamedTuple):
    """What an operator speaks of: the key of an unlock."""

    subject: Subject
    achievement: str
    tier: str
    occurrence: str

    def text(self) -> str:
        return "/".join((*self.subject, *(part for part in self[1:] if part)))


class Done(NamedTuple):
    """What came of one step: whether it went through as far as its caller knows, and what it was about."""

    certain: bool = True
    target: Target | None = None
    refused: bool = False
    """By `apply`, for a changed meaning."""


class _Worker:
    """A pipeline with a memory of its own, and its relay."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        settings, store = world.settings, world.store
        self.outbox_relay = self._made()
        self.pipeline = Pipeline(
            store,
            settings,
            StateCache(name, world.chain.remembered),
            Stats(),
            in_force=InForce(lambda: load_deployed(store, settings)),
            now=lambda: world.now,
            stopping=lambda: False,
            on_committed=self._committed,
        )

    def _made(self) -> OutboxRelay | None:
        world = self._world
        if world.broker is None:
            return None
        return OutboxRelay(world.store, world.broker, world.settings, Stats(), now=lambda: world.now)

    def _committed(self, done: Committed) -> None:
        if self.outbox_relay is not None:
            self.outbox_relay.committed(done)

    async def relay(self) -> None:
        """Announce until nothing is left."""
        if self.outbox_relay is not None:
            self.outbox_relay.stop()
            await self.outbox_relay.run()
            self.outbox_relay = self._made()


class World:
    """One chain's servers and workers."""

    def __init__(
        self, chain: Chain, store: Store, settings: Settings, eyes: asyncpg.Connection, broker: Broker | None
    ) -> None:
        self.chain = chain
        self.eyes = eyes
        """A connection that looks at tables and changes nothing."""
        self.store = store
        self.settings = settings
        self.broker = broker
        self.now = NOW
        self.refusals: list[str] = []
        """What operators asked for and did not get."""
        self._names = count(1)
        self._seqs = count(1)
        self._unacknowledged: list[Message] = []
        self.workers = [self._born(), self._born()]

    def _born(self) -> _Worker:
        return _Worker(self, f"w{next(self._names)}")

    async def do(self, op: Op, target: Target | None) -> Done:
        """Carry out one step; `target` is what an operator speaks of. It may die half-way, and that is that."""
        if isinstance(op, Together):
            with anyio.fail_after(PATIENCE):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._step, op.left, None)
                    tasks.start_soon(self._step, op.right, None)
            return Done()
        crash = None if isinstance(op, Pass | Restart | Exhume) else op.crash
        try:
            with FUSE.armed(crash), anyio.fail_after(PATIENCE):
                return await self._step(op, target)
        except Died:
            if isinstance(op, Send | Relay):
                self.workers[op.worker] = self._born()
            return Done(certain=False, target=target)

    async def _step(self, op: Op, target: Target | None) -> Done:
        match op:
            case Send(worker, events):
                await self._send(worker, self._messages(op) if events else [])
            case Exhume(worker):
                await self._send(worker, await self._dead())
            case Relay(worker):
                await self.workers[worker].relay()
            case Restart(worker):
                await self._restart(worker)
            case Pass(minutes):
                self.now += minutes * 60_000_000
            case Apply() | Backfill() | Erase() | Revoke() | Grant():
                return await self._change(op, target)
            case Together():
                raise AssertionError("not within one another")
        return Done()

    async def _change(self, op: Apply | Backfill | Erase | Revoke | Grant, target: Target | None) -> Done:
        match op:
            case Apply(rules):
                return await self._apply(rules.written())
            case Backfill():
                await self._again(lambda: backfill(self.store, self.settings, now=lambda: self.now, pause=0))
            case Erase():
                await self._again(lambda: self._erase(op))
            case Revoke() | Grant() if target is not None:
                await (self._revoke(target) if isinstance(op, Revoke) else self._grant(target))
            case _:
                pass
        return Done(target=target)

    async def _again(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do something, and once more where the answer was lost."""
        try:
            await work()
        except UnavailableError:
            if not FUSE.burnt:
                raise
            await work()

    async def _restart(self, worker: int) -> None:
        self.workers[worker] = self._born()

    # -- events --------------------------------------------------------------------------------------------------------

    def _messages(self, op: Send) -> list[Message]:
        if op.whole:
            body = json.dumps([event.said() for event in op.events]).encode()
            return [self._message(f"{self.settings.input_prefix}.raw", body)]
        prefix = self.settings.input_prefix
        return [self._message(event.subject(prefix), json.dumps(event.said()).encode()) for event in op.events]

    def _message(self, subject: str, body: bytes) -> Message:
        return Message(subject, body, b"", next(self._seqs), "")

    async def _dead(self) -> list[Message]:
        rows = await self.eyes.fetch("SELECT nats_subject, body FROM dead_letter ORDER BY dead_letter_id")
        return [self._message(row["nats_subject"], row["body"]) for row in rows]

    async def _send(self, worker: int, fresh: list[Message]) -> None:
        """Commit messages after those that were not acknowledged."""
        messages, self._unacknowledged = [*self._unacknowledged, *fresh], []
        if not messages:
            return
        try:
            pipeline = self.workers[worker].pipeline
            decoding = await pipeline.begin()
            decoding.add(messages, now=self.now)
            await pipeline.commit(decoding.done(now=self.now), waiting=_nothing)
        except BaseException:
            self._unacknowledged = messages
            raise

    # -- rules and operators -------------------------------------------------------------------------------------------

    async def _apply(self, text: str) -> Done:
        files = [RuleFile("rules.ach", text)]
        try:
            await self._again(
                lambda: apply_rules(
                    self.store, files, self.settings, by="an author", now=self.now, accept_contracts=True
                )
            )
        except MeaningChangedError:
            return Done(refused=True)
        return Done()

    async def _erase(self, op: Erase) -> None:
        erased = await erase_user(self.store, self.settings, op.tenant, op.user, by="an operator", now=self.now)
        if op.tended:
            await bring_up_to_date(self.store, self.settings, erased.since, now=lambda: self.now)

    async def _revoke(self, target: Target) -> None:
        known = await self.eyes.fetchval(_UNLOCK_ID, *target.subject, *target[1:])
        if known is not None:
            await self._again(lambda: revoke(self.store, known, now=self.now))

    async def _grant(self, target: Target) -> None:
        key = target.achievement, target.tier or None, target.occurrence or None

        async def grant() -> None:
            rules = await load_deployed(self.store, self.settings)
            await grant_by_hand(
                self.store, rules, target.subject, *key, reason="asked for", by="an operator", now=self.now
            )

        try:
            await self._again(grant)
        except CannotGrantError as error:
            self.refusals.append(str(error))

    # -- the end -------------------------------------------------------------------------------------------------------

    async def rest(self) -> None:
        """Do what is left: deliver again, bring all subjects up to date, announce."""
        await self._send(0, [])
        await backfill(self.store, self.settings, now=lambda: self.now, pause=0)
        await self.announce()

    async def announce(self) -> None:
        """Announce what every worker still holds, and what the outbox does."""
        for worker in self.workers:
            await worker.relay()

    async def announced(self) -> dict[str, int]:
        """Return how often each unlock, by its id, is in the stream of announcements."""
        if self.broker is None:
            return {}
        stream = self.broker.client.client.jetstream()
        info = await stream.stream_info(self.settings.unlock_stream, subjects_filter=">")
        subjects = {tuple(subject.split(".")): number for subject, number in (info.state.subjects or {}).items()}
        # What lies one token deeper is a correction.
        return {tokens[-1]: number for tokens, number in subjects.items() if len(tokens) == _TOKENS}


_TOKENS: Final = 5
"""Of the subject that an unlock is announced on."""
_UNLOCK_ID: Final = """
SELECT unlock_id FROM unlock WHERE tenant_id = $1 AND scope = $2 AND subject = $3
    AND achievement = $4 AND tier = $5 AND occurrence = $6
"""


async def _nothing() -> None:
    pass


class Ground(NamedTuple):
    """What chains happen on, one after the other."""

    store: Store
    settings: Settings
    eyes: asyncpg.Connection
    """Looks at tables and changes nothing."""
    client: Client
    """Makes streams of announcements, and looks at them."""


@asynccontextmanager
async def ground_of(settings: Settings) -> AsyncGenerator[Ground]:
    """Give ground for chains, with the fuse at every statement."""
    with fused():
        async with open_store(settings.database_url, connections=4) as store:
            await store.migrate(now=NOW)
            eyes, client = await asyncpg.connect(settings.database_url), await nats.connect(settings.nats_url)
            try:
                yield Ground(store, settings, eyes, client)
            finally:
                await client.close()
                await eyes.close()


@asynccontextmanager
async def world_of(chain: Chain, ground: Ground) -> AsyncGenerator[World]:
    """Give a world in which nothing has happened yet."""
    await ground.eyes.execute(FORGET)
    number = next(_runs)
    settings = msgspec.structs.replace(
        ground.settings,
        clock=Clock.STREAM if chain.streamed else Clock.WALL,
        skew=10**9,
        unlock_stream=f"U{number}",
        unlock_prefix=f"u{number}",
    )
    async with AsyncExitStack() as stack:
        stack.enter_context(sized(chain.sizes))
        broker = None
        if chain.relays:
            stream = ground.client.jetstream()
            subjects = [f"{settings.unlock_prefix}.>"]
            config = StreamConfig(name=settings.unlock_stream, subjects=subjects, storage=StorageType.MEMORY)
            await stream.add_stream(config)
            stack.push_async_callback(stream.delete_stream, settings.unlock_stream)
            broker = await stack.enter_async_context(open_broker(settings))
        yield World(chain, ground.store, settings, ground.eyes, broker)
