"""`just function-bench`: what an event costs in the function form, by batch size, and in the worker; cold starts.

Each contestant is a process of its own on a fresh database: it reads or pulls the same events, and says what CPU it has
used behind its first answer. The database's CPU is that of all its processes in the same span.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import ach
from bench.events import TENANT, Shape, make, messages
from bench.machine import machine, versions
from bench.processes import ROOT
from bench.publish import publish_all
from bench.rig import RULES, rig
from worker.app import at_once, run
from worker.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.events import Event
    from bench.rig import Arena, Rig

SIZES: Final = (10, 100, 1000)
"""Records of a batch."""
COLD_STARTS: Final = 5
MILLION: Final = 1_000_000


class Cost(NamedTuple):
    """Seconds per million events: CPU of the process and of the database, and time that the process was busy."""

    process: float
    database: float
    busy: float


# -- in a process of its own -------------------------------------------------------------------------------------------


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def work_as_function(records: Sequence[bytes], size: int) -> dict[str, float]:
    """Hand records over in batches; return what they took behind the first batch."""
    await ach.batch(records[:size], tenant=TENANT)
    began, cpu = perf_counter(), _cpu()
    for at in range(size, len(records), size):
        answer = await ach.batch(records[at : at + size], tenant=TENANT)
        if answer["batchItemFailures"]:
            raise SystemExit("a batch was not committed")
    return {"busy": perf_counter() - began, "cpu": _cpu() - cpu, "events": len(records) - size}


async def work_as_worker(events: int) -> dict[str, float]:
    """Work off the stream; return what that took."""
    began, cpu = perf_counter(), _cpu()
    await run(read_settings({k: v for k, v in os.environ.items() if k != "BENCH_SCRATCH"}), drain=at_once())
    return {"busy": perf_counter() - began, "cpu": _cpu() - cpu, "events": events}


COLD: Final = """
import json, sys
from time import perf_counter
began = perf_counter()
import ach
imported = perf_counter()
rules = ach.load(sys.argv[1])
loaded = perf_counter()
with open(sys.argv[2], "rb") as file:
    records = file.read().splitlines()[:10]
ach.batch_sync(records, tenant=sys.argv[3], rules=rules)
done = perf_counter()
print(json.dumps({"import": imported - began, "rules": loaded - imported, "batch": done - loaded}))
"""
"""A cold start: nothing is imported before. Prints the seconds of each part; the batch has 10 records."""


# -- around it ---------------------------------------------------------------------------------------------------------


def _child(arena: Arena, *command: str) -> dict[str, float]:
    environment = {"PATH": os.environ["PATH"], **arena.environments[0]}
    ran = subprocess.run(
        (sys.executable, *command), cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(ran.stdout.splitlines()[-1])


async def measure(servers: Rig, events: list[Event], path: Path, size: int | None) -> Cost:
    """Return the cost of one run; `size` None is the worker."""
    async with servers.arena() as arena:
        await arena.deploy()
        if size is None:
            await publish_all(arena, messages(events, 1))
        before = servers.cpu().database
        arguments = ("worker", str(len(events))) if size is None else ("function", str(path), str(size))
        took = await asyncio.to_thread(_child, arena, "-m", "bench.function", *arguments)
        database = servers.cpu().database - before
    per = MILLION / took["events"]
    return Cost(took["cpu"] * per, database * MILLION / len(events), took["busy"] * per)


async def cold(servers: Rig, path: Path) -> dict[str, float]:
    """Return the medians of several cold starts."""
    async with servers.arena() as arena:
        await arena.deploy()
        command = "-c", COLD, str(RULES), str(path), TENANT
        found = [await asyncio.to_thread(_child, arena, *command) for _ in range(COLD_STARTS)]
    return {name: median(one[name] for one in found) for name in found[0]}


async def compare(number: int, rounds: int) -> None:
    """Measure all contestants in turns, and print a table of medians."""
    events = make(Shape(number))
    costs: dict[int | None, list[Cost]] = {size: [] for size in (None, *SIZES)}
    with tempfile.TemporaryDirectory(prefix="ach-bench-") as folder:
        path = Path(folder) / "events.jsonl"
        path.write_bytes(b"\n".join(event.body for event in events))
        async with rig() as servers:
            print(json.dumps(machine() | versions() | await servers.versions()))
            starts = await cold(servers, path)
            for _ in range(rounds):
                for size, found in costs.items():
                    found.append(await measure(servers, events, path, size))
    print(f"cold start: {json.dumps({name: round(seconds, 3) for name, seconds in starts.items()})}")
    print("| seconds per million events | CPU process | CPU database | busy |\n|---|---|---|---|")
    for size, found in costs.items():
        said = " | ".join(f"{median(column):,.0f}" for column in zip(*found, strict=True))
        print(f"| {'the worker' if size is None else f'batches of {size:,}'} | {said} |")


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    match sys.argv[1:]:
        case ["function", path, size]:
            print(json.dumps(asyncio.run(work_as_function(Path(path).read_bytes().splitlines(), int(size)))))
        case ["worker", events]:
            print(json.dumps(asyncio.run(work_as_worker(int(events)))))
        case _:
            parser = ArgumentParser(description=__doc__)
            parser.add_argument("--events", type=int, default=50_000)
            parser.add_argument("--rounds", type=int, default=3)
            asked = parser.parse_args()
            asyncio.run(compare(asked.events, asked.rounds))


if __name__ == "__main__":
    main()
