"""The limit: fetch, decode, insert-first into the worker's ledger, commit, acknowledge. No rules, no unlocks.

What a consumer in Python cannot do without if every event is to be counted once and kept. Two lanes take turns, so
that one is decoded while the other is in the database; two requests for messages are always out.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import asyncpg
import msgspec
import nats
import uvloop

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

SIZE: Final = 1000
"""Events in a transaction, about."""
LANES: Final = 2
INSERT: Final = """
INSERT INTO event (
    tenant_id, event_id, user_id, event_type, occurred_at, utc_offset, source, payload, stream_seq, received_at)
SELECT rows.*, $10::timestamptz
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::integer[], $7::text[], $8::text[],
    $9::bigint[]) AS rows
ON CONFLICT (tenant_id, event_id) DO NOTHING
RETURNING event_id
"""
SUBJECT: Final = "$JS.API.CONSUMER.MSG.NEXT.EVENTS.ach"
_STATUS: Final = "Status"


class Wire(msgspec.Struct, gc=False):
    """An event as far as the ledger needs it apart."""

    event_id: str
    event_type: str
    user_id: str
    tenant_id: str
    occurred_at: datetime
    source: str | None = None
    payload: msgspec.Raw = msgspec.Raw(b"")


_one = msgspec.json.Decoder(Wire)
_many = msgspec.json.Decoder(list[Wire])


class Pull:
    """Messages as they come, with two requests of `size` out."""

    def __init__(self, client: Client, size: int) -> None:
        self._client = client
        self._size = size
        self._inbox = client.new_inbox()
        self._want = json.dumps({"batch": size, "expires": 30_000_000_000}).encode()
        self._buffer: deque[Msg] = deque()
        self._requested = 0
        self._arrived = asyncio.Event()

    async def start(self) -> None:
        """Listen on the inbox."""
        await self._client.subscribe(self._inbox, cb=self._on_message)

    async def take(self) -> list[Msg]:
        """Wait for messages, and return what is there, at most `size`."""
        while not self._buffer:
            self._arrived.clear()
            await self._request()
            await self._arrived.wait()
        taken = [self._buffer.popleft() for _ in range(min(self._size, len(self._buffer)))]
        await self._request()
        return taken

    async def _request(self) -> None:
        while self._requested + len(self._buffer) <= self._size:
            self._requested += self._size
            await self._client.publish(SUBJECT, self._want, reply=self._inbox)

    async def _on_message(self, msg: Msg) -> None:
        if msg.headers and _STATUS in msg.headers:
            self._requested = max(0, self._requested - int(msg.headers.get("Nats-Pending-Messages", self._requested)))
        else:
            self._requested = max(0, self._requested - 1)
            self._buffer.append(msg)
        self._arrived.set()


def columns(messages: list[Msg]) -> list[list[object]]:
    """Return the events of messages as columns of the ledger, in the order of INSERT, sorted by key."""
    rows: list[tuple[object, ...]] = []
    for message in messages:
        body = message.data
        events = _many.decode(body) if body[:1] == b"[" else (_one.decode(body),)
        for event in events:
            at, payload = event.occurred_at, bytes(event.payload)
            who = (event.tenant_id, event.event_id, event.user_id, event.event_type)
            rows.append((*who, at, 0, event.source, payload.decode(), 0))
    rows.sort(key=lambda row: row[:2])
    return [list(column) for column in zip(*rows, strict=True)]


async def lane(pull: Pull, pool: asyncpg.Pool, client: Client) -> None:
    """Take messages, keep them, acknowledge them; for ever."""
    while True:
        messages = await pull.take()
        arguments = columns(messages)
        async with pool.acquire() as connection, connection.transaction():
            await connection.fetch(INSERT, *arguments, datetime.now(UTC))
        for message in messages:
            await client.publish(message.reply, b"+ACK")


async def main(per: int) -> None:
    """Work for ever, on messages of `per` events."""
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=LANES, max_size=LANES)
    client = await nats.connect(os.environ["NATS_URL"])
    pull = Pull(client, max(1, SIZE // per))
    await pull.start()
    await asyncio.gather(*(lane(pull, pool, client) for _ in range(LANES)))


if __name__ == "__main__":
    import sys

    uvloop.run(main(int(sys.argv[1])))
