"""`just bench replay`: a recording through `ach replay`, and through SQL for the same five rules in DuckDB.

Each is a process of its own and reads the same file; both say who earned what, and when, and must agree. The SQL knows
these rules alone, and trusts the file: it checks no contract, finds no conflict of ids and keeps no progress.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from argparse import ArgumentParser
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import duckdb

from bench.events import Shape, make
from bench.ledger import measure_ledgers
from bench.machine import machine, versions
from bench.measured import ACH, measure
from bench.replay_parts import where

RULES: Final = Path(__file__).with_name("rules.ach")
LATE_AND_TWICE: Final = Shape(0, late=0.02, duplicates=0.01)

SQL: Final = """
CREATE TABLE heard AS
SELECT DISTINCT event_id AS id, event_type AS type, user_id AS u, occurred_at::TIMESTAMPTZ AS t,
    payload.lesson_id AS lesson, payload.amount AS amount
FROM read_json($file, format = 'newline_delimited', columns = {event_id: 'VARCHAR', event_type: 'VARCHAR',
    user_id: 'VARCHAR', occurred_at: 'VARCHAR', payload: 'STRUCT(lesson_id VARCHAR, amount BIGINT)'});
WITH lesson AS MATERIALIZED (
    SELECT u, id, t, lesson, row_number() OVER w AS nth, sum(amount) OVER w AS total
    FROM heard WHERE type = 'lesson.completed' WINDOW w AS (PARTITION BY u ORDER BY t, id)
),
met AS (SELECT u, lesson, min(t) AS t FROM lesson WHERE lesson IS NOT NULL GROUP BY ALL),
day AS (
    SELECT u, date_trunc('day', t) AS day, min(t) AS t,
        row_number() OVER (PARTITION BY u ORDER BY date_trunc('day', t)) AS nth
    FROM lesson GROUP BY u, date_trunc('day', t)
),
begun AS (
    SELECT *, max(t) FILTER (WHERE type = 'tutorial.finished') OVER w AS tutorial
    FROM heard WINDOW w AS (PARTITION BY u ORDER BY t, id ROWS UNBOUNDED PRECEDING)
),
gone_on AS (
    SELECT *, max(tutorial) FILTER (WHERE type = 'project.created') OVER w AS begin
    FROM begun WINDOW w AS (PARTITION BY u ORDER BY t, id ROWS UNBOUNDED PRECEDING)
)
SELECT u, 'hundred', t FROM lesson WHERE nth = 100
UNION ALL
SELECT u, 'ten_different', t FROM met QUALIFY row_number() OVER (PARTITION BY u ORDER BY t) = 10
UNION ALL
SELECT u, 'big', min(t) FROM lesson WHERE total >= 1000 GROUP BY u
UNION ALL
SELECT u, 'week', min(t) FROM (
    SELECT u, t, row_number() OVER (PARTITION BY u, day - to_days(CAST(nth AS INTEGER)) ORDER BY day) AS nth FROM day
) WHERE nth = 7 GROUP BY u
UNION ALL
SELECT u, 'path', min(t) FROM gone_on WHERE type = 'lesson.completed' AND t - begin <= INTERVAL 7 DAY GROUP BY u
"""


class Ran(NamedTuple):
    """What a process has taken: seconds of the clock and of cores, and bytes of memory at the most."""

    seconds: float
    cpu: float
    peak: int
    unlocks: set[tuple[str, str, str]]


def write(file: Path, events: int) -> int:
    """Write a recording; return how many lines it has."""
    made = make(LATE_AND_TWICE._replace(events=events))
    file.write_bytes(b"".join(event.body + b"\n" for event in made))
    return len(made)


def by_sql(file: str) -> None:
    """Print what DuckDB finds, as JSON: user, achievement, instant."""
    connection = duckdb.connect()
    connection.execute("SET timezone = 'UTC'")
    create, ask = SQL.split(";")
    connection.execute(create, {"file": file})
    rows = connection.execute(ask).fetchall()
    print(json.dumps([(user, name, at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")) for user, name, at in rows]))


def replayed(file: Path) -> Ran:
    """Run `ach replay`."""
    seconds, cpu, peak, printed = measure([ACH, "replay", file, "-r", RULES, "--json"])
    unlocks = json.loads(printed)["unlocks"]
    return Ran(seconds, cpu, peak, {(one["subject"], one["achievement"], one["earned_at"]) for one in unlocks})


def asked(file: Path) -> Ran:
    """Run the SQL."""
    seconds, cpu, peak, printed = measure([sys.executable, "-m", "bench.replay", "--sql", file])
    return Ran(seconds, cpu, peak, {(user, name, at) for user, name, at in json.loads(printed)})


def main() -> None:
    """Measure."""
    parser = ArgumentParser(prog="just bench replay", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ledger", type=int, metavar="EVENTS", help="measure what reads a ledger of so many, instead")
    parser.add_argument("--where", action="store_true", help="measure where the CPU of a replay goes, instead")
    parser.add_argument("--sql", help="run the SQL over a file, and nothing else")
    given = parser.parse_args()
    if given.sql:
        by_sql(given.sql)
        return
    if given.ledger:
        measure_ledgers(given.ledger)
        return
    print(json.dumps({**machine(), **versions()}))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.jsonl"
        # In a process of its own: what this one holds would count as memory of those that it starts.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
            lines = other.submit(write, file, given.events).result()
        if given.where:
            print("\n".join(where(file, RULES, lines)))
            return
        # An installed package has its bytecode: the first round writes it, and does not count.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        replayed(file)
        asked(file)
        ran = {"ach replay": list[Ran](), "SQL in DuckDB": list[Ran]()}
        for _ in range(given.rounds):
            ran["ach replay"].append(replayed(file))
            ran["SQL in DuckDB"].append(asked(file))
    found = [one.unlocks for each in ran.values() for one in each]
    if any(one != found[0] for one in found):
        raise AssertionError(f"they differ: {[*found[0] ^ found[-1]][:5]}")
    print(f"{lines:,} events, {len(found[0]):,} unlocks, the same by both; medians of {given.rounds}")
    print("| | seconds | CPU seconds | CPU us an event | memory |\n|---|---|---|---|---|")
    for name, each in ran.items():
        cpu = median(one.cpu for one in each)
        peak = median(one.peak for one in each)
        seconds = median(one.seconds for one in each)
        print(f"| {name} | {seconds:.2f} | {cpu:.2f} | {cpu / lines * 1e6:.1f} | {peak / 1e6:.0f} MB |")


if __name__ == "__main__":
    main()
