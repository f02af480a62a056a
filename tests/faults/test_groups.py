"""Workers of a group, killed, frozen, cut off, leaving and joining under load: nothing is lost, nothing granted twice.

After each fault an event for every partition must be announced within a bound: none waits for a worker that is gone.
"""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio
import asyncpg
import nats
import pytest
from nats.js.errors import NotFoundError

from dsl.event import Event
from tests.faults.load import BEGINNING, RULES, Sent, Shape, load, message_of
from tests.faults.oracle import all_acknowledged, expect_promise, settled
from tests.faults.processes import PATIENCE, workers
from tests.faults.producer import producing
from tests.faults.tally import tell
from tests.integration.engine import own_streams
from worker.broker.group_store import GroupStore
from worker.broker.once import connected_once
from worker.contract.partition import PARTITIONS, partition_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.faults.processes import Child, Workers
    from tests.integration.engine import Engine
    from worker.broker.client import BrokerClient

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.timeout(600)]

AT_ONCE: Final = RULES + '\nevent e.done {}\nachievement first { title "First" when count(event=e.done, >= 1) }\n'
DEAD_SECONDS: Final = 5.0
"""For which no unlock may wait because of a worker that is gone."""
LONGEST: Final = 90.0
"""For an event behind a transaction in which a worker is frozen: the database ends it after 60 s."""
LOOK_SECONDS: Final = 0.02


class Group:
    """A group of workers on an engine, and what was published for it."""

    def __init__(self, engine: Engine, started: Workers) -> None:
        self.engine = engine
        self._started = started
        self._store = GroupStore(engine.settings, engine.settings.group or "")
        self._round = 0
        self.probes: list[Sent] = []

    async def start(self) -> Child:
        """Start one more worker."""
        child = await self._started.start(self.engine.settings, "polite")
        assert await child.until("ready"), child.log()
        return child

    async def shares(self) -> dict[str, tuple[int, ...]]:
        """Return who has what."""
        async with connected_once(self.engine.settings, seconds=5) as client:
            return (await self._store.read(client)).sheet.shares

    async def until_members(self, number: int) -> float:
        """Wait until so many members share the partitions; return the seconds that took."""
        began = anyio.current_time()
        async with connected_once(self.engine.settings, seconds=5) as client:
            with anyio.fail_after(PATIENCE):
                while not await self._reading(client, number):  # noqa: ASYNC110 - the broker does not tell
                    await anyio.sleep(LOOK_SECONDS)
        return anyio.current_time() - began

    async def _reading(self, client: BrokerClient, number: int) -> bool:
        if len((await self._store.read(client)).sheet.shares) != number:
            return False
        made = {name.removesuffix("-rest") for name in await self._store.consumers(client)}
        return len(made) == number

    async def probe(self) -> float:
        """Publish an event that earns an unlock for each partition; return the seconds until all are announced."""
        self._round += 1
        users = _one_a_partition(self._round)
        made = [
            message_of(
                Event(tenant="probe", id=f"p-{user}", type="e.done", user=user, at=BEGINNING, offset=0, fields={}),
                self.engine.settings.input_prefix,
            )
            for user in users
        ]
        self.probes += made
        began = anyio.current_time()
        client = await nats.connect(self.engine.settings.nats_url)
        database = await asyncpg.connect(self.engine.settings.database_url)
        try:
            for one in made:
                await client.publish(one.subject, one.body)
            await client.flush()
            query = "SELECT count(*) FROM unlock WHERE subject = ANY($1) AND published_at IS NOT NULL"
            with anyio.fail_after(LONGEST):
                while await database.fetchval(query, users) < PARTITIONS:  # noqa: ASYNC110 - nor the database
                    await anyio.sleep(LOOK_SECONDS)
        finally:
            await client.close()
            await database.close()
        return anyio.current_time() - began


def _one_a_partition(number: int) -> list[str]:
    found: dict[int, str] = {}
    at = 0
    while len(found) < PARTITIONS:
        user = f"r{number}-{at}"
        found.setdefault(partition_of("probe", "user", user), user)
        at += 1
    return list(found.values())


@asynccontextmanager
async def grouped(engine: Engine, folder: Path) -> AsyncGenerator[Group]:
    """Give a group with streams of its own, and rules."""
    made = engine.with_settings(
        group="g",
        **own_streams(),
        writer_events=1,
    )
    await made.apply(AT_ONCE)
    async with workers(folder) as started:
        yield Group(made, started)


async def test_workers_come_and_go_under_load(engine: Engine, tmp_path: Path) -> None:
    async with grouped(engine, tmp_path) as group:
        prefix = group.engine.settings.input_prefix
        sent = load(5, Shape(events=3_000, users=60, tenants=3), prefix)
        first = await group.start()
        await group.until_members(1)
        others = [await group.start() for _ in range(3)]
        joined = await group.until_members(4)
        async with producing(group.engine.settings.nats_url, sent, pause=0.003) as producer:
            await group.probe()

            await others[0].end(signal.SIGKILL)
            killed = await group.probe()
            await group.until_members(3)

            others[1].send(signal.SIGSTOP)
            # Its share moves as soon; where it was frozen within a transaction, the database has to end that first.
            frozen = await group.until_members(2)
            await group.probe()
            others[1].send(signal.SIGCONT)
            back = await group.until_members(3)

            others[2].send(signal.SIGTERM)
            left = await group.probe()
            await others[2].until("dead")
            assert others[2].code == 0, others[2].log()
            await group.until_members(2)

            await group.start()
            await group.until_members(3)
            # The first of the living by name, whichever it is, deals: with it goes no more than its share.
            await first.end(signal.SIGKILL)
            dealer = await group.probe()
            await producer.done.wait()
        await settled(group.engine.settings)
        published = [*producer.published, *all_acknowledged(group.probes)]
        await expect_promise(group.engine.settings, published, AT_ONCE)
    seconds = {"killed": killed, "frozen": frozen, "left": left, "first one killed": dealer}
    assert max(seconds.values()) < DEAD_SECONDS, seconds
    said = ", ".join(f"{name} {value:.1f} s" for name, value in {**seconds, "joined": joined, "back": back}.items())
    tell("workers of a group come and go", f"{len(published):,} messages; {said}")


async def test_what_a_group_has_at_the_broker_is_deleted(engine: Engine, tmp_path: Path) -> None:
    async with grouped(engine, tmp_path) as group:
        settings = group.engine.settings
        sent = load(6, Shape(events=1_500, users=30, tenants=2), settings.input_prefix)
        started = [await group.start() for _ in range(2)]
        await group.until_members(2)
        client = await nats.connect(settings.nats_url)
        try:
            jetstream = client.jetstream()
            async with producing(settings.nats_url, sent, pause=0.003) as producer:
                await jetstream.delete_stream("KV_elastic-consumer-groups")
                await group.until_members(2)
                await group.probe()
                await jetstream.delete_stream(f"{settings.input_stream}-g")
                await group.probe()
                for consumer in await jetstream.consumers_info(f"{settings.input_stream}-g"):
                    # Its member may have put another one in its place, or be about to.
                    with suppress(NotFoundError):
                        await jetstream.delete_consumer(f"{settings.input_stream}-g", consumer.name)
                await group.probe()
                await producer.done.wait()
        finally:
            await client.close()
        await settled(settings)
        await expect_promise(settings, [*producer.published, *all_acknowledged(group.probes)], AT_ONCE)
        assert [one.code for one in started] == [None, None], started[0].log()
