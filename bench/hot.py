"""`just hot-bench`: what reads of users cost, hot ones and many cold ones: CPU of client and database.

A hot user has 100,000 events in ten hours. The last event of each lies in another place within some minutes, since that
decides how much is read to find what lies behind a position. The cold ones have 40 events each.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Final

from bench.contestants import CONTESTANTS
from bench.drain import drain
from bench.events import BEGINNING, LESSON, TENANT, Event, Message, instant
from bench.measured import ACH, measure
from bench.publish import publish_all
from bench.rig import rig
from worker.commands.options import wall_clock
from worker.contract.partition import event_subject
from worker.store import open_store
from worker.view.reader import OPERATOR, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.drain import Drained
    from bench.rig import Arena

WORKER: Final = next(one for one in CONTESTANTS if one.key == "worker")
HOT: Final = 4
LOOKS: Final = 2000
LATE: Final = 1000
ROUNDS: Final = 5
"""Of late events."""
PER_HOT: Final = 100_000
FILL: Final = """
INSERT INTO event (
    event_id, tenant_id, user_id, event_type, occurred_at, utc_offset, source, payload, stream_seq, received_at,
    published_at)
SELECT
    lpad(to_hex(n), 36, '0'), $1, user_id, 'lesson.completed', at, 0, 'app',
    '{"device":"phone","lesson_id":"l' || n % 50 || '","amount":' || n % 40 || '}', n, at, at
FROM (
    SELECT
        n,
        CASE WHEN n % 6 < 4 THEN 'hot' || n % 6 ELSE 'u' || lpad((n / 30 % ($2 / 80))::text, 7, '0') END AS user_id,
        to_timestamp($3) + n * interval '60 milliseconds' + (n % 6 * 71 + 17) * interval '1 second' AS at
    FROM generate_series(1::bigint, $2 * 6 / 4) AS n
) AS made
"""
NEW_RULES: Final = """
event lesson.completed { lesson_id: string, amount: int >= 0 }
event tutorial.finished {}
event project.created {}
achievement dozen { title "Twelve" when count(event=lesson.completed, distinct=lesson_id, >= 12) }
"""


class Meter:
    """CPU of client and database between two looks, in microseconds."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._own, self._database = process_time(), arena.cpu().database

    def say(self, title: str, number: int = 1, *, command: float | None = None) -> None:
        """Print what has been used since, for each of `number`; a command has used what is given."""
        client = process_time() - self._own if command is None else command
        database = self._arena.cpu().database - self._database
        scale = 1_000_000 / number
        print(json.dumps([title, round(client * scale), round(database * scale)]), flush=True)


def late_events(numbers: range) -> list[Event]:
    """Return events of hot users up to twelve hours late, in turn."""
    found: list[Event] = []
    for n in numbers:
        user, at = f"hot{n % HOT}", BEGINNING + (n * 7919 % 36_000) * 1_000_000 + n
        name = f"late-{n:031d}"
        said = {
            "event_id": name,
            "event_type": LESSON,
            "user_id": user,
            "tenant_id": TENANT,
            "occurred_at": instant(at),
            "source": "app",
            "payload": {"device": "phone", "lesson_id": f"l{n % 50}", "amount": 3},
        }
        found.append(Event(name, user, LESSON, at, "l1", 3, json.dumps(said).encode()))
    return found


async def looks(arena: Arena) -> None:
    """Look at users as the API and the console do."""
    async with open_store(arena.settings.database_url) as store:
        view = View(store.kept(), arena.settings)
        from dsl.outcome import Subject  # noqa: PLC0415

        for kind in ("hot", "cold"):
            names = [f"hot{n}" for n in range(HOT)] if kind == "hot" else [f"u{n:07d}" for n in range(HOT)]
            for name in names:
                await view.standing(Subject(TENANT, "user", name), OPERATOR, wall_clock())
            meter = Meter(arena)
            for n in range(LOOKS):
                await view.standing(Subject(TENANT, "user", names[n % HOT]), OPERATOR, wall_clock())
            meter.say(f"standing of a {kind} user", LOOKS)
            meter = Meter(arena)
            for n in range(LOOKS):
                async with store.transaction() as session:
                    await session.rows(
                        lambda *row: row, "latest_events_of_user", tenant_id=TENANT, user_id=names[n % HOT], limit=50
                    )
            meter.say(f"latest events of a {kind} user (console)", LOOKS)


