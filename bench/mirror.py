"""`just mirror-bench`: a ledger of many events, mirrored: seconds, memory, bytes a row; and the worker beside it.

The ledger is filled by SQL: progress and unlocks are those of users with as many events, folded once. Everything runs
on this machine: PostgreSQL, nats-server, the worker and the mirror share its cores.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
from argparse import ArgumentParser
from asyncio.subprocess import PIPE
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg

from dsl.event import Event
from dsl.fold import fold
from dsl.progress import encode
from tests.integration.engine import Engine, event
from worker.app import at_once
from worker.app import run as work
from worker.commands.mirror import SHARE
from worker.local.servers import embedded
from worker.mirror.duck import Bounds, open_duck
from worker.mirror.manifest import read_manifest
from worker.mirror.reading import make_views
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from worker.engine.rule_set import Deployed

ACH: Final = Path(sys.executable).with_name("ach")
RULES: Final = """
event lesson.completed { lesson_id: string, score: int? }
traits from user.updated { plan: string }

achievement first { title "First" when count(event=lesson.completed, >= 1) }
achievement lessons { title "Lessons"
  tier ten { when count(event=lesson.completed, >= 10) }
  tier hundred { when count(event=lesson.completed, >= 100) }
}
achievement thousand { title "Points" when sum(event=lesson.completed, of=score, >= 1000) }
achievement week { title "Week" when streak(event=lesson.completed, per=day, >= 7) }
"""
EVERY: Final = "5s"
"""Between runs of the mirror beside a worker, which has its first one behind it."""
DAYS: Final = 30
RUN_SECONDS: Final = re.compile(r"\((\d+\.\d) s\)")
LIVE_USERS: Final = 5000
"""Of a round; each has an event a minute, so that a round of any length ends before today."""
TRAITS: Final = 50
"""One event in so many says a plan."""
EARNED: Final = ("first", ""), ("lessons", "ten")
DAY: Final = 86_400_000_000
BEGAN: Final = 1_777_593_600_000_000
"""2026-05-01, in microseconds."""

FILL: Final = """
INSERT INTO event
SELECT
    'tenant-' || u % 8, 'event-' || n, 'user-' || u,
    CASE WHEN n % $3 = 0 THEN 'user.updated' ELSE 'lesson.completed' END,
    '2026-05-01Z'::timestamptz + (n::float8 / $1 * 30) * interval '1 day', 0, null, 'app',
    CASE WHEN n % $3 = 0 THEN '{"plan":"' || (ARRAY['free', 'pro', 'team'])[1 + n % 3] || '"}'
    ELSE '{"lesson_id":"lesson-' || n % 977 || '","score":' || n % 100 || '}' END,
    '2026-05-01Z'::timestamptz + (n::float8 / $1 * 30) * interval '1 day' + interval '2 seconds', n
FROM (SELECT n, n % $2 AS u FROM generate_series(1::bigint, $1) AS n) AS made
"""
PROGRESS: Final = """
INSERT INTO progress
SELECT 'tenant-' || u % 8, 'user', 'user-' || u, $2, '2026-06-01Z', 'zzz', $3, 0, now()
FROM generate_series(0::bigint, $1 - 1) AS u
"""
EVALUATIONS: Final = """
INSERT INTO evaluation (decided_at, tenant_id, scope, subject, achievement, tier, version, decision, final, earned_at,
    event_id)
SELECT '2026-05-02Z'::timestamptz + u % 28 * interval '1 day', 'tenant-' || u % 8, 'user', 'user-' || u, $2, $3, 1,
    'granted', true, '2026-05-02Z'::timestamptz + u % 28 * interval '1 day', 'event-' || u + 1
FROM generate_series(0::bigint, $1 - 1) AS u
"""
UNLOCKS: Final = """
INSERT INTO unlock (tenant_id, scope, subject, achievement, tier, unlock_id, version, earned_at, event_id, granted_at,
    published_at)
