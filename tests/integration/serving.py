"""`ach serve` on real servers, for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import anyio
import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dsl.outcome import Subject
from tests.integration.engine import PATIENCE
from worker.serve.access import hash_of, new_key, new_secret, sign
from worker.serve.config import Config, Tenant
from worker.serve.process import serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from worker.settings import Settings
    from worker.traces.spans import Spans

KEYS = {name: new_key() for name in ("t1", "t2")}
SECRETS = {name: new_secret() for name in KEYS}
CURSOR_KEY = new_secret()
PRIVATE = {name: Ed25519PrivateKey.generate() for name in KEYS}
"""With which the applications of tenants sign, besides their secrets; the key id is `now`."""
SOON = 20.0


class Event(NamedTuple):
    """A server-sent event."""

    id: str
    name: str
    data: str


def config_of(**changes: object) -> Config:
    """Return a configuration with the tenants t1 and t2, on a free port."""
    tenants = {
        name: Tenant([hash_of(key)], [SECRETS[name]], {"now": public_pem(PRIVATE[name])}) for name, key in KEYS.items()
    }
    plain = Config(CURSOR_KEY, tenants, port=0, origins=["https://app.example"])
    return msgspec.structs.replace(plain, **changes)


def public_pem(key: Ed25519PrivateKey) -> str:
    """Return the public key as openssl prints it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def by_key(tenant: str = "t1") -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[tenant]}"}


def by_token(user: str = "u1", tenant: str = "t1", seconds: int = 900, scope: str = "user") -> dict[str, str]:
    return {"Authorization": f"Bearer {sign(SECRETS[tenant], Subject(tenant, scope, user), seconds)}"}


@asynccontextmanager
async def serving(
    settings: Settings, spans: Spans | None = None, health_port: int | None = None, **changes: object
) -> AsyncGenerator[httpx.AsyncClient]:
    """Serve for the length of a block; the client has no credential of its own."""
    stop, ready, address = anyio.Event(), anyio.Event(), ""

    def on_ready(at: str) -> None:
        nonlocal address
        address = at
        ready.set()

    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            config = config_of(**changes)
            await serve(settings, config, stop=stop, on_ready=on_ready, spans=spans, health_port=health_port)

        tasks.start_soon(run)
        with anyio.fail_after(PATIENCE):
            await ready.wait()
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as client:
            try:
                yield client
            finally:
                stop.set()


@asynccontextmanager
async def live(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], **changes: str
) -> AsyncGenerator[AsyncIterator[Event]]:
    """Give the events of a live stream."""
    async with client.stream("GET", path, headers={**headers, **changes}) as response:
        assert response.status_code == 200, await response.aread()
        yield events_of(response)


async def events_of(response: httpx.Response) -> AsyncIterator[Event]:
    """Yield events as a browser reads them."""
    event = {"id": "", "event": "message", "data": ""}
    async for line in response.aiter_lines():
        if not line:
            if event["data"]:
                yield Event(event["id"], event["event"], event["data"])
            event = {"id": event["id"], "event": "message", "data": ""}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


async def until(events: AsyncIterator[Event], name: str) -> Event:
    """Return the next event of a name."""
    with anyio.fail_after(PATIENCE):
        async for event in events:
            if event.name == name:
                return event
    raise AssertionError(f"the stream has ended before {name}")


async def connected(client: httpx.AsyncClient) -> None:
    """Wait until both servers behind it are there."""
    with anyio.fail_after(SOON):
        # It has no other way to say so.
        while (await client.get("/v1/health")).status_code != 200:  # noqa: ASYNC110
            await anyio.sleep(0.05)
