"""Many live streams in one process, and readers that do not take what they are sent."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import nats
import pytest

from tests.integration.engine import PATIENCE, event
from tests.integration.serving import by_key, by_token, connected, live, serving, until
from tests.integration.test_serve import USER
from worker.serve.hub import MOST_QUEUED

if TYPE_CHECKING:
    import httpx

    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

RULES = """
event a.done { team: string? }
achievement first { title "First" when count(event=a.done, >= 1) }
"""
CLIENTS = 1000
MANY = 300
"""Unlocks of one user."""


class Stream:
    """One live stream over a bare socket."""

    async def open(self, client: httpx.AsyncClient, user: str) -> None:
        host, port = client.base_url.host, client.base_url.port
        self.reader, self.writer = await asyncio.open_connection(host, port)
        head = f"GET /v1/tenants/t1/users/{user}/live HTTP/1.1\r\nHost: x\r\n"
        self.writer.write(f"{head}Authorization: {by_key()['Authorization']}\r\n\r\n".encode())
        await self.reader.readuntil(b"event: ready")

    async def unlock(self) -> None:
        await self.reader.readuntil(b"event: unlock")
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


async def test_a_thousand_streams_cost_the_broker_one_consumer(engine: Engine) -> None:
    await engine.apply(RULES)
    await engine.drain()
    async with serving(engine.settings, key_rate=10_000, key_burst=10_000) as client:
        await connected(client)
        streams = [Stream() for _ in range(CLIENTS)]
        with anyio.fail_after(PATIENCE):
            for begin in range(0, CLIENTS, 50):
                chosen = range(begin, begin + 50)
                await asyncio.gather(*(streams[n].open(client, f"u{n % 200}") for n in chosen))
        broker = await nats.connect(engine.settings.nats_url)
        try:
            consumers = await broker.jetstream().consumers_info("UNLOCKS")
            assert len(consumers) == 1
        finally:
            await broker.close()
        async with engine.worker():
            await engine.publish([event(1, user=f"u{n}") for n in range(200)])
            with anyio.fail_after(PATIENCE):
                await asyncio.gather(*(stream.unlock() for stream in streams))


async def test_a_reader_that_takes_nothing_is_cut_off_and_resumes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.serve.http.WRITE_SECONDS", 0.3)
    monkeypatch.setattr("worker.serve.hub.MOST_QUEUED", 4)
    assert MOST_QUEUED > 4
    # Far more than the buffers of both sockets hold, in a few hundred events.
    title = "x" * 64_000
    await engine.apply(
        f'event a.done {{}}\nachievement many {{ title "{title}" when count(event=a.done, >= 1) repeat each }}'
    )
    await engine.drain()
    async with serving(engine.settings) as client:
        await connected(client)
        slow = Stream()
        await slow.open(client, "u1")
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with live(client, f"{USER}/live", by_token()) as events, engine.worker() as stats:
            begin = await until(events, "ready")
            await engine.publish([json.dumps([event(n) for n in range(MANY)]).encode()])
            await stats.reach("announced", MANY)
        with anyio.fail_after(PATIENCE):
            slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
            rest = b""
            with suppress(ConnectionError):
                # To the end of the body: the connection itself is kept for a while.
                while not rest.endswith(b"0\r\n\r\n") and (part := await slow.reader.read(65536)):
                    rest += part
        await slow.close()
        assert rest.count(b"event: unlock") < MANY
        async with live(client, f"{USER}/live", by_token(), **{"Last-Event-ID": begin.id}) as events:
            assert json.loads((await until(events, "unlock")).data)["achievement"] == "many"
