"""`just bench change`: a change of rules at scale, beside hand-written SQL for the same rules in PostgreSQL and DuckDB.

Ten million events of 200,000 users lie in the ledger, folded by fifty rules. Commands are processes of their own, as
an operator runs them. CPU is that of the command and of the database together: it does not depend on who else uses the
machine. The SQL knows its five rules alone: it keeps no progress, and takes nothing back when a late event comes.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
import duckdb

from bench.change_rules import ALL_TYPES, FAR, FIVE, NEAR, in_force
from bench.change_sql import ARCHIVE, IN_DUCKDB, IN_POSTGRES
from bench.machine import machine, versions
from bench.measured import ACH, Measured, measure
from bench.processes import cpu_seconds, peak_bytes
from worker.local.servers import embedded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.local.servers import Servers

MILLION: Final = 1_000_000
FILL: Final = """
INSERT INTO event
SELECT
    'tenant-' || u % 8, '019b0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'), 'user-' || u, kind, at, 0, NULL, 'app',
    CASE kind
        WHEN 'lesson.completed' THEN '{"lesson_id":"l' || c % 50 || '","amount":' || d % 40 + 1 || '}'
        WHEN 'quiz.passed' THEN '{"score":' || d % 100 || ',"topic":"t' || c % 40 || '"}'
        ELSE '{}'
    END,
    at + interval '2 seconds', n
FROM (
    SELECT
        n, u, '2026-05-01Z'::timestamptz + (n::float8 / $1 * 30) * interval '1 day' AS at, a >> 20 & 1023 AS c,
        a >> 40 & 1023 AS d,
        (ARRAY['lesson.completed', 'lesson.completed', 'lesson.completed', 'lesson.completed', 'lesson.completed',
            'lesson.completed', 'quiz.passed', 'quiz.passed', 'comment.posted',
            CASE WHEN a & 1 = 0 THEN 'tutorial.finished' ELSE 'project.created' END])[1 + (a >> 10 & 1023) % 10] AS kind
    FROM (
        SELECT
            n, hashint8extended(n, 1) AS a,
            floor($2 * ((hashint8extended(n, 2) & 1048575) / 1048576.0::float8) ^ 2)::bigint AS u
        FROM generate_series(1::bigint, $1) AS n
    ) AS dice
) AS made
"""
INDEXES: Final = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'event' AND indexname <> 'event_pkey'"
FOUND: Final = """
SELECT achievement, count(*), sum((extract(epoch FROM earned_at) * 1000000)::bigint)
FROM unlock WHERE achievement = ANY ($1) GROUP BY achievement
"""


class Took(NamedTuple):
    """What something has taken: seconds, CPU seconds of the command and of the database, bytes at the most."""

    what: str
    seconds: float
    command: float
    database: float
    peak: int
    events: int
    """Of the types concerned, to which the CPU is related; 0 for none."""

    def row(self) -> str:
        """Return it as a row of a table."""
        cpu = self.command + self.database
        each = f"{cpu / self.events * MILLION:.1f}" if self.events else ""
        return (
            f"| {self.what} | {self.seconds:.1f} | {self.command:.1f} | {self.database:.1f} | {cpu:.1f} | {each} | "
            f"{self.peak / MILLION:.0f} |"
        )


class Bench:
    """The servers, and what was measured on them."""

    def __init__(self, servers: Servers, connection: asyncpg.Connection, folder: Path) -> None:
        self.servers = servers
        self.connection = connection
        self.folder = folder
        self.took: list[Took] = []

    async def fill(self, events: int, users: int) -> None:
        """Fill the ledger, without indexes, which are made afterwards."""
        run, later = self.connection.execute, await self.connection.fetch(INDEXES)
        for row in later:
            await run(f"DROP INDEX {row['indexname']}")
        await run("ALTER TABLE event DROP CONSTRAINT event_pkey")
        await run("SET maintenance_work_mem = '1GB'; SET synchronous_commit = off")
        await run(FILL, events, users, timeout=3600)
        await run("ALTER TABLE event ADD CONSTRAINT event_pkey PRIMARY KEY (event_id, tenant_id)", timeout=3600)
        for row in later:
            await run(row["indexdef"], timeout=3600)
        await self.rest()

    async def rest(self) -> None:
        """Do what the server would do in the background, so that it does not count as part of what comes next."""
        await self.connection.execute("VACUUM ANALYZE", timeout=3600)
        await self.connection.execute("CHECKPOINT", timeout=3600)

    async def ach(self, what: str, *arguments: str | Path, events: int = 0, changes: bool = True) -> Measured:
        """Run a command, and note what it has taken; `changes`: it leaves work for the server's background."""
        environment = {
            "DATABASE_URL": self.servers.database_url,
            "NATS_URL": self.servers.nats_url,
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
        }
        before = cpu_seconds(self.servers.pids)
        done = await asyncio.to_thread(measure, [ACH, *arguments], environment, (0, 2))
        database = cpu_seconds(self.servers.pids) - before
        self.note(Took(what, done.seconds, done.cpu, database, done.peak, events))
        if changes:
            await self.rest()
        return done

    async def by_postgres(self, events: int) -> dict[str, tuple[int, int]]:
        """Let PostgreSQL find what the five rules say."""
        await self.connection.execute("SET work_mem = '256MB'; DROP TABLE IF EXISTS by_hand")
        before, began = cpu_seconds(self.servers.pids), perf_counter()
        await self.connection.execute(IN_POSTGRES, timeout=3600)
        database = cpu_seconds(self.servers.pids) - before
        peak = peak_bytes(self.servers.pids[-1:])
        self.note(Took("SQL in PostgreSQL, the same five", perf_counter() - began, 0.0, database, peak, events))
        return _found(await self.connection.fetch(FOUND.replace("FROM unlock", "FROM by_hand"), FIVE_NAMES))

    async def archive(self) -> Path:
        """Write the ledger as Parquet, in the order of time."""
        text, file = self.folder / "events.csv", self.folder / "events.parquet"
        await self.connection.copy_from_query(ARCHIVE, output=text, format="csv", timeout=3600)
        await asyncio.to_thread(_as_parquet, text, file)
        text.unlink()
        return file

    async def by_duckdb(self, file: Path, events: int) -> dict[str, tuple[int, int]]:
        """Let DuckDB find what the five rules say."""
        done = await asyncio.to_thread(measure, [sys.executable, "-m", "bench.change_scale", "--sql", file], None)
        self.note(Took("SQL in DuckDB, the same five", done.seconds, done.cpu, 0.0, done.peak, events))
        return {name: (number, total) for name, number, total in json.loads(done.printed)}

    def note(self, took: Took) -> None:
        """Keep and print what something has taken."""
        self.took.append(took)
        print(took.row(), flush=True)