async def command(arena: Arena, title: str, words: Sequence[str], codes: Sequence[int] = (0,)) -> None:
    """Measure a command."""
    environment = {**os.environ, **arena.environments[0]}
    meter = Meter(arena)
    done = await asyncio.to_thread(measure, [ACH, *words], environment, codes)
    await asyncio.sleep(0.3)
    meter.say(title, command=done.cpu)


async def run(arena: Arena, folder: Path, events: int, part: str) -> None:
    """Measure everything once."""
    await WORKER.prepare(arena)
    await arena.connection.execute(FILL, TENANT, events, BEGINNING / 1_000_000, timeout=3600)
    await arena.connection.execute("VACUUM ANALYZE", timeout=3600)
    await command(arena, "backfill of all", ["backfill"])
    await arena.connection.execute("VACUUM ANALYZE", timeout=3600)
    await looks(arena)
    await late(arena)
    if part == "looks":
        return
    await commands(arena, folder)
    if part == "all":
        await ledgers(arena, folder)


async def late(arena: Arena) -> None:
    """Measure late events of hot users, in several rounds: the medians."""
    # each late event alone, as they come in operation
    words, log = ["env", "ACH_BATCH_SIZE=8", *WORKER.command(1)], arena.scratch / "worker.log"
    rounds: list[Drained] = []
    for first in range(0, ROUNDS * LATE, LATE):
        made = late_events(range(first, first + LATE))
        subjects = [event_subject("events", TENANT, one.user, one.type) for one in made]
        await publish_all(arena, [Message(to, one.body, [one]) for to, one in zip(subjects, made, strict=True)])
        rounds.append(await drain(arena, [words], log, per=1, done=lambda: WORKER.done(arena)))
    worker, database = [
        median(cpu) for cpu in zip(*((one.worker_cpu, one.database_cpu) for one in rounds), strict=True)
    ]
    print(json.dumps(["late event of a hot user", round(worker), round(database)]), flush=True)


async def commands(arena: Arena, folder: Path) -> None:
    """Measure commands about one user."""
    await command(arena, "rebuild of a hot user", ["rebuild", "--quiet", "-t", TENANT, "-u", "hot1"])
    await command(
        arena, "explain of a hot user", ["explain", "-t", TENANT, "-u", "hot1", "-a", "hundred", "--from-ledger"]
    )
    await command(arena, "unlocks of a hot user", ["unlocks", "-t", TENANT, "-s", "hot1"])
    await command(
        arena, "export of a hot user", ["export", "-t", TENANT, "--user", "hot1", "-o", str(folder / "hot.json")]
    )
    await command(
        arena, "export of a cold user", ["export", "-t", TENANT, "--user", "u0000001", "-o", str(folder / "cold.json")]
    )


async def ledgers(arena: Arena, folder: Path) -> None:
    """Measure commands that read all of the ledger."""
    (folder / "new.ach").write_text(NEW_RULES)
    await command(arena, "plan of new rules", ["plan", str(folder / "new.ach")], (0, 2))
    await command(arena, "replay of all", ["replay", "--from-ledger", "--quiet"], (0, 1))
    await command(arena, "rebuild of all", ["rebuild", "--quiet"], (0, 1))
    await arena.connection.execute("UPDATE worker SET stopped = true")
    await command(arena, "erase of a hot user", ["erase", "-t", TENANT, "hot3", "--yes"])
    await command(arena, "erase of a cold user", ["erase", "-t", TENANT, "u0000002", "--yes"])
    await command(arena, "archive of all", ["archive", "--older-than", "1d"])


async def main() -> None:
    """Run it."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--hot-events", type=int, default=HOT * PER_HOT)
    parser.add_argument("--part", choices=("looks", "hot", "all"), default="all")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ach-hot-bench-") as folder:
        async with rig(Path(folder)) as place, place.arena() as arena:
            await run(arena, Path(folder), asked.hot_events, asked.part)


if __name__ == "__main__":
    asyncio.run(main())
