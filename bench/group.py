"""`just group-bench`: what an event costs with several workers: in a group, on one consumer, on lanes of their own.

CPU is compared, not time: the machine may be shared. All workers are started, and frozen while the events are
published; then they work off what waits. One worker by itself is measured in turn with each of the other cases.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.events import Shape, make, messages
from bench.processes import Peer, cpu_seconds
from bench.publish import publish_all
from bench.rig import rig
from worker.broker.group_store import GroupStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.events import Event
    from bench.rig import Arena, Rig
    from worker.settings import Settings

ACH: Final = str(Path(sys.executable).with_name("ach"))
GROUP: Final = "bench"
LOOK_SECONDS: Final = 0.05
PATIENCE: Final = 600.0


class Case(NamedTuple):
    """So many workers, and how they share the stream."""

    name: str
    workers: int
    group: bool = False
    lanes: int = 1


ONE: Final = Case("one worker", 1)
CASES: Final = (
    Case("a group of 1", 1, group=True),
    Case("a group of 2", 2, group=True),
    Case("a group of 4", 4, group=True),
    Case("2 lanes", 2, lanes=2),
    Case("4 lanes", 4, lanes=4),
    Case("2 on one consumer", 2),
    Case("4 on one consumer", 4),
)


class Cost(NamedTuple):
    """CPU, microseconds an event."""

    worker: float
    database: float
    broker: float

    @property
    def total(self) -> float:
        """Of everything."""
        return sum(self)


async def measured(bench: Rig, case: Case, events: Sequence[Event], per: int, folder: Path) -> Cost:
    """Return what an event costs."""
    async with bench.arena(case.lanes) as arena:
        await arena.deploy()
        peers = [Peer((ACH, "run"), each, folder / "worker.log") for each in _environments(arena, case)]
        try:
            await _ready(arena, case, peers)
            # What is published meanwhile waits, so that the workers begin as one.
            _signal(peers, signal.SIGSTOP)
            before = arena.cpu()
            await publish_all(arena, messages(events, per, case.lanes))
            workers = _cpu(peers)
            _signal(peers, signal.SIGCONT)
            await _until(arena, case, peers, 0)
            last, million = arena.cpu(), len(events) / 1e6
            return Cost(
                (_cpu(peers) - workers) / million,
                (last.database - before.database) / million,
                (last.broker - before.broker) / million,
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
    """Return medians, and each as a ratio of one worker's."""
    base = median([cost.worker for cost in found[ONE.name]]), median([cost.total for cost in found[ONE.name]])
    lines = [
        "| workers | worker µs | of one | database µs | broker µs | all µs | of one |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, costs in found.items():
        worker, total = median([cost.worker for cost in costs]), median([cost.total for cost in costs])
        database, broker = median([cost.database for cost in costs]), median([cost.broker for cost in costs])
        lines.append(
            f"| {name} | {worker:.1f} | {worker / base[0]:.2f} | {database:.1f} | {broker:.1f} | {total:.1f}"
            f" | {total / base[1]:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print a table."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--per", type=int, default=1, help="events in a message")
    parser.add_argument("--only", help="cases whose name has this text")
    asked = parser.parse_args()
    cases = [case for case in CASES if asked.only is None or asked.only in case.name]
    print(table(asyncio.run(run(asked.events, asked.rounds, asked.per, cases))))


if __name__ == "__main__":
    main()