FIVE_NAMES: Final = re.findall(r"achievement (\w+)", FIVE)
HEAD: Final = (
    "| | seconds | CPU command | CPU database | CPU | µs an event | memory, MB |\n|---|---|---|---|---|---|---|"
)


def _found(rows: Sequence[asyncpg.Record]) -> dict[str, tuple[int, int]]:
    return {name: (number, int(total)) for name, number, total in rows}


def _as_parquet(text: Path, file: Path) -> None:
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "4GB"})
    connection.execute(
        f"COPY (FROM read_csv('{text}', header = false, columns = {{id: 'VARCHAR', tenant: 'VARCHAR', u: 'VARCHAR', "
        "type: 'VARCHAR', t: 'TIMESTAMP', payload: 'VARCHAR'})) "
        f"TO '{file}' (FORMAT parquet, COMPRESSION zstd)"
    )


def by_sql(file: str) -> None:
    """Print what DuckDB finds, as JSON: achievement, number of unlocks, sum of the instants in seconds."""
    connection = duckdb.connect(config={"threads": 2})
    rows = connection.execute(IN_DUCKDB.replace("$file", f"'{file}'")).fetchall()
    print(json.dumps([(name, number, int(total)) for name, number, total in rows]))


async def run(events: int, users: int, *, keep: str | None) -> None:
    """Measure once."""
    folder = keep or tempfile.mkdtemp(prefix="ach-change-bench-", dir="/tmp")
    async with embedded(Path(folder) / "servers", durable=True) as servers:
        connection = await asyncpg.connect(servers.database_url)
        bench = Bench(servers, connection, Path(folder))
        await _all(bench, events, users)
        await connection.close()


async def _all(bench: Bench, events: int, users: int) -> None:
    rules, base = bench.folder / "rules.ach", in_force()

    def written(text: str) -> Path:
        rules.write_text(text)
        return rules

    print(HEAD)
    await bench.ach("50 rules into force, no event yet", "apply", written(base))
    began = perf_counter()
    await bench.connection.execute("ALTER TABLE event SET (autovacuum_enabled = false)")
    await bench.fill(events, users)
    print(f"(filled in {perf_counter() - began:.0f} s)", flush=True)
    heard = await bench.connection.fetchval(
        "SELECT count(*) FROM event WHERE event_type NOT IN ('tutorial.finished', 'project.created')"
    )
    five = await bench.connection.fetchval(
        "SELECT count(*) FROM event WHERE event_type NOT IN ('quiz.passed', 'comment.posted')"
    )
    await bench.ach("everyone folded by 50 rules", "backfill", events=heard)
    far, near = in_force(FAR), in_force(NEAR)
    await bench.ach("plan: a tier out of reach", "plan", written(far), changes=False)
    await bench.ach("plan: a tier that few reach", "plan", written(near), changes=False)
    await bench.ach("apply: a tier out of reach", "apply", written(far))
    everything = far + ALL_TYPES
    await bench.ach("plan: an aggregate over all types", "plan", written(everything), events=events, changes=False)
    await bench.ach("apply: an aggregate over all types", "apply", rules, events=events)
    await bench.ach("rollback to before it", "rollback", "2", "--yes", events=events)
    await bench.ach("plan: five rules", "plan", written(far + FIVE), events=five, changes=False)
    await bench.ach("apply: five rules", "apply", rules, events=five)
    ours = _found(await bench.connection.fetch(FOUND, FIVE_NAMES))
    by_postgres = await bench.by_postgres(five)
    by_duckdb = await bench.by_duckdb(await bench.archive(), five)
    for name, theirs in (("PostgreSQL", by_postgres), ("DuckDB", by_duckdb)):
        if theirs != ours:
            raise AssertionError(f"{name} differs: {theirs}, {ours}")
    print(f"{sum(number for number, _ in ours.values()):,} unlocks of five rules, the same by all three: {ours}")


def main() -> None:
    """Measure."""
    parser = ArgumentParser(prog="just bench change", description=__doc__)
    parser.add_argument("--events", type=int, default=10 * MILLION)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--keep", metavar="DIR", help="where the servers' data stay")
    parser.add_argument("--sql", help="run the SQL of DuckDB over a file, and nothing else")
    given = parser.parse_args()
    if given.sql:
        by_sql(given.sql)
        return
    print(json.dumps({**machine(), **versions()}))
    asyncio.run(run(given.events, given.users, keep=given.keep))


if __name__ == "__main__":
    main()
