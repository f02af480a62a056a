"""Following a stream: once each and in order, whatever becomes of the consumer, the connection and the stream."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import nats
import pytest

from tests.integration.engine import PATIENCE
from worker.broker.connection import Connection
from worker.broker.follow import Follower, stored_after
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from nats.js import JetStreamContext

    from worker.broker.follow import Followed
    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio


class Heard:
    """What has come, and a way to wait for it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.remakes = 0
        self._moved = anyio.Event()

    def deliver(self, message: Followed) -> None:
        self.bodies.append(message.body)
        self._move()

    def remade(self) -> None:
        self.remakes += 1
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    async def reach(self, *, bodies: int = 0, remakes: int = 0) -> None:
        with anyio.fail_after(PATIENCE):
            while len(self.bodies) < bodies or self.remakes < remakes:
                await self._moved.wait()


@asynccontextmanager
async def jetstream(url: str) -> AsyncGenerator[JetStreamContext]:
    client = await nats.connect(url)
    try:
        yield client.jetstream()
    finally:
        await client.close()


@asynccontextmanager
async def following(url: str, heard: Heard) -> AsyncGenerator[Connection]:
    connection = Connection(Settings(nats_url=url))
    await connection.open()
    follower = Follower(connection, "S", heard.deliver, heard.remade)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.run)
            with anyio.fail_after(PATIENCE):
                while follower.seq is None:  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            yield connection
            tasks.cancel_scope.cancel()
    finally:
        await connection.close()


async def publish(js: JetStreamContext, first: int, last: int) -> None:
    for number in range(first, last):
        await js.publish(f"s.{number % 2}", b"%d" % number)


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last)]


async def test_messages_come_once_and_in_order_though_the_consumer_goes(
    nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.broker.follow.SILENT_SECONDS", 1.0)
    async with jetstream(nats_url) as js:
        await js.add_stream(name="S", subjects=["s.>"])
        await publish(js, 0, 5)
        heard = Heard()
        async with following(nats_url, heard) as connection:
            await publish(js, 5, 10)
            await heard.reach(bodies=5)
            for consumer in await js.consumers_info("S"):
                await js.delete_consumer("S", consumer.name)
            await publish(js, 10, 300)
            await heard.reach(bodies=295)
            assert heard.bodies == numbers(5, 300)
            stored = [one.body async for one in stored_after(connection, "S", "s.1", 4)]
            assert stored == [b"%d" % number for number in range(5, 300, 2)]


async def test_a_stream_that_is_made_again_is_followed_from_its_beginning(
    nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.broker.follow.SILENT_SECONDS", 1.0)
    async with jetstream(nats_url) as js:
        await js.add_stream(name="S", subjects=["s.>"])
        await publish(js, 0, 5)
        heard = Heard()
        async with following(nats_url, heard):
            await js.delete_stream("S")
            await js.add_stream(name="S", subjects=["s.>"])
            await heard.reach(remakes=1)
            await publish(js, 5, 8)
            await heard.reach(bodies=3)
            assert heard.bodies == numbers(5, 8)


async def test_nothing_is_lost_while_the_broker_is_away(own_servers: Servers) -> None:
    heard = Heard()
    async with jetstream(own_servers.nats_url) as js:
        await js.add_stream(name="S", subjects=["s.>"])
    async with following(own_servers.nats_url, heard):
        async with jetstream(own_servers.nats_url) as js:
            await publish(js, 0, 5)
            await heard.reach(bodies=5)
        await own_servers.kill_nats()
        await own_servers.start_nats()
        async with jetstream(own_servers.nats_url) as js:
            await publish(js, 5, 10)
            await heard.reach(bodies=10)
    assert heard.bodies == numbers(0, 10)
