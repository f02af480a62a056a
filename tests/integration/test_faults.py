"""Servers that die in the middle of the work. What must come out is known, and nothing may be lost or twice there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.integration.engine import Engine, event
from worker.app import run

if TYPE_CHECKING:
    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio

USERS = 40
EVENTS = 2000


def load() -> list[dict[str, Any]]:
    return [event(n, user=f"u{n % USERS}") for n in range(EVENTS)]


async def expect_everything(engine: Engine) -> None:
    assert len(await engine.rows("SELECT FROM event")) == EVENTS
    unlocks = await engine.unlocks()
    assert unlocks == {(f"u{n}", name): "announced" for n in range(USERS) for name in ("three", "clean")}
    third = await engine.rows("SELECT event_id FROM unlock WHERE achievement = 'three' AND subject = 'u7'")
    assert third[0]["event_id"] == f"a.done-{7 + 2 * USERS}-u7"
    announced = [one["unlock_id"] for one in await engine.announced()]
    assert len(announced) == len(set(announced)) == len(unlocks)


async def test_kill_postgres_again_and_again(own_engine: Engine, own_servers: Servers) -> None:
    await own_engine.publish(load())
    async with own_engine.worker() as stats:
        for number in (3, 10, 20):
            await stats.reach("batches", number)
            await own_servers.kill_postgres()
            await own_servers.start_postgres()
    await own_engine.drain()
    await expect_everything(own_engine)


async def test_kill_nats_again_and_again(own_engine: Engine, own_servers: Servers) -> None:
    own_engine = own_engine.with_settings(ack_wait=2)
    await own_engine.publish(load())
    async with own_engine.worker() as stats:
        for number in (3, 10, 20):
            await stats.reach("batches", number)
            await own_servers.kill_nats()
            await own_servers.start_nats()
        await stats.reach("events", EVENTS)
    await own_engine.drain()
    await expect_everything(own_engine)


async def test_servers_that_come_later_than_the_worker(own_engine: Engine, own_servers: Servers) -> None:
    await own_engine.publish(load())
    await own_servers.kill_postgres()
    await own_servers.kill_nats()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(own_engine.drain)
        await own_servers.start_postgres()
        await own_servers.start_nats()
    await expect_everything(own_engine)


async def test_stopping_while_the_database_is_away(own_engine: Engine, own_servers: Servers) -> None:
    await own_engine.publish(load())
    with anyio.fail_after(30):
        async with own_engine.worker() as stats:
            await stats.reach("batches", 2)
            await own_servers.kill_postgres()
    await own_servers.start_postgres()
    await own_engine.drain()
    await expect_everything(own_engine)


async def test_stopping_before_any_server_was_there(own_engine: Engine, own_servers: Servers) -> None:
    await own_servers.stop()
    stop = anyio.Event()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: run(own_engine.settings, stop=stop))
            stop.set()
