"""`just group-bench`: what an event costs with several workers: in a group, on one consumer, on lanes of their own.

CPU is compared, not time: the machine may be shared. All workers are started, and work off the first events, so that
each has written its partitions once and knows its users. They are frozen while the other events are published, and then
work off what waits. One worker by itself is measured in turn with each of the other cases.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.events import Shape, make, messages
from bench.processes import Peer, cpu_seconds
from bench.publish import publish_all
from bench.rig import RULES, rig
from worker.admin.table_partitions import divide_tables
from worker.broker.group_store import GroupStore
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from bench.events import Event
    from bench.rig import Arena, Rig
    from sql.table_partitions import EventsBy
    from worker.settings import Settings

ACH: Final = str(Path(sys.executable).with_name("ach"))
GROUP: Final = "bench"
LOOK_SECONDS: Final = 0.05
STATISTICS_SECONDS: Final = 1.2
PATIENCE: Final = 600.0
WARM: Final = 0.25
"""Share of the events that is worked off before anything is measured."""


class Division(NamedTuple):
    """Partitions of each big table, and what divides the events."""

    number: int
    by: EventsBy


class Case(NamedTuple):
    """So many workers, how they share the stream, and how the tables are divided."""

    name: str
    workers: int
    group: bool = False
    lanes: int = 1
    divided: Division | None = None
    busy: float = 0.0
    """Share of a core that another program uses meanwhile."""


ONE: Final = Case("one worker", 1)
CASES: Final = (
    Case("one, beside a busy program", 1, busy=0.64),
    Case("a group of 1", 1, group=True),
    Case("a group of 2", 2, group=True),
    Case("a group of 4", 4, group=True),
    Case("2 lanes", 2, lanes=2),
    Case("4 lanes", 4, lanes=4),
    Case("2 on one consumer", 2),
    Case("4 on one consumer", 4),
)


class Cost(NamedTuple):
    """What an event costs."""

    worker: float
    """CPU of all workers, microseconds."""
    database: float
    broker: float
    commits: float
    """Transactions of the database, for a thousand events."""
    rate: float
    """Events a second."""

    @property
    def ours(self) -> float:
        """CPU of workers and database."""
        return self.worker + self.database

    @property
    def total(self) -> float:
        """CPU of everything."""
        return self.ours + self.broker


async def measured(
    bench: Rig, case: Case, events: Sequence[Event], per: int, folder: Path, rules: Path = RULES
) -> Cost:
    """Return what an event costs."""
    with _busy(case.busy):
        return await _measured(bench, case, events, per, folder, rules)


@contextmanager
def _busy(share: float) -> Generator[None]:
    """Let another program use a share of a core for the length of a block, as the broker of a group does."""
    if not share:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", _BURN, str(share)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


_BURN: Final = """
import sys, time
share = float(sys.argv[1])
while True:
    until = time.perf_counter() + share / 100
    while time.perf_counter() < until:
        pass
    time.sleep((1 - share) / 100)
