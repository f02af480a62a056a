"""Soak: mixed traffic and faults without end; in the end everything is there, and nothing has piled up in the worker.

`ACH_SOAK` is for how many seconds; `just soak` takes ten minutes.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from statistics import linear_regression
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import asyncpg
import msgspec
import pytest

from tests.faults.load import RULES, Sent, Shape, load
from tests.faults.oracle import all_acknowledged, expect_promise, settled
from tests.faults.tally import tell
from worker.app import run
from worker.broker.publish import Outgoing
from worker.broker.streams import BrokerAwayError
from worker.local.sandbox import publish

if TYPE_CHECKING:
    from tests.integration.engine import Engine
    from worker.local.servers import Servers
    from worker.settings import Settings

SECONDS: Final = int(os.environ.get("ACH_SOAK", "60"))
pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.soak, pytest.mark.timeout(3 * SECONDS + 300)]

LONG: Final = 600
"""Seconds from which a soak is a long one."""
RATE: Final = 150
"""Events a second."""
WORKERS: Final = 2
PAUSE: Final = 1.5
"""Seconds between two faults on the average."""
WARM: Final = 0.4
"""Of the time, until pools and caches are as large as they get."""
MEGABYTE: Final = 1 << 20


class Sample(NamedTuple):
    """How large the process is at a moment."""

    at: float
    rss: int
    files: int
    tasks: int


def sample() -> Sample:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    return Sample(anyio.current_time(), pages * os.sysconf("SC_PAGE_SIZE"), files, len(asyncio.all_tasks()))


class Fleet:
    """Workers that are stopped, killed and started again."""

    def __init__(self, settings: Settings, tasks: anyio.abc.TaskGroup) -> None:
        self._settings = settings
        self._tasks = tasks
        self._stops: list[tuple[anyio.Event, anyio.CancelScope, anyio.Event]] = []

    def start(self) -> None:
        stop, scope, gone = anyio.Event(), anyio.CancelScope(), anyio.Event()
        self._stops.append((stop, scope, gone))

        async def work() -> None:
            try:
                with scope:
                    await run(self._settings, stop=stop)
            finally:
                gone.set()

        self._tasks.start_soon(work)

    async def restart(self, *, kill: bool) -> None:
        stop, scope, gone = self._stops.pop(0)
        if kill:
            scope.cancel()
        else:
            stop.set()
        self.start()
        await gone.wait()

    async def stop(self) -> None:
        for stop, _, _ in self._stops:
            stop.set()
        for _, _, gone in self._stops:
            await gone.wait()


async def cut_connections(settings: Settings) -> None:
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ach'"
    with suppress(asyncpg.PostgresError, OSError):
        connection = await asyncpg.connect(settings.database_url)
        await connection.execute(query)
        await connection.close()


async def connections(settings: Settings) -> int:
    connection = await asyncpg.connect(settings.database_url)
    try:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ach'"
        return await connection.fetchval(query) or 0
    finally:
        await connection.close()


async def send(settings: Settings, sent: list[Sent]) -> None:
    """Publish in steps of a second; a step that a dying broker interrupts is sent again."""
    for at in range(0, len(sent), RATE):
        step = [Outgoing(one.subject, one.body) for one in sent[at : at + RATE]]
        began = anyio.current_time()
        while True:
            try:
                await publish(settings, step, lambda done: None)
                break
            except BrokerAwayError:
                continue
        await anyio.sleep(max(0.0, began + 1 - anyio.current_time()))


async def hurt(dice: Random, fleet: Fleet, servers: Servers, settings: Settings, done: Counter[str]) -> None:
    """Do harm until cancelled; what was begun is ended, and every killed process is started again."""
    while True:
        await anyio.sleep(dice.random() * 2 * PAUSE)
        with anyio.CancelScope(shield=True):
            done[await _hurt_once(dice.randrange(10), fleet, servers, settings)] += 1


async def _hurt_once(number: int, fleet: Fleet, servers: Servers, settings: Settings) -> str:
    match number:
        case 0:
            await servers.kill_nats()
            await servers.start_nats()
            return "nats-server killed"
        case 1:
            await servers.kill_postgres()
            await servers.start_postgres()
            return "PostgreSQL killed"
        case 2 | 3 | 4:
            await cut_connections(settings)
            return "connections terminated"
        case 5 | 6:
            await fleet.restart(kill=True)
            return "workers cancelled"
        case _:
            await fleet.restart(kill=False)
            return "workers restarted"


async def look(samples: list[Sample]) -> None:
    while True:
        samples.append(sample())
        await anyio.sleep(max(0.5, SECONDS / 120))


async def test_soak(own_engine: Engine, own_servers: Servers) -> None:
    await own_engine.apply(RULES)
    settings = msgspec.structs.replace(own_engine.settings, ack_wait=3, duplicate_window=1)
    # Made beforehand, so that only what the workers hold can grow.
    sent = load(7, Shape(RATE * SECONDS * 3 // 4, users=200, tenants=5, step=30_000_000))
    dice, samples, before = Random(7), list[Sample](), sample()  # noqa: S311 - no secret
    done = Counter[str]()
    async with anyio.create_task_group() as tasks:
        fleet = Fleet(settings, tasks)
        for _ in range(WORKERS):
            fleet.start()
        async with anyio.create_task_group() as harm:
            harm.start_soon(hurt, dice, fleet, own_servers, settings, done)
            harm.start_soon(look, samples)
            await send(settings, sent)
            harm.cancel_scope.cancel()
        await settled(settings, 60)
        await fleet.stop()
    await expect_promise(settings, all_acknowledged(sent), RULES)
    grown = expect_flat(samples)
    await expect_nothing_left(settings, before)
    tell(
        "soak",
        f"{SECONDS} s, {len(sent):,} messages; {', '.join(f'{what} {times}' for what, times in sorted(done.items()))};"
        f" memory {grown:+.1f} MiB once it was warm; no connection, task or file left",
        form="long" if SECONDS >= LONG else "quick",
    )


def expect_flat(samples: list[Sample]) -> float:
    """Memory must not grow once everything is warm; nor may files and tasks pile up with every restart.

    Return by how many MiB it has grown all the same, by the slope of all samples.
    """
    warm = samples[int(len(samples) * WARM) :]
    slope = linear_regression([one.at for one in warm], [one.rss / MEGABYTE for one in warm]).slope
    grown = slope * (warm[-1].at - warm[0].at)
    assert grown < 16 + 0.02 * SECONDS, f"{grown:.1f} MiB more, from {warm[0].rss / MEGABYTE:.0f} MiB"
    half = len(warm) // 2
    for name in ("files", "tasks"):
        early, late = (max(getattr(one, name) for one in part) for part in (warm[:half], warm[half:]))
        assert late <= early + 12, f"{name}: at most {early} and then {late}"
    return grown


async def expect_nothing_left(settings: Settings, before: Sample) -> None:
    with anyio.fail_after(30):
        # A server notices a closed connection when it next looks.
        while await connections(settings):  # noqa: ASYNC110
            await anyio.sleep(0.1)
    after = sample()
    assert after.tasks <= before.tasks, [task.get_name() for task in asyncio.all_tasks()]
    assert after.files <= before.files + 2
