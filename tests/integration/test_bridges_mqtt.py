"""nats-server as a broker of MQTT: an event arrives, and what its acknowledgement is worth (deploy/bridges/mqtt.md)."""

from __future__ import annotations

import json
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import anyio
import nats
import pytest
from anyio import connect_tcp
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.integration.brokers import configured
from tests.integration.engine import PATIENCE, RULES, Engine
from worker.local.process_tree import free_port
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from anyio.abc import ByteStream
    from nats.js.client import JetStreamContext

pytestmark = pytest.mark.anyio

CONNACK: Final = 0x20
PUBACK: Final = 0x40
EVENT: Final[dict[str, Any]] = {
    "event_id": "phone-7-41",
    "event_type": "a.done",
    "user_id": "ann",
    "tenant_id": "acme.io",
    "occurred_at": "2026-03-01T12:00:00Z",
    "payload": {},
}
TOPIC: Final = "events/acme%2Eio/ann/a/done"


class Device:
    """A client of MQTT 3.1.1, for the two packets that a device sends."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._answers = BufferedByteReceiveStream(stream)

    async def connect(self) -> None:
        clean = text("MQTT") + bytes((4, 0b10)) + struct.pack("!H", 60)
        assert await self._send(0x10, clean + text(f"device-{uuid4().hex[:8]}")) == (CONNACK, b"\x00\x00")

    async def publish(self, topic: str, body: bytes, packet: int) -> None:
        """Publish at QoS 1, and wait for the acknowledgement."""
        number = struct.pack("!H", packet)
        assert await self._send(0x32, text(topic) + number + body) == (PUBACK, number)

    async def _send(self, kind: int, rest: bytes) -> tuple[int, bytes]:
        with anyio.fail_after(PATIENCE):
            await self._stream.send(bytes((kind,)) + length(len(rest)) + rest)
            head, size = await self._answers.receive_exactly(2)
            return head, await self._answers.receive_exactly(size)


def text(said: str) -> bytes:
    return struct.pack("!H", len(said.encode())) + said.encode()


def length(number: int) -> bytes:
    """Return a number as MQTT has it: seven bits in a byte, the lowest first."""
    low, rest = number & 127, number >> 7
    return bytes((low | 128,)) + length(rest) if rest else bytes((low,))


@asynccontextmanager
async def device(folder: Path) -> AsyncGenerator[tuple[Device, str]]:
    """Run a broker of MQTT without streams, with one device on it; also gives its NATS_URL."""
    port = free_port()
    more = f'server_name: "mqtt"\nmqtt {{ listen: "127.0.0.1:{port}" }}'
    async with configured(folder, more) as broker, await connect_tcp("127.0.0.1", port) as stream:
        made = Device(stream)
        await made.connect()
        yield made, broker.url()


async def arrived(stream: JetStreamContext, number: int) -> None:
    """Wait until EVENTS has so many messages: an acknowledgement of MQTT does not say so."""
    with anyio.fail_after(PATIENCE):
        while (await stream.stream_info("EVENTS")).state.messages < number:  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def test_an_event_arrives_once_and_dots_are_no_levels(tmp_path: Path, database_url: str) -> None:
    async with device(tmp_path) as (phone, url):
        engine = Engine(Settings(nats_url=url, database_url=database_url))
        await engine.apply(RULES)
        await engine.publish([])  # makes the streams
        body = json.dumps(EVENT).encode()
        for packet in (1, 2):
            await phone.publish(TOPIC, body, packet)
        await phone.publish("events/acme.io/ann/a/done", body, 3)
        client = await nats.connect(url)
        stream = client.jetstream()
        await arrived(stream, 3)
        assert (await stream.get_msg("EVENTS", 1)).subject == "events.acme%2Eio.ann.a.done"
        assert (await stream.get_msg("EVENTS", 3)).subject == "events.acme//io.ann.a.done"
        await client.close()
        await engine.drain()
        rows = await engine.rows("SELECT tenant_id, user_id, event_id FROM event")
        assert [tuple(row.values()) for row in rows] == [("acme.io", "ann", "phone-7-41")]
        (letter,) = await engine.rows("SELECT reason FROM dead_letter")
        assert letter["reason"] == "tenant_mismatch"


async def test_the_acknowledgement_says_nothing_of_the_stream(tmp_path: Path) -> None:
    async with device(tmp_path) as (phone, url):
        await phone.publish(TOPIC, json.dumps(EVENT).encode(), 1)  # acknowledged
        client = await nats.connect(url)
        stream = client.jetstream()
        await stream.add_stream(name="EVENTS", subjects=["events.>"])
        await phone.publish(TOPIC, json.dumps({**EVENT, "event_id": "phone-7-42"}).encode(), 2)
        await arrived(stream, 1)
        first = await stream.get_msg("EVENTS", 1)
        assert json.loads(first.data or b"")["event_id"] == "phone-7-42"
        assert (await stream.stream_info("EVENTS")).state.messages == 1
        await client.close()