SELECT tenant_id, scope, subject, achievement, tier, gen_random_uuid(), 1, earned_at, event_id, decided_at, decided_at
FROM evaluation
"""
QUESTIONS: Final = {
    "events by type and day": (
        "SELECT event_type, date_trunc('day', processing_time) AS day, count(*) FROM {event} GROUP BY 1, 2",
        "v_event",
        "event",
    ),
    "unlocks by achievement, and the days to them": (
        "SELECT achievement, tier, count(*), avg(granted_at - event_time) FROM {event} GROUP BY 1, 2",
        "(SELECT achievement, tier, granted_at, earned_at AS event_time FROM v_unlock) AS u",
        "unlock_now",
    ),
    "users by events, and how many have an unlock": (
        (
            "SELECT count(*), avg(n), count(*) FILTER (WHERE won) FROM ("
            "SELECT e.user_id, count(*) AS n, bool_or(u.user_id "
            "IS NOT NULL) AS won FROM event AS e LEFT JOIN (SELECT DISTINCT tenant_id, user_id FROM {event} "
            "WHERE achievement = 'first') AS u ON u.tenant_id = e.tenant_id AND u.user_id = e.user_id "
            "GROUP BY e.tenant_id, e.user_id) AS each"
        ),
        "v_unlock",
        "unlock_now",
    ),
}


class Measured(NamedTuple):
    """One run of a command."""

    seconds: float
    peak: int
    """Bytes resident, at the most."""


async def run(environment: dict[str, str], *args: str) -> Measured:
    """Run a command to its end; raise where it fails."""
    began = perf_counter()
    pid = os.posix_spawn(ACH, [str(ACH), *args], {**os.environ, **environment})  # noqa: ASYNC221 - it returns at once
    _, status, usage = await asyncio.to_thread(os.wait4, pid, 0)
    if status:
        raise RuntimeError(args)
    return Measured(perf_counter() - began, usage.ru_maxrss * 1024)


async def fill(database: str, rules: Deployed, events: int, users: int) -> None:
    """Fill the tables as if a worker had, with `events / users` events a user."""
    each = max(1, events // users)
    plan = rules.program.scopes["user"]
    history = [
        Event(
            "t",
            f"e{n}",
            "lesson.completed",
            "u",
            BEGAN + n * DAYS * DAY // each,
            0,
            {"lesson_id": f"{n}", "score": n % 99},
        )
        for n in range(each)
    ]
    state, _ = fold(plan, history)
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(FILL, events, users, TRAITS, timeout=3600)
        await connection.execute(PROGRESS, users, rules.stamps["user"], encode(state).decode(), timeout=3600)
        for achievement, tier in EARNED:
            await connection.execute(EVALUATIONS, users, achievement, tier, timeout=3600)
        await connection.execute(UNLOCKS, timeout=3600)
        await connection.execute("VACUUM ANALYZE", timeout=3600)
    finally:
        await connection.close()


async def ask(database: str, folder: Path) -> None:
    """Ask the same of PostgreSQL and of the mirror, and print what each takes."""
    connection = await asyncpg.connect(database)
    manifest = read_manifest(folder)
    if manifest is None:
        raise AssertionError(folder)
    with open_duck(Bounds("1GB", 2), folder / ".reading") as duck:
        make_views(duck, folder, manifest)
        for name, (question, theirs, ours) in QUESTIONS.items():
            began = perf_counter()
            rows = await connection.fetch(question.format(event=theirs), timeout=3600)
            middle = perf_counter()
            found = duck.rows(question.format(event=ours))
            ended = perf_counter()
            if len(rows) != len(found):
                raise AssertionError(name)
            print(f"{name}: PostgreSQL {middle - began:.2f} s, mirror {ended - middle:.2f} s")
    await connection.close()


async def beside(engine: Engine, environment: dict[str, str], scratch: Path, events: int, rounds: int) -> None:
    """Let a worker work off events, without and with a mirror beside it; print the ratio of its rates.

    With the share that `ach mirror` takes, the waits between runs are longer than a round. So runs take half of a round
    here, which says what a second of them costs; the rate over a day follows from that and the share.
    """
    numbers = count()
    folder = scratch / "beside"
    await run(environment, "mirror", "--to", str(folder))
    took: dict[str, list[float]] = {"alone": [], "mirrored": []}
    running: list[float] = []
    for turn in range(rounds):
        for how, each in took.items():
            users = [f"live-{how}-{turn}-{n}" for n in range(LIVE_USERS)]
            made = (
                event(
                    n // LIVE_USERS,
                    "lesson.completed",
                    user=users[n % LIVE_USERS],
                    id=f"live-{next(numbers)}",
                    lesson_id="x",
                )
                for n in range(events)
            )
            recording = scratch / "live.jsonl"
            recording.write_text("".join(json.dumps(one) + "\n" for one in made))
            await run(environment, "emit", str(recording))
            mirror = None
            if how == "mirrored":
                await run(environment, "mirror", "--to", str(folder))  # up to date, as one that runs all day
                words = ("mirror", "--to", str(folder), "--every", EVERY, "--share", "50")
                mirror = await asyncio.create_subprocess_exec(
                    ACH, *words, env={**os.environ, **environment}, stdout=PIPE
                )
            began = perf_counter()
            await work(engine.with_settings(batch_size=8000).settings, drain=at_once())
            each.append(perf_counter() - began)
            if mirror is not None:
                mirror.terminate()
                said, _ = await mirror.communicate()
                running.append(sum(map(float, RUN_SECONDS.findall(said.decode()))))
    alone, mirrored = (events / median(seconds) for seconds in took.values())
    costs = sorted((beside - alone) / ran for alone, beside, ran in zip(*took.values(), running, strict=True))
    print(
        f"worker: {alone:,.0f} events/s alone, {mirrored:,.0f} beside runs that took {median(running):.1f} s of a round"
    )
    print(
        f"a second of a run costs the worker {median(costs):.2f} s ({costs[0]:.2f} to {costs[-1]:.2f}, {rounds} rounds)"
    )
    print(f"so it keeps {1 - median(costs) * SHARE / 100:.3f} of its rate with --share {SHARE}")


async def measure(events: int, users: int, rounds: int, live: int) -> None:
    """Run everything once."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        async with embedded(scratch / "servers", durable=True) as servers:
            settings = Settings(nats_url=servers.nats_url, database_url=servers.database_url)
            engine = Engine(settings)
            await engine.apply(RULES)
            async with open_store(settings.database_url) as store:
                rules = await load_deployed(store, settings)
            began = perf_counter()
            await fill(settings.database_url, rules, events, users)
            print(f"{events:,} events of {users:,} users, filled by SQL in {perf_counter() - began:.0f} s")
            environment = {"NATS_URL": settings.nats_url, "DATABASE_URL": settings.database_url, "NO_COLOR": "1"}
            folder = scratch / "mirror"
            for words in ("first run", "run with nothing new"):
                ran = await run(environment, "mirror", "--to", str(folder))
                print(f"{words}: {ran.seconds:.1f} s, {ran.peak / 1e6:.0f} MB at the most")
            manifest = read_manifest(folder)
            if manifest is None:
                raise AssertionError(folder)
            for layer, files in manifest.layers.items():
                rows, size = manifest.rows(layer), sum(file.bytes for file in files)
                if rows:
                    print(f"{layer}: {rows:,} rows, {size / rows:.1f} bytes a row, {len(files)} files")
            await ask(settings.database_url, folder)
            if rounds:
                await beside(engine, environment, scratch, live, rounds)


def main() -> None:
    """Measure."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the worker with and without a mirror")
    parser.add_argument("--live", type=int, default=200_000, help="events that the worker takes in a round")
    given = parser.parse_args()
    asyncio.run(measure(given.events, given.users, given.rounds, given.live))


if __name__ == "__main__":
    main()
