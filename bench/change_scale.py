"""`just bench change`: changes of rules at scale, beside hand-written SQL for the same rules in PostgreSQL and DuckDB.

Ten million events of 200,000 users lie in the ledger, folded by fifty rules. Commands are processes of their own, as
an operator runs them. CPU is that of the command and of the database together: it does not depend on who else uses the
machine. The SQL knows its five rules alone: it keeps no progress, and takes nothing back when a late event comes. What
all of them find is compared, unlock by unlock.

What only reads is measured in several rounds, those who are compared in turn. Results go to bench/results/change.json,
tables to docs/performance.md; with --quick, or another size, nothing of that is written unless --write asks for it.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import tempfile
from argparse import ArgumentParser, BooleanOptionalAction
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
import duckdb
import msgspec

from bench.change_answers import BUILT, BY_HAND, FIVE_NAMES, answer, ask_duckdb, planned, read_found
from bench.change_page import BEGIN, END, HEAD, MILLION, Changes, Line, Took, section
from bench.change_rules import ALL_TYPES, FAR, FIVE, NEAR, RARE, in_force
from bench.change_sql import ARCHIVE, IN_POSTGRES
from bench.machine import machine, versions
from bench.measured import ACH, Measured, measure
from bench.page import merged
from bench.processes import ROOT, BenchError, cpu_seconds, peak_bytes
from worker.local.servers import embedded

if TYPE_CHECKING:
    from bench.change_answers import Answer
    from worker.local.servers import Servers

LATEST: Final = ROOT / "bench" / "results" / "change.json"
PAGE: Final = ROOT / "docs" / "performance.md"
SHORT_ROUNDS: Final = 5
"""Of what takes some seconds."""
TIMEOUT: Final = 3600
"""Seconds for a statement."""


class Size(NamedTuple):
    """How much is measured."""

    events: int
    users: int
    rounds: int


FULL: Final = Size(10 * MILLION, 200_000, 3)
QUICK: Final = Size(300_000, 6_000, 1)
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
KEPT: Final = "SELECT (SELECT max(epoch) FROM rule_set), (SELECT count(*) FROM event)"
HEARD: Final = "SELECT count(*) FROM event WHERE event_type <> ALL ($1)"


class Bench:
    """The servers, and what was measured on them."""

    def __init__(self, servers: Servers, connection: asyncpg.Connection, folder: Path, results: Changes) -> None:
        self.servers = servers
        self.connection = connection
        self.folder = folder
        self.results = results

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

    async def ach(self, key: str, title: str, *arguments: str | Path, events: int = 0) -> Measured:
        """Run a command, and note what it has taken."""
        environment = {
            "DATABASE_URL": self.servers.database_url,
            "NATS_URL": self.servers.nats_url,
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
        }
        before = cpu_seconds(self.servers.pids)
        done = await asyncio.to_thread(measure, [ACH, *arguments], environment, (0, 2))
        database = cpu_seconds(self.servers.pids) - before
        self.note(key, title, events, Took(done.seconds, done.cpu, database, done.peak))
        return done

    async def changing(self, key: str, title: str, *arguments: str | Path, events: int = 0) -> None:
        """Run a command that leaves work for the server's background."""
        await self.ach(key, title, *arguments, events=events)
        await self.rest()

    async def by_postgres(self, events: int) -> Answer:
        """Let PostgreSQL find what the five rules say."""
        await self.connection.execute("SET work_mem = '256MB'; DROP TABLE IF EXISTS by_hand")
        before, began = cpu_seconds(self.servers.pids), perf_counter()
        await self.connection.execute(IN_POSTGRES, timeout=TIMEOUT)
        seconds, database = perf_counter() - began, cpu_seconds(self.servers.pids) - before
        peak = peak_bytes(self.servers.pids[-1:])
        self.note("postgres", "SQL in PostgreSQL, the same five rules", events, Took(seconds, 0.0, database, peak))
        return answer(map(tuple, await self.connection.fetch(BY_HAND, timeout=TIMEOUT)))

    async def archive(self) -> Path:
        """Write the ledger as Parquet, in the order of time."""
        text, file = self.folder / "events.csv", self.folder / "events.parquet"
        await self.connection.copy_from_query(ARCHIVE, output=text, format="csv", timeout=TIMEOUT)
        await asyncio.to_thread(_as_parquet, text, file)
        text.unlink()
        self.results.parquet = file.stat().st_size
        return file

    async def by_duckdb(self, archive: Path, events: int) -> Answer:
        """Let DuckDB find what the five rules say."""
        found = self.folder / "found.parquet"
        command = [sys.executable, "-m", "bench.change_scale", "--sql", archive, "--found", found]
        done = await asyncio.to_thread(measure, command, None)
        took = Took(done.seconds, done.cpu, 0.0, done.peak)
        self.note("duckdb", "SQL in DuckDB over Parquet, the same five rules", events, took)
        return answer(read_found(found))

    def note(self, key: str, title: str, events: int, took: Took) -> None:
        """Keep and print what something has taken."""
        self.results.lines.setdefault(key, Line(title, events)).rounds.append(took)
        print(f"| {' | '.join(Line(title, events, [took]).row())} |", flush=True)
        (self.folder / LATEST.name).write_bytes(msgspec.json.encode(self.results))