"""


async def _measured(bench: Rig, case: Case, events: Sequence[Event], per: int, folder: Path, rules: Path) -> Cost:
    async with bench.arena(case.lanes) as arena:
        await arena.deploy(rules)
        if case.divided is not None:
            async with open_store(arena.settings.database_url) as store:
                await divide_tables(store, *case.divided)
        peers = [Peer((ACH, "run"), each, folder / "worker.log") for each in _environments(arena, case)]
        try:
            await _ready(arena, case, peers)
            first = int(len(events) * WARM)
            await publish_all(arena, messages(events[:first], per, case.lanes))
            await _until(arena, case, peers, 0)
            # What is published meanwhile waits, so that the workers begin as one.
            _signal(peers, signal.SIGSTOP)
            await publish_all(arena, messages(events[first:], per, case.lanes))
            await _all_copied(arena, case)
            before, workers, commits = arena.cpu(), _cpu(peers), await _commits(arena)
            began = perf_counter()
            _signal(peers, signal.SIGCONT)
            await _until(arena, case, peers, 0)
            last, seconds, number = arena.cpu(), perf_counter() - began, len(events) - first
            return Cost(
                (_cpu(peers) - workers) / number * 1e6,
                (last.database - before.database) / number * 1e6,
                (last.broker - before.broker) / number * 1e6,
                (await _commits(arena) - commits) / number * 1e3,
                number / seconds,
            )
        finally:
            for peer in peers:
                peer.end()


def _environments(arena: Arena, case: Case) -> list[dict[str, str]]:
    group = {"ACH_GROUP": GROUP} if case.group else {}
    return [{**arena.environments[number % case.lanes], **group} for number in range(case.workers)]


def _signal(peers: Sequence[Peer], how: signal.Signals) -> None:
    for peer in peers:
        os.kill(peer.pid, how)


def _cpu(peers: Sequence[Peer]) -> float:
    return cpu_seconds([peer.pid for peer in peers])


async def _ready(arena: Arena, case: Case, peers: Sequence[Peer]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await _all_there(arena, case):
            for peer in peers:
                peer.check()
            await asyncio.sleep(LOOK_SECONDS)


async def _all_there(arena: Arena, case: Case) -> bool:
    jetstream = arena.client.jetstream()
    if case.group:
        store = GroupStore(arena.settings, GROUP)
        if len((await store.read(arena.client)).sheet.shares) < case.workers:
            return False
        made = await jetstream.consumers_info(store.stream)
        return len(made) >= case.workers and all(one.num_waiting for one in made)
    counts = [(await jetstream.consumer_info(one.input_stream, one.consumer)).num_waiting or 0 for one in arena.lanes]
    return sum(counts) >= 2 * case.workers


async def _commits(arena: Arena) -> int:
    # The server's processes say so once a second, or when they have had nothing to do for a while.
    await asyncio.sleep(STATISTICS_SECONDS)
    return await arena.connection.fetchval(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    )


async def _all_copied(arena: Arena, case: Case) -> None:
    """Wait until the stream of the group has all that was published: the workers are not to wait for the copy."""
    if case.group:
        last = await _last_of(arena, arena.settings.input_stream)
        async with asyncio.timeout(PATIENCE):
            while await _last_of(arena, GroupStore(arena.settings, GROUP).stream) < last:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_SECONDS)


async def _last_of(arena: Arena, stream: str) -> int:
    return (await arena.client.jetstream().stream_info(stream)).state.last_seq


async def _left(arena: Arena, case: Case) -> int:
    if case.group:
        return await _group_left(arena, arena.settings)
    backlog = await arena.backlog()
    return backlog.waiting + backlog.unacked


async def _group_left(arena: Arena, settings: Settings) -> int:
    jetstream = arena.client.jetstream()
    source = (await jetstream.stream_info(settings.input_stream)).state
    copy = (await jetstream.stream_info(GroupStore(settings, GROUP).stream)).state
    return copy.messages + source.last_seq - copy.last_seq


async def _until(arena: Arena, case: Case, peers: Sequence[Peer], left: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await _left(arena, case) > left:
            for peer in peers:
                peer.check()
            await asyncio.sleep(LOOK_SECONDS)


async def run(number: int, rounds: int, per: int, cases: Sequence[Case]) -> dict[str, list[Cost]]:
    """Measure all cases, one after the other, so often; one worker stands between any two."""
    events = make(Shape(events=number))
    found: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory(prefix="ach-bench-") as folder:
        async with rig() as bench:
            for _ in range(rounds):
                for case in cases:
                    for each in (ONE, case):
                        cost = await measured(bench, each, events, per, Path(folder))
                        found.setdefault(each.name, []).append(cost)
                        sys.stderr.write(f"{each.name}: {json.dumps(cost._asdict())}\n")
    return found


def table(found: dict[str, list[Cost]]) -> str:
    """Return medians; CPU of workers and database, and of all, as a ratio of one worker's too."""
    middles = {name: Cost(*(median(column) for column in zip(*costs, strict=True))) for name, costs in found.items()}
    base = middles[ONE.name]
    lines = [
        "| case | worker µs | database µs | both, of one | broker µs | all, of one | transactions / 1,000 | events/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines.extend(
        f"| {name} | {cost.worker:.1f} | {cost.database:.1f} | {cost.ours / base.ours:.2f} | {cost.broker:.1f}"
        f" | {cost.total / base.total:.2f} | {cost.commits:.2f} | {cost.rate:,.0f} |"
        for name, cost in middles.items()
    )
    return "\n".join(lines)


def measure(known: Sequence[Case], said: str | None) -> None:
    """Measure what the command line asks for, and print a table."""
    parser = ArgumentParser(description=said)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--per", type=int, default=1, help="events in a message")
    parser.add_argument("--only", help="cases whose name has this text")
    asked = parser.parse_args()
    cases = [case for case in known if asked.only is None or asked.only in case.name]
    print(table(asyncio.run(run(asked.events, asked.rounds, asked.per, cases))))


if __name__ == "__main__":
    measure(CASES, __doc__)
