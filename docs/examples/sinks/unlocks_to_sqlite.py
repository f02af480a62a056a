"""Keeps the latest state of each unlock in SQLite: pip install nats-py; NATS_URL=... python unlocks_to_sqlite.py DB"""

import asyncio
import json
import os
import sqlite3
import sys

import nats
from nats.errors import TimeoutError as NothingNew
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

TABLE = """
CREATE TABLE IF NOT EXISTS unlock (
    unlock_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, tenant_id TEXT NOT NULL, achievement TEXT NOT NULL,
    status TEXT NOT NULL, user_id TEXT, message TEXT
) WITHOUT ROWID
"""
# The highest revision wins: so a message may come twice, late or in another order.
KEEP = """
INSERT INTO unlock VALUES (:unlock_id, :revision, :tenant_id, :achievement, :status, :user_id, :message)
ON CONFLICT (unlock_id) DO UPDATE SET
    revision = excluded.revision, status = excluded.status, user_id = excluded.user_id, message = excluded.message
WHERE excluded.revision > unlock.revision
"""
DURABLE = "warehouse"  # a name of its own: never the worker's
BATCH = 500


def row(body: bytes) -> dict[str, object]:
    said = json.loads(body)
    # Unlocks from before there were corrections have no revision and no status.
    kept = {"revision": 1, "status": "granted", **said, "message": body.decode()}
    if kept["status"] == "erased":
        # The row stays without its user, so that an older message that comes again does not bring the user back.
        kept |= {"user_id": None, "message": None}
    names = ("unlock_id", "revision", "tenant_id", "achievement", "status", "user_id", "message")
    return {name: kept[name] for name in names}


async def main(path: str) -> None:
    file = sqlite3.connect(path)
    file.execute(TABLE)
    client = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    config = ConsumerConfig(
        ack_policy=AckPolicy.EXPLICIT, deliver_policy=DeliverPolicy.ALL, ack_wait=10, max_ack_pending=2 * BATCH
    )
    stream = client.jetstream()
    consumer = await stream.pull_subscribe("unlocks.>", durable=DURABLE, stream="UNLOCKS", config=config)
    while True:
        try:
            messages = await consumer.fetch(BATCH, timeout=5)
        except NothingNew:
            continue
        # Replies of the broker may be in the stream, if tenants share an account: they have no message id.
        rows = [row(one.data) for one in messages if one.headers and "Nats-Msg-Id" in one.headers]
        with file:  # one transaction
            file.executemany(KEEP, rows)
        for one in messages:  # what is in the file is acknowledged, and nothing else
            await one.ack()
        sys.stdout.write(f"{len(messages)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
