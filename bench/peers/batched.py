"""By hand, batched: what a good engineer writes for exactly these five rules, with by_hand.py in some 150 lines.

A batch is one transaction of four statements; the next one is fetched while it is in the database. Unlocks are
announced after the commit and before the acknowledgement: a crash in between commits them without a word, for good.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

import asyncpg
import nats
import uvloop

from bench.peers.by_hand import Event, State, announcement, fold, read, read_state, servers, write_state

if TYPE_CHECKING:
    from asyncpg import Connection
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

SIZE: Final = 1000
"""Events in a transaction, at most."""
FETCH_SECONDS: Final = 0.1
"""The client holds back a batch that is not full for as long: more makes unlocks late, less asks too often."""
INSERT_EVENTS: Final = """
INSERT INTO event SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::jsonb[])
ON CONFLICT DO NOTHING RETURNING event_id::text
"""
LOAD: Final = "SELECT user_id, state FROM progress WHERE user_id = ANY($1) ORDER BY user_id FOR UPDATE"
SAVE: Final = """
INSERT INTO progress SELECT * FROM unnest($1::text[], $2::jsonb[])
ON CONFLICT (user_id) DO UPDATE SET state = excluded.state
"""
INSERT_UNLOCKS: Final = """
INSERT INTO unlock SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[])
ON CONFLICT DO NOTHING RETURNING user_id, achievement
"""


async def commit(connection: Connection, events: list[Event]) -> list[tuple[str, str]]:
    """Keep and judge events in one transaction; return the new unlocks."""
    once = {event.event_id: event for event in events}
    rows = [once[name] for name in sorted(once)]
    async with connection.transaction():
        inserted = await connection.fetch(
            INSERT_EVENTS,
            [row.event_id for row in rows],
            [row.user_id for row in rows],
            [row.event_type for row in rows],
            [row.occurred_at for row in rows],
            [bytes(row.payload).decode() for row in rows],
        )
        new = {row[0] for row in inserted}
        fresh = [event for event in once.values() if event.event_id in new]
        users = sorted({event.user_id for event in fresh})
        states = {user: State() for user in users}
        for user, state in await connection.fetch(LOAD, users):
            states[user] = read_state(state)
        unlocks = [
            (event.user_id, achievement, event.occurred_at)
            for event in fresh
            for achievement in fold(states[event.user_id], event)
        ]
        await connection.execute(SAVE, users, [write_state(states[user]).decode() for user in users])
        if not unlocks:
            return []
        columns = [list(column) for column in zip(*sorted(unlocks), strict=True)]
        return [(row[0], row[1]) for row in await connection.fetch(INSERT_UNLOCKS, *columns)]


async def announce(jetstream: JetStreamContext, unlocks: list[tuple[str, str]]) -> None:
    """Announce unlocks, all at the same time."""
    sent = (announcement(*unlock) for unlock in unlocks)
    await asyncio.gather(*(jetstream.publish(subject, body, headers=headers) for subject, body, headers in sent))


async def main(per: int) -> None:
    """Work for ever, on messages of `per` events."""
    nats_url, database_url = servers()
    client = await nats.connect(nats_url)
    jetstream = client.jetstream()
    connection = await asyncpg.connect(database_url)
    subscription = await jetstream.pull_subscribe_bind("ach", "EVENTS")

    async def fetch() -> list[Msg]:
        try:
            return await subscription.fetch(max(1, SIZE // per), timeout=FETCH_SECONDS)
        except TimeoutError:  # nothing was there
            return []

    coming = asyncio.create_task(fetch())
    while True:
        messages = await coming
        coming = asyncio.create_task(fetch())
        if messages:
            await announce(jetstream, await commit(connection, [one for each in messages for one in read(each.data)]))
            for message in messages:
                await message.ack()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
