"""`just archive-bench`: what an event takes in the ledger and in the archive, and what a worker pays for an archive.

A worker drains the stream, everything that can be is archived, and a worker drains as much again: with ids that grow
with time, with ids without any order, and once without an archive.
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from random import Random
from time import process_time
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.contestants import CONTESTANTS
from bench.drain import drain
from bench.events import Shape, make, messages
from bench.publish import publish_all
from bench.rig import rig
from worker.admin.archive import Archived, Asked, archive
from worker.commands.options import wall_clock
from worker.distribution import release
from worker.store import open_store

if TYPE_CHECKING:
    import asyncpg

    from bench.drain import Drained
    from bench.events import Event
    from bench.rig import Arena, Rig

ARCHIVE: Final = ("pack", "packing", "packed_id", "packed_member")
SIZES: Final = """
SELECT relname, pg_total_relation_size(oid) AS total, pg_relation_size(oid) AS heap
FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname
"""
WORKER: Final = next(one for one in CONTESTANTS if one.key == "worker")
MILLION: Final = 1_000_000


class Halves(NamedTuple):
    """The two halves of a load."""

    first: list[Event]
    second: list[Event]


def load(events: int, users: int, *, ordered: bool) -> Halves:
    """Return events whose ids are UUIDs, in the order of time or without any."""
    made = make(Shape(2 * events, users=users or max(500, events // 100)))
    if not ordered:
        dice = Random(1)  # noqa: S311 - reproducible on purpose
        ids = {one.id: str(uuid.UUID(int=dice.getrandbits(128), version=4)) for one in made}
        made = [_named(one, ids[one.id]) for one in made]
    return Halves(made[:events], made[events:])


def _named(event: Event, name: str) -> Event:
    return event._replace(id=name, body=event.body.replace(event.id.encode(), name.encode()))


async def drained(arena: Arena, events: list[Event], per: int) -> Drained:
    """Publish events, and let a worker work them off."""
    await publish_all(arena, messages(events, per))
    log = arena.scratch / "worker.log"
    return await drain(arena, [WORKER.command(per)], log, per=per, done=partial(WORKER.done, arena))


async def sizes(connection: asyncpg.Connection) -> dict[str, int]:
    """Return the bytes of each table, indexes and all, and those of the ledger's rows alone as `rows`."""
    await connection.execute("VACUUM")
    rows = await connection.fetch(SIZES)
    found = {row["relname"]: row["total"] for row in rows}
    return found | {"rows": next(row["heap"] for row in rows if row["relname"] == "event")}


async def archived(arena: Arena, number: int) -> None:
    """Archive what can be, and print what that takes."""
    before = await sizes(arena.connection)
    await arena.connection.execute("UPDATE worker SET stopped = true")
    cpu, own, wal, done = arena.cpu(), process_time(), await arena.wal(), Archived()
    async with open_store(arena.settings.database_url) as store:
        now = wall_clock()
        await archive(store, Asked(now + 1, now, release()), done)
    spent, mine, log = arena.cpu(), process_time(), await arena.wal()
    after = await sizes(arena.connection)
    left: int = await arena.connection.fetchval("SELECT count(*) FROM event")
    print(f"ledger: {before['event'] / number:.0f} bytes an event, rows {before['rows'] / number:.0f}", end=", ")
    print(f"all tables {sum(before.values()) / number - before['rows'] / number:.0f}")
    each = {name: after[name] / done.events for name in ARCHIVE}
    parts = ", ".join(f"{name} {size:.1f}" for name, size in each.items())
    print(f"archive: {sum(each.values()):.1f} bytes an event ({parts}), {done.events:,} events; {left:,} stay")
    million = done.events / MILLION
    command, database = (mine - own) / million, (spent.database - cpu.database) / million
    said = f"{command:.1f} µs of the command, {database:.1f} of the database"
    print(f"to archive: {said}, {(log - wal) / done.events:.0f} bytes of log an event", flush=True)


async def run(place: Rig, events: int, users: int, per: int, *, ordered: bool, keep: bool) -> None:
    """Measure one case: `keep` leaves the first half in the ledger."""
    first, second = load(events, users, ordered=ordered)
    async with place.arena() as arena:
        await WORKER.prepare(arena)
        await drained(arena, first, per)
        if not keep:
            await archived(arena, events)
        found = await drained(arena, second, per)
    ids = "ids that grow" if ordered else "ids without order"
    print(
        f"{ids}, {'nothing archived' if keep else 'archived before'}: worker {found.worker_cpu:.1f} µs, database"
        f" {found.database_cpu:.1f} µs, {found.wal_bytes:.0f} bytes of log an event",
        flush=True,
    )


async def main() -> None:
    """Run it."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="of each half")
    parser.add_argument("--per", type=int, default=1, help="events of a message")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--users", type=int, default=0, help="0: one for 100 events of a half")
    parser.add_argument("--ordered", action="store_true", help="ids that grow alone")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ach-archive-bench-") as folder:
        async with rig(Path(folder)) as place:
            for _ in range(asked.rounds):
                cases = ((True, True), (True, False), (False, True), (False, False))
                for ordered, keep in cases[: 2 if asked.ordered else 4]:
                    await run(place, asked.events, asked.users, asked.per, ordered=ordered, keep=keep)


if __name__ == "__main__":
    asyncio.run(main())
