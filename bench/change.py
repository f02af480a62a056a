"""`just change-bench`: what a change of rules costs over a ledger with a past: events read, CPU, WAL.

The ledger is filled by SQL and folded once. Then rules change one after the other: each is planned, applied and
built. CPU is that of this process and of the database together, which does not depend on who else uses the machine.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg

from bench.processes import cpu_seconds
from tests.integration.engine import Engine
from worker.admin.preview import Asked, preview
from worker.app import wall_clock
from worker.engine.rule_set import RuleFile
from worker.local.servers import embedded
from worker.pipeline.rules_in_force import read_aside
from worker.process.loop import spare_collector
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from worker.local.servers import Servers

TYPES: Final = ("lesson.completed", "quiz.passed", "comment.posted", "friend.invited", "purchase.made")
DECLARED: Final = "\n".join(f"event {name} {{ score: int?, key: string? }}" for name in TYPES)
FILL: Final = """
INSERT INTO event
SELECT
    'tenant-' || u % 8, 'event-' || n, 'user-' || u, ($3::text[])[1 + n / $2 % 5],
    '2026-05-01Z'::timestamptz + (n::float8 / $1 * 30) * interval '1 day', 0, null, 'app',
    '{"score":' || n % 100 || ',"key":"k' || n % 977 || '"}',
    '2026-05-01Z'::timestamptz + (n::float8 / $1 * 30) * interval '1 day' + interval '2 seconds', n
FROM (SELECT n, n % $2 AS u FROM generate_series(1::bigint, $1) AS n) AS made
"""
TABLES: Final = """
SELECT relname, n_tup_upd AS updated, seq_tup_read + coalesce(idx_tup_fetch, 0) AS read
FROM pg_stat_user_tables WHERE relname IN ('event', 'progress')
"""


def rules_of(achievements: int) -> str:
    """Return rules of every kind, over all types but the last."""
    made = [DECLARED]
    for n in range(achievements):
        event, name = TYPES[n % 4], f"a{n}"
        when = (
            f"count(event={event}, >= {3 + n})",
            f"sum(event={event}, of=score, >= {100 * (n + 1)})",
            f"count(event={event}, distinct=key, >= {3 + n % 7})",
            f"streak(event={event}, per=day, >= {3 + n % 4})",
            f"count(event={event}, >= {3 + n % 4}, within=7d)",
            f"sequence([{event}, {TYPES[(n + 1) % 4]}])",
        )[n % 6]
        made.append(f'achievement {name} {{ title "{name}" when {when} }}')
    made.append('achievement tiers { title "T" tier low { when count(event=lesson.completed, >= 2) } }')
    return "\n".join(made)


def changes(text: str) -> dict[str, str]:
    """Return the rules of each change, by its name; each builds on the one before."""
    tier = text.replace("tier low", "tier high { when count(event=lesson.completed, >= 100000) } tier low")
    reached = tier.replace("tier high", "tier middle { when count(event=lesson.completed, >= 3) } tier high")
    new = f'{reached}\nachievement buyer {{ title "Buyer" when count(event=purchase.made, >= 2) }}'
    retired = "\n".join(line for line in new.splitlines() if not line.startswith("achievement buyer"))
    everything = f"count(event=[{', '.join(TYPES)}], >= 10)"
    return {
        "a title": text.replace('title "a0"', 'title "words"'),
        "a tier out of reach": tier,
        "a tier that most reach": reached,
        "a new aggregate": new,
        "that rule retired": retired,
        "and back": new,
        "an aggregate over all types": f'{new}\nachievement everything {{ title "All" when {everything} }}',
    }


class Cost(NamedTuple):
    """What the database and the processes have done so far."""

    seconds: float
    cpu: float
    wal: int
    events: int
    """Rows of the ledger that were read."""
    saved: int
    """Rows of progress that were written anew."""


async def cost(connection: asyncpg.Connection, servers: Servers) -> Cost:
    """Look at the counters."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    rows = {row["relname"]: row for row in await connection.fetch(TABLES)}
    wal = await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
    cpu = cpu_seconds([os.getpid(), *servers.pids])
    return Cost(perf_counter(), cpu, wal, rows["event"]["read"], rows["progress"]["updated"])


async def measure(events: int, users: int, achievements: int) -> None:
    """Run everything once, and print a line for each change."""
    with tempfile.TemporaryDirectory() as name:
        async with embedded(Path(name) / "servers", durable=True) as servers:
            engine = Engine(Settings(nats_url=servers.nats_url, database_url=servers.database_url))
            text = rules_of(achievements)
            await engine.apply(text)
            connection = await asyncpg.connect(servers.database_url)
            await connection.execute(FILL, events, users, list(TYPES), timeout=3600)
            await connection.execute("VACUUM ANALYZE", timeout=3600)
            print(f"{events:,} events of {users:,} users, {achievements + 1} achievements, {os.cpu_count()} cores")
            print(
                f"{'':28} {'plan':>8} {'its CPU':>8} {'apply':>8} {'backfill':>9} {'CPU':>8} {'WAL':>9} "
                f"{'events read':>12} {'states':>8} {'subjects':>9}"
            )
            await _turn(engine, connection, servers, "everything, once", None)
            await connection.execute("VACUUM ANALYZE", timeout=3600)
            for what, changed in changes(text).items():
                await _turn(engine, connection, servers, what, changed)
            await connection.close()


async def _turn(engine: Engine, connection: asyncpg.Connection, servers: Servers, what: str, text: str | None) -> None:
    begun = await cost(connection, servers)
    if text is not None:
        await _plan(engine.settings, text)
    before = await cost(connection, servers)
    if text is not None:
        await engine.apply(text)
    applied = perf_counter()
    report = await engine.backfill()
    after = await cost(connection, servers)
    print(
        f"{what:28} {before.seconds - begun.seconds:7.2f}s {before.cpu - begun.cpu:7.2f}s "
        f"{applied - before.seconds:7.2f}s {after.seconds - applied:8.2f}s {after.cpu - before.cpu:7.2f}s "
        f"{(after.wal - before.wal) / 1e6:6.1f} MB {after.events - before.events:12,} "
        f"{after.saved - before.saved:8,} {report.subjects:9,}",
        flush=True,
    )


async def _plan(settings: Settings, text: str) -> None:
    rules = await read_aside([RuleFile("rules.ach", text)])
    async with open_store(settings.database_url) as store:
        await preview(store, settings, Asked(rules), now=wall_clock())


def main() -> None:
    """Measure."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--achievements", type=int, default=25)
    given = parser.parse_args()
    spare_collector()  # as the commands do
    asyncio.run(measure(given.events, given.users, given.achievements))


if __name__ == "__main__":
    main()