def _as_parquet(text: Path, file: Path) -> None:
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "4GB"})
    connection.execute(
        f"COPY (FROM read_csv('{text}', header = false, columns = {{id: 'VARCHAR', tenant: 'VARCHAR', u: 'VARCHAR', "
        "type: 'VARCHAR', t: 'TIMESTAMP', payload: 'VARCHAR'})) "
        f"TO '{file}' (FORMAT parquet, COMPRESSION zstd)"
    )


async def run(results: Changes, *, keep: str | None) -> None:
    """Measure everything."""
    began = perf_counter()
    with tempfile.TemporaryDirectory(prefix="ach-change-bench-") as name:
        folder = Path(keep or name)
        async with embedded(folder / "servers", durable=True) as servers:
            connection = await asyncpg.connect(servers.database_url)
            bench = Bench(servers, connection, folder, results)
            print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
            await _filled(bench)
            far = await _tiers(bench)
            await _five(bench, far + FIVE)
            await _over_all(bench, far + FIVE)
            await connection.close()
    results.load, results.seconds = os.getloadavg()[0], perf_counter() - began


def _written(bench: Bench, text: str) -> Path:
    rules = bench.folder / "rules.ach"
    rules.write_text(text)
    return rules


async def _filled(bench: Bench) -> None:
    if await bench.connection.fetchval("SELECT to_regclass('rule_set') IS NOT NULL"):
        ((epoch, events),) = await bench.connection.fetch(KEPT)
        if epoch != 1 or events != bench.results.events:
            raise BenchError(f"the servers have epoch {epoch} and {events:,} events: a folded ledger has epoch 1")
        return
    await bench.ach("into force", "`ach apply`: fifty rules, no event yet", "apply", _written(bench, in_force()))
    await bench.connection.execute("ALTER TABLE event SET (autovacuum_enabled = false)")
    await bench.fill(bench.results.events, bench.results.users)
    heard = await bench.connection.fetchval(HEARD, ["tutorial.finished", "project.created"])
    await bench.changing("fold", "`ach backfill`: everyone folded by fifty rules", "backfill", events=heard)


async def _tiers(bench: Bench) -> str:
    far, near = in_force(FAR), in_force(NEAR)
    for _ in range(SHORT_ROUNDS):
        await bench.ach("plan far", "`ach plan`: a tier that no user reaches", "plan", _written(bench, far))
    quizzes = bench.results.events - await bench.connection.fetchval(HEARD, ["quiz.passed"])
    title = "`ach plan`: a tier that some nine in a hundred reach"
    for _ in range(bench.results.rounds):
        await bench.ach("plan near", title, "plan", _written(bench, near), events=quizzes)
    await bench.changing("apply far", "`ach apply`: the tier that no user reaches", "apply", _written(bench, far))
    return far


