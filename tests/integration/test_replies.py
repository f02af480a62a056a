"""Subjects that a producer names for the broker's acknowledgement: whether one reaches the broker's own API.

A permission to publish says nothing of the subject of the answer. These tests say what nats-server does about it, and
which of the ways in docs/operating.md keep it away from the streams.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
import nats
import pytest

from tests.integration.brokers import configured
from tests.integration.engine import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from nats.aio.client import Client

    from tests.integration.brokers import Configured

pytestmark = pytest.mark.anyio

ENGINE: Final = "{ user: engine, password: x }"
APP: Final = '{ user: app, password: x, permissions: { publish: "events.acme.>", subscribe: "_INBOX.>" } }'
ONE: Final = f"accounts {{ ENGINE {{ jetstream: enabled, users: [ {ENGINE}, {APP} ] }} }}"
EACH: Final = f"""accounts {{
  ENGINE {{ jetstream: enabled, users: [ {ENGINE} ]
            exports: [ {{ service: "events.acme.>", accounts: [ACME] }} ] }}
  ACME   {{ users: [ {APP} ]
            imports: [ {{ service: {{ account: ENGINE, subject: "events.acme.>" }} }} ] }}
}}"""
REQUESTS: Final = (
    *("STREAM.DELETE.UNLOCKS", "STREAM.PURGE.EVENTS", "STREAM.MSG.DELETE.EVENTS", "STREAM.UPDATE.EVENTS"),
    *("CONSUMER.RESET.EVENTS.ach", "CONSUMER.PAUSE.EVENTS.ach", "CONSUMER.DELETE.EVENTS.ach"),
    *("CONSUMER.MSG.NEXT.EVENTS.ach", "STREAM.DELETE.EVENTS"),
)
KEPT: Final = 3
PIECE: Final = {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1"}
"""Headers of a message of an atomic batch that goes on: the broker acknowledges it with an empty message."""


async def ask(client: Client, request: str, **said: object) -> dict[str, Any]:
    body = json.dumps(said).encode() if said else b""
    return json.loads((await client.request(f"$JS.API.{request}", body, timeout=PATIENCE)).data)


@asynccontextmanager
async def streams(broker: Configured, **options: object) -> AsyncGenerator[Client]:
    """Make both streams, with some events of another tenant and a consumer."""
    client = await nats.connect(broker.url("engine:x"))
    try:
        for name in ("EVENTS", "UNLOCKS"):
            made = await ask(client, f"STREAM.CREATE.{name}", name=name, subjects=[f"{name.lower()}.>"], **options)
            assert "error" not in made
        config = {"name": "ach", "durable_name": "ach", "ack_policy": "explicit"}
        assert "error" not in await ask(client, "CONSUMER.CREATE.EVENTS.ach", stream_name="EVENTS", config=config)
        for _ in range(KEPT):
            await client.request("events.globex.ann.a.done", b"{}", timeout=PATIENCE)
        yield client
    finally:
        await client.close()


async def publish(broker: Configured, headers: dict[str, str] | None, requests: tuple[str, ...] = REQUESTS) -> None:
    """Publish on a subject that is permitted, to be answered on subjects of the API; return once that has been."""
    client = await nats.connect(broker.url("app:x"))
    try:
        for request in requests:
            await client.publish("events.acme.bob.a.done", b"{}", f"$JS.API.{request}", headers=headers)
            # The answer to this one comes behind the one to that, where the stream is still there to give it.
            with anyio.move_on_after(1):
                await client.request("events.acme.bob.a.done", b"{}", timeout=PATIENCE)
    finally:
        await client.close()


async def all_there(client: Client) -> bool:
    """Tell whether all is as it was, once the broker has seen to what came before."""
    kept = await ask(client, "STREAM.INFO.EVENTS", subjects_filter="events.globex.>")
    unlocks = await ask(client, "STREAM.INFO.UNLOCKS")
    consumer = await ask(client, "CONSUMER.INFO.EVENTS.ach")
    if {"error"} & {*kept, *unlocks, *consumer} or consumer.get("paused") or consumer["delivered"]["stream_seq"]:
        return False
    return kept["state"]["subjects"] == {"events.globex.ann.a.done": KEPT}


async def test_a_strict_broker_takes_no_acknowledgement_for_a_request(tmp_path: Path) -> None:
    async with configured(tmp_path, ONE) as broker, streams(broker) as client:
        await publish(broker, None)
        await publish(broker, PIECE)
        assert await all_there(client)


async def test_an_account_for_each_tenant_keeps_answers_within_it(tmp_path: Path) -> None:
    """Whatever else is switched on."""
    async with configured(tmp_path, lax(tmp_path) + EACH) as broker, streams(broker, allow_atomic=True) as client:
        await publish(broker, None)
        await publish(broker, PIECE)
        assert await all_there(client)


async def test_without_an_account_for_each_tenant_two_options_let_a_producer_empty_streams(tmp_path: Path) -> None:
    """Why the page says to leave both as they are by default: an empty acknowledgement is a good request."""
    for request in ("STREAM.DELETE.UNLOCKS", "STREAM.PURGE.EVENTS", "CONSUMER.DELETE.EVENTS.ach"):
        async with configured(tmp_path / request, ONE) as broker, streams(broker, allow_atomic=True) as client:
            await publish(broker, PIECE, (request,))
            assert not await all_there(client)
    folder = tmp_path / "lax"
    async with configured(folder, lax(folder) + ONE) as broker, streams(broker) as client:
        await publish(broker, None, ("STREAM.PURGE.EVENTS",))
        assert not await all_there(client)


def lax(folder: Path) -> str:
    return f'jetstream {{ store_dir: "{folder}/js", strict: false }}\n'
