"""By hand, per message: a FastStream handler, and one asyncpg transaction for each message, 32 of them at a time.

Events of one user that are handled at the same time wait for each other at the user's row, in whatever order.
"""

# FastStream is in the benchmark's environment alone, and not in the one that types are checked in.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import uvloop
from faststream import FastStream
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub

from bench.peers.by_hand import announcement, fold, read, read_state, servers, write_state

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from bench.peers.by_hand import Event

CONCURRENCY: Final = 32
FETCH_SECONDS: Final = 0.1
"""The client holds back a batch that is not full for as long."""
INSERT_AND_LOCK: Final = """
WITH new AS (INSERT INTO event VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING user_id)
INSERT INTO progress SELECT user_id, '{}' FROM new
ON CONFLICT (user_id) DO UPDATE SET state = progress.state RETURNING state
"""
"""Nothing comes back for an event that was there before."""
SAVE: Final = "UPDATE progress SET state = $2 WHERE user_id = $1"
INSERT_UNLOCK: Final = "INSERT INTO unlock VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING true"

nats_url, database_url = servers()
# Bodies go to the handler as they are: reading them by hand is faster than pydantic.
broker: Any = NatsBroker(nats_url, logger=None, apply_types=False)
app = FastStream(broker, logger=None)
pool: asyncpg.Pool


@app.on_startup
async def connect() -> None:
    """Open the pool."""
    global pool  # noqa: PLW0603 - as FastStream's own examples do
    pool = await asyncpg.create_pool(database_url, min_size=CONCURRENCY, max_size=CONCURRENCY)


async def as_received(message: NatsMessage) -> bytes:
    """Leave a body as it is."""
    return message.body


@broker.subscriber(
    "events.>",
    stream=JStream("EVENTS", declare=False),
    durable="ach",
    pull_sub=PullSub(batch_size=CONCURRENCY, timeout=FETCH_SECONDS),
    max_workers=CONCURRENCY,
    decoder=as_received,
)
async def handle(body: bytes) -> None:
    """Keep and judge the events of a message in one transaction, then announce what is new."""
    unlocks: list[tuple[str, str]] = []
    async with pool.acquire() as connection, connection.transaction():
        # Sorted, or two messages with the same users would wait for each other for ever.
        for event in sorted(read(body), key=lambda each: each.user_id):
            unlocks += await judge(connection, event)
    for unlock in unlocks:
        subject, said, headers = announcement(*unlock)
        await broker.publish(said, subject, headers=headers, stream="UNLOCKS")


async def judge(connection: PoolConnectionProxy, event: Event) -> list[tuple[str, str]]:
    """Keep and judge one event; return the new unlocks."""
    user, at = event.user_id, event.occurred_at
    payload = bytes(event.payload).decode()
    before = await connection.fetchval(INSERT_AND_LOCK, event.event_id, user, event.event_type, at, payload)
    if before is None:
        return []
    state = read_state(before)
    earned = fold(state, event)
    await connection.execute(SAVE, user, write_state(state).decode())
    return [(user, name) for name in earned if await connection.fetchval(INSERT_UNLOCK, user, name, at)]


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(app.run())
