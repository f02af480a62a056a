"""A worker that is to stop leaves within the time that deploy/ gives it, whatever its servers do; nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import nats
import pytest

from tests.integration.engine import PATIENCE, Watched, event
from tests.integration.frozen import frozen
from worker import app

if TYPE_CHECKING:
    from tests.integration.engine import Engine
    from worker.local.servers import Servers

pytestmark = [pytest.mark.anyio, pytest.mark.operate]

GRACE: Final = 30
"""Seconds that deploy/ gives a worker."""
AT_ONCE: Final = 0.5
"""Seconds for what is under way, in the place of STOP_SECONDS."""


async def until_delivered(engine: Engine, messages: int) -> None:
    """Wait until the broker has given so many messages to the worker, those of before included."""
    client = await nats.connect(engine.settings.nats_url)
    try:
        with anyio.fail_after(PATIENCE):
            while True:
                info = await client.jetstream().consumer_info(engine.settings.input_stream, engine.settings.consumer)
                if info.delivered is not None and info.delivered.stream_seq >= messages:
                    return
                await anyio.sleep(0.02)
    finally:
        await client.close()


@pytest.mark.parametrize("server", ["broker", "database", "both"])
async def test_a_frozen_server_does_not_keep_it(
    own_engine: Engine, own_servers: Servers, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    spared = GRACE - app.STOP_SECONDS
    monkeypatch.setattr(app, "STOP_SECONDS", AT_ONCE)
    broker, database = own_servers.pids
    pids = {"broker": (broker,), "database": (database,), "both": (broker, database)}[server]
    stats, stop, left = Watched(), anyio.Event(), anyio.Event()

    async def work() -> None:
        await app.run(own_engine.settings, stop=stop, stats=stats)
        left.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await own_engine.publish(event(n, user=f"u{n}") for n in range(3))
        await stats.reach("events", 3)
        async with frozen(*pids):
            if server == "database":
                await own_engine.publish(event(n, user=f"u{n % 3}") for n in range(3, 12))
                await until_delivered(own_engine, 12)
            stop.set()
            with anyio.fail_after(AT_ONCE + spared):
                await left.wait()
    await own_engine.drain()
    (held,) = await own_engine.rows("SELECT count(*)::integer AS events FROM event")
    assert held["events"] == (12 if server == "database" else 3)
    assert set((await own_engine.unlocks()).values()) <= {"announced"}
