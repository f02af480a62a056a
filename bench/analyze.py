"""`just analyze-bench`: each analysis over a large mirror, as a command: seconds, memory; and PostgreSQL.

The ledger is that of `just mirror-bench`, filled by SQL. PostgreSQL answers three of the same questions from its tables
and views, with its own settings; all of it is on this machine.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from time import perf_counter
from typing import Final

import asyncpg

from bench.mirror import ACH, RULES, fill, run
from tests.integration.engine import Engine
from worker.analysis.questions import QUESTIONS
from worker.local.servers import embedded
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Settings
from worker.store import open_store

IN_POSTGRESQL: Final = {
    "completion": """
SELECT achievement, tier, count(DISTINCT (tenant_id, subject)),
    (SELECT count(*) FROM progress WHERE scope = 'user')
FROM v_unlock WHERE status IN ('granted', 'announced') GROUP BY 1, 2
""",
    "time": """
WITH began AS (SELECT tenant_id, user_id, min(occurred_at) AS at FROM event GROUP BY 1, 2)
SELECT achievement, count(*), percentile_disc(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY won.at - began.at)
FROM (
    SELECT tenant_id, user_id, achievement, min(earned_at) AS at
    FROM v_unlock WHERE status IN ('granted', 'announced') GROUP BY 1, 2, 3
) AS won
JOIN began USING (tenant_id, user_id)
GROUP BY 1
""",
    "retention": """
WITH began AS (SELECT tenant_id, user_id, min(occurred_at) AS at FROM event GROUP BY 1, 2),
won AS (SELECT tenant_id, user_id, min(earned_at) AS at FROM v_unlock WHERE scope = 'user' GROUP BY 1, 2),
seen AS (
    SELECT tenant_id, user_id, began.at,
        array_agg(DISTINCT floor(extract(epoch FROM occurred_at - began.at) / 86400)::bigint) AS days
    FROM event JOIN began USING (tenant_id, user_id) GROUP BY 1, 2, 3
)
SELECT date_trunc('week', seen.at), won.at < seen.at + interval '8 days' AS unlocker, count(*),
    count(*) FILTER (WHERE 8 = ANY(days)), count(*) FILTER (WHERE 14 = ANY(days)),
    count(*) FILTER (WHERE 37 = ANY(days))
FROM seen LEFT JOIN won USING (tenant_id, user_id)
WHERE days && ARRAY[1, 2, 3, 4, 5, 6, 7]::bigint[] GROUP BY 1, 2
""",
}


async def analyze(*words: str) -> str:
    """Run the command to its end; return what it took."""
    began = perf_counter()
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    arguments = [str(ACH), "analyze", *words]
    pid = os.posix_spawn(ACH, arguments, os.environ, file_actions=quiet)  # noqa: ASYNC221 - it returns at once
    _, status, usage = await asyncio.to_thread(os.wait4, pid, 0)
    if status:
        raise RuntimeError(words)
    cores = usage.ru_utime + usage.ru_stime
    seconds = perf_counter() - began
    return f"{seconds:.2f} s ({cores:.2f} s of a core), {usage.ru_maxrss * 1024 / 1e6:.0f} MB at the most"


async def measure(events: int, users: int, memory: str) -> None:
    """Run everything once."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        async with embedded(scratch / "servers", durable=True) as servers:
            settings = Settings(nats_url=servers.nats_url, database_url=servers.database_url)
            await Engine(settings).apply(RULES)
            async with open_store(settings.database_url) as store:
                rules = await load_deployed(store, settings)
            await fill(settings.database_url, rules, events, users)
            environment = {"NATS_URL": settings.nats_url, "DATABASE_URL": settings.database_url, "NO_COLOR": "1"}
            folder = str(scratch / "mirror")
            ran = await run(environment, "mirror", "--to", folder)
            print(f"{events:,} events of {users:,} users, mirrored in {ran.seconds:.1f} s")
            connection = await asyncpg.connect(settings.database_url)
            for question in QUESTIONS:
                words = (question.name, "--from", folder, "--memory", memory, "--html", os.devnull)
                said = f"{question.name}: {await analyze(*words)}"
                if question.name in IN_POSTGRESQL:
                    began = perf_counter()
                    await connection.fetch(IN_POSTGRESQL[question.name], timeout=3600)
                    said += f"; PostgreSQL {perf_counter() - began:.2f} s"
                print(said, flush=True)
            await connection.close()


def main() -> None:
    """Measure."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--memory", default="512MB", help="what DuckDB may take")
    given = parser.parse_args()
    asyncio.run(measure(given.events, given.users, given.memory))


if __name__ == "__main__":
    main()