async def _five(bench: Bench, rules: str) -> None:
    events = await bench.connection.fetchval(HEARD, ["quiz.passed", "comment.posted"])
    archive, file = await bench.archive(), _written(bench, rules)
    answers: dict[str, Answer] = {}
    for _ in range(bench.results.rounds):
        await bench.ach("plan five", "`ach plan`: five new rules", "plan", file, events=events)
        answers["PostgreSQL"] = await bench.by_postgres(events)
        answers["DuckDB"] = await bench.by_duckdb(archive, events)
    title = "`ach plan --list --json` of them, every unlock on a line"
    listed = await bench.ach("plan list", title, "plan", file, "--list", "--json", events=events)
    answers["the plan"] = answer(planned(listed.printed))
    await bench.changing("apply five", "`ach apply` of them", "apply", file, events=events)
    built = answer(map(tuple, await bench.connection.fetch(BUILT, FIVE_NAMES, timeout=TIMEOUT)))
    for name, found in answers.items():
        if found != built:
            raise AssertionError(f"{name} has found {found.unlocks:,} unlocks, and {built.unlocks:,} were granted")
    bench.results.unlocks = built.unlocks


async def _over_all(bench: Bench, before: str) -> None:
    events = bench.results.events
    for _ in range(bench.results.rounds):
        title = "`ach plan`: a new aggregate over all events"
        await bench.ach("plan all", title, "plan", _written(bench, before + ALL_TYPES), events=events)
    title = "`ach apply`: a new aggregate that some ten users reach"
    heard = await bench.connection.fetchval(HEARD, ["comment.posted"])
    await bench.changing("apply rare", title, "apply", _written(bench, before + RARE), events=heard)
    title = "`ach apply`: the one over all events, a grant for each user"
    await bench.changing("apply all", title, "apply", _written(bench, before + RARE + ALL_TYPES), events=events)
    await bench.changing("rollback", "`ach rollback` to before it", "rollback", "4", "--yes", events=events)


def main() -> None:
    """Measure."""
    parser = ArgumentParser(prog="just bench change", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.events:,} events and one round")
    parser.add_argument("--events", type=int)
    parser.add_argument("--users", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument(
        "--keep", metavar="DIR", help="where the servers' data stay; a folded ledger there is used again"
    )
    parser.add_argument("--write", action=BooleanOptionalAction, help="write results and page, or not")
    parser.add_argument("--render", action="store_true", help="write the page from the results that are kept")
    parser.add_argument("--sql", help="run the SQL of DuckDB over a file, and nothing else")
    parser.add_argument("--found", help="where that writes what it finds")
    given = parser.parse_args()
    if given.sql:
        ask_duckdb(given.sql, given.found)
        return
    if given.render:
        _write(msgspec.json.decode(LATEST.read_bytes(), type=Changes))
        return
    size = QUICK if given.quick else FULL
    asked = Size(given.events or size.events, given.users or size.users, given.rounds or size.rounds)
    results = Changes(
        measured_on=datetime.now(UTC).date().isoformat(),
        command=_command(sys.argv[1:]),
        machine=machine(),
        versions=versions(),
        events=asked.events,
        rounds=asked.rounds,
        users=asked.users,
        lines={},
    )
    asyncio.run(run(results, keep=given.keep))
    if given.write if given.write is not None else asked == FULL:
        _write(results)
    else:
        print(f"\n{section(results)}")


def _command(given: list[str]) -> str:
    """Return the command without the folder, which says nothing of what is measured."""
    if "--keep" in given:
        at = given.index("--keep")
        given = given[:at] + given[at + 2 :]
    return shlex.join(["just", "bench", "change", *given])


def _write(results: Changes) -> None:
    LATEST.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    PAGE.write_text(merged(PAGE.read_text("utf-8"), section(results), BEGIN, END), "utf-8")


if __name__ == "__main__":
    main()
