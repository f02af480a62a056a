"""Chains of changes beside real workers, processes that are killed with SIGKILL whenever a chain says that one dies."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import asyncpg
import msgspec
import nats
import pytest

from tests.databases import fresh_database
from tests.faults.changes_chain import Chain, drawn
from tests.faults.changes_run import Run
from tests.faults.changes_world import World, fused
from tests.faults.processes import workers
from tests.faults.tally import count, tell
from tests.integration.engine import Engine, own_streams
from worker.admin.backfill import backfill
from worker.app import at_once, run
from worker.broker.streams import open_broker
from worker.settings import Clock, Settings
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.faults.changes_chain import Op
    from tests.faults.changes_world import Done, Target
    from tests.faults.processes import Child, Workers
    from worker.contract.message import Message
    from worker.local.servers import Servers

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.timeout(7200)]

ACK_WAIT: Final = 0.5


class KilledWorld(World):
    """Workers that are processes, and get what is published."""

    def __init__(self, world: World, started: Workers) -> None:
        super().__init__(world.chain, world.store, world.settings, world.eyes, world.broker)
        self._started = started
        self._children: list[Child] = []
        self.killed = 0

    async def begin(self) -> None:
        """Start two workers."""
        self._children = [await self._started.start(self.settings) for _ in range(2)]
        for child in self._children:
            assert await child.until("ready"), child.log()

    async def do(self, op: Op, target: Target | None) -> Done:
        """Carry out a step; where it says that a worker dies, one is killed beside it."""
        done = await super().do(op, target)
        crash = getattr(op, "crash", None)
        if crash is not None and crash.dies:
            await self._kill(crash.number % 2)
        return done

    async def _kill(self, number: int) -> None:
        await self._children[number].end(signal.SIGKILL)
        self.killed += 1
        self._children[number] = await self._started.start(self.settings)

    async def _send(self, worker: int, fresh: list[Message]) -> None:
        del worker
        assert self.broker is not None
        for message in fresh:
            await self.broker.publish(message.subject, message.body)

    async def _restart(self, worker: int) -> None:
        await self._kill(worker)

    async def rest(self) -> None:
        """Kill all workers; let one worker do what is left."""
        for child in self._children:
            await child.end(signal.SIGKILL)
        await self.announce()
        await backfill(self.store, self.settings, now=lambda: self.now, pause=0)
        await self.announce()

    async def announce(self) -> None:
        """Run a worker until nothing is left to do."""
        await run(self.settings, drain=at_once())


@asynccontextmanager
async def _world(servers: Servers, chain: Chain, started: Workers) -> AsyncGenerator[KilledWorld]:
    async with AsyncExitStack() as stack:
        settings = Settings(
            nats_url=servers.nats_url,
            database_url=await stack.enter_async_context(fresh_database(servers)),
            **own_streams(),
            batch_size=8,
            writer_events=1,
            clock=Clock.STREAM,
            skew=10**9,
        )
        # Settings of a worker count whole seconds; the broker does not mind.
        settings = msgspec.structs.replace(settings, ack_wait=ACK_WAIT)
        await Engine(settings).migrate()
        store = await stack.enter_async_context(open_store(settings.database_url))
        eyes = await asyncpg.connect(settings.database_url)
        stack.push_async_callback(eyes.close)
        client = await nats.connect(settings.nats_url)
        stack.push_async_callback(client.close)
        broker = await stack.enter_async_context(open_broker(settings))
        for stream in (settings.input_stream, settings.unlock_stream):
            stack.push_async_callback(client.jetstream().delete_stream, stream)
        world = KilledWorld(World(chain, store, settings, eyes, broker), started)
        yield world


async def test_chains_beside_workers_that_are_killed(servers: Servers, tmp_path: Path) -> None:
    chains, killed = count("CHAINS_KILLED", quick=12, long=1_000), 0
    with fused():
        async with workers(tmp_path / "workers") as started:
            for seed in range(chains):
                chain = drawn(10**6 + seed, relays=True)._replace(streamed=True)
                async with _world(servers, chain, started) as world:
                    await world.begin()
                    failure = await Run(world, beside=True).through()
                    killed += world.killed
                    if failure is not None:
                        pytest.fail(failure.text(), pytrace=False)
    tell("chains of changes beside workers that are killed", f"{chains:,}; {killed:,} workers killed")
