"""`just wal-bench`: what the log of PostgreSQL is made of, by kind of record and by table, in new and in old tables.

The first part of a load fills new tables. Another one comes behind a checkpoint, and a third with small batches and a
checkpoint now and then, as in a database that has been at work for long.
"""

from __future__ import annotations

import asyncio
import tempfile
from argparse import ArgumentParser
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.contestants import CONTESTANTS
from bench.drain import drain
from bench.events import Shape, make, messages
from bench.publish import publish_all
from bench.rig import rig

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import asyncpg

    from bench.events import Event
    from bench.rig import Arena

WORKER: Final = next(one for one in CONTESTANTS if one.key == "worker")
SHOWN: Final = 9
RECORDS: Final = """
SELECT "resource_manager/record_type" AS what, count::float8, record_size::float8 AS said, fpi_size::float8 AS pages
FROM pg_get_wal_stats($1::text::pg_lsn, $2::text::pg_lsn, true)
ORDER BY combined_size DESC LIMIT $3
"""
TABLES: Final = """
SELECT
    coalesce(relname, 'others') AS what, count(*)::float8,
    sum(block_data_length)::float8 AS said, sum(block_fpi_length)::float8 AS pages
FROM pg_get_wal_block_info($1::text::pg_lsn, $2::text::pg_lsn) AS block
LEFT JOIN pg_class ON pg_relation_filenode(pg_class.oid) = block.relfilenode
GROUP BY 1
ORDER BY sum(block_data_length + block_fpi_length) DESC LIMIT $3
"""
SIZES: Final = """
SELECT relname AS what, pg_relation_size(oid)::float8 AS bytes
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i') AND pg_relation_size(oid) > 0
ORDER BY bytes DESC LIMIT $1
"""


class Case(NamedTuple):
    """Under which circumstances a part of the load is worked off."""

    title: str
    batch: int
    """Events of a batch at the most."""
    checkpoints: float | None = None
    """Seconds between two."""


CASES: Final = (
    Case("new tables", 8000),
    Case("a past, behind a checkpoint", 8000),
    Case("a past, batches of 20, a checkpoint in ten seconds", 20, 10.0),
)


@asynccontextmanager
async def checkpoints(arena: Arena, seconds: float | None) -> AsyncGenerator[None]:
    """Have a checkpoint now and then during a block; the first one before."""
    await arena.connection.execute("CHECKPOINT")
    if seconds is None:
        yield
        return

    async def again() -> None:
        while True:
            await asyncio.sleep(seconds)
            await arena.connection.execute("CHECKPOINT")

    task = asyncio.create_task(again())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def written(arena: Arena, case: Case, events: list[Event]) -> None:
    """Work off a part of the load, and print what the log of that is made of."""
    await publish_all(arena, messages(events, 1))
    connection, number = arena.connection, len(events)
    command = ["env", f"ACH_BATCH_SIZE={case.batch}", *WORKER.command(1)]
    async with checkpoints(arena, case.checkpoints):
        before = await _place(connection)
        log = arena.scratch / "worker.log"
        await drain(arena, [command], log, per=1, done=partial(WORKER.done, arena), look=None)
    after = await _place(connection)
    total: int = await connection.fetchval("SELECT $2::text::pg_lsn - $1::text::pg_lsn", before, after)
    print(f"\n{case.title}: {total / number:.0f} bytes an event")
    for query in (RECORDS, TABLES):
        for row in await connection.fetch(query, before, after, SHOWN):
            said, pages = row["said"] / number, row["pages"] / number
            print(f"  {row['what']:24} {row['count'] / number:6.3f} times, {said:6.1f} and whole pages {pages:6.1f}")
    print(flush=True)


async def _place(connection: asyncpg.Connection) -> str:
    return await connection.fetchval("SELECT pg_current_wal_flush_lsn()::text")


async def sizes(connection: asyncpg.Connection, new: int) -> None:
    """Print what an event takes in tables and indexes, and how full the leaves of the ledger's indexes are.

    Before that, a vacuum marks what is new as visible to everyone, which it does sooner or later by itself.
    """
    await connection.execute("CHECKPOINT")
    before = await _place(connection)
    await connection.execute("VACUUM")
    after = await _place(connection)
    total: int = await connection.fetchval("SELECT $2::text::pg_lsn - $1::text::pg_lsn", before, after)
    print(f"a vacuum of that, behind a checkpoint: {total / new:.0f} bytes an event")
    number: int = await connection.fetchval("SELECT count(*) FROM event")
    print("tables and indexes, bytes an event")
    for row in await connection.fetch(SIZES, SHOWN):
        print(f"  {row['what']:24} {row['bytes'] / number:6.1f}")
    for index in ("event_pkey", "event_of_user_bin"):
        full: float = await connection.fetchval("SELECT avg_leaf_density FROM pgstatindex($1)", index)
        print(f"  leaves of {index}: {full:.0f} % full", flush=True)


async def main() -> None:
    """Run it."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=60_000, help="of each case")
    parser.add_argument("--users", type=int, default=9_000)
    parser.add_argument("--compress", action="store_true", help="with `wal_compression = on`")
    asked = parser.parse_args()
    made = make(Shape(len(CASES) * asked.events, users=asked.users))
    with tempfile.TemporaryDirectory(prefix="ach-wal-bench-") as folder:
        async with rig(Path(folder)) as place, place.arena() as arena:
            # Otherwise a checkpoint takes away what is to be looked at.
            await place.admin.execute("ALTER SYSTEM SET wal_keep_size = '8GB'")
            if asked.compress:
                await place.admin.execute("ALTER SYSTEM SET wal_compression = on")
            await place.admin.execute("SELECT pg_reload_conf()")
            for extension in ("pgstattuple", "pg_walinspect"):
                await arena.connection.execute(f"CREATE EXTENSION {extension}")
            await WORKER.prepare(arena)
            for n, case in enumerate(CASES):
                await written(arena, case, made[n * asked.events : (n + 1) * asked.events])
                await sizes(arena.connection, asked.events)


if __name__ == "__main__":
    asyncio.run(main())
