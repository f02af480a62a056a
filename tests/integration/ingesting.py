"""`ach ingest` on real servers, for tests."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import msgspec
import nats

from tests.integration.engine import PATIENCE
from worker.ingest.config import Config, Key, Limits, Tenant, Webhook
from worker.ingest.process import Files, ingest
from worker.serve.access import hash_of, new_key

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from nats.aio.msg import Msg

    from worker.settings import Settings
    from worker.traces.spans import Spans

KEYS = {name: new_key() for name in ("t1", "t2")}
TEST_KEY = new_key()
"""Of t1, with validation."""
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
JSON = "application/json"
LINES = "application/x-ndjson"


def config_of(**limits: object) -> Config:
    """Return a configuration with the tenants t1 and t2, on a free port."""
    tenants = {name: Tenant([hash_of(key)]) for name, key in KEYS.items()}
    tenants["t1"] = Tenant([*tenants["t1"].keys, Key(hash_of(TEST_KEY), validate=True)])
    webhooks = {
        "shop": Webhook("t1", [SECRET, OLD_SECRET], user="data.customer", time="created", type="type", payload="data"),
        "plain": Webhook("t2", [SECRET], user="user", time="at", event_type="form.sent"),
    }
    return Config(tenants, webhooks, port=0, limits=msgspec.structs.replace(Limits(), **limits))


def by_key(tenant: str = "t1", kind: str = JSON, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[tenant]}", "Content-Type": kind, **more}


def lines_of(events: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in events)


@asynccontextmanager
async def ingesting(
    settings: Settings,
    config: Config | None = None,
    files: Files | None = None,
    *,
    stop: anyio.Event | None = None,
    spans: Spans | None = None,
) -> AsyncGenerator[httpx.AsyncClient]:
    """Take events for the length of a block; the client has no credential of its own."""
    ready, address = anyio.Event(), ""
    ending = stop or anyio.Event()

    def on_ready(at: str) -> None:
        nonlocal address
        address = at
        ready.set()

    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            chosen = config or config_of()
            await ingest(settings, chosen, files or Files(), stop=ending, on_ready=on_ready, spans=spans)

        tasks.start_soon(run)
        with anyio.fail_after(PATIENCE):
            await ready.wait()
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as client:
            try:
                yield client
            finally:
                ending.set()


async def connected(client: httpx.AsyncClient) -> None:
    """Wait until the broker is there."""
    with anyio.fail_after(PATIENCE):
        # It has no other way to say so.
        while (await client.get("/v1/health")).status_code != 200:  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def stored(settings: Settings) -> list[Msg]:
    """Return all messages of the input stream, in order."""
    client = await nats.connect(settings.nats_url)
    try:
        stream = client.jetstream()
        info = await stream.stream_info(settings.input_stream)
        if not info.state.messages:
            return []
        reading = await stream.subscribe(f"{settings.input_prefix}.>", ordered_consumer=True)
        return [await reading.next_msg(PATIENCE) for _ in range(info.state.messages)]
    finally:
        await client.close()
