"""Real faults on real servers: killed and frozen workers, cut networks, servers that die, and the oracle at the end.

Quick counts by default; ACH_FAULTS=long, or ACH_FAULTS_<KIND>, makes more of each.
"""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import asyncpg
import pytest

from tests.faults.load import RULES, Sent, Shape, load
from tests.faults.oracle import HEALING_SECONDS, expect_promise, settled
from tests.faults.processes import Child, Workers, workers
from tests.faults.producer import Producer, producing
from tests.faults.proxy import Fate, Proxy, proxy
from tests.faults.small_disk import FULL, fill, small_disk
from tests.faults.tally import count, tell
from tests.integration.engine import Engine
from worker.broker.streams import open_broker
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from worker.local.servers import Servers

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.timeout(7200)]


@pytest.fixture
async def bare(own_servers: Servers) -> Engine:
    """An engine on servers of its own, under the rules of the load."""
    made = Engine(
        Settings(nats_url=own_servers.nats_url, database_url=own_servers.database_url, batch_size=50, writer_events=1)
    )
    made = made.with_settings(ack_wait=1)
    await made.apply(RULES)
    async with open_broker(made.settings):
        pass
    return made


@pytest.fixture
async def started(tmp_path: Path) -> AsyncGenerator[Workers]:
    """A starter of workers."""
    async with workers(tmp_path / "workers") as made:
        yield made


async def _expect(
    engine: Engine, producer: Producer, what: str, times: object, *, seconds: float = HEALING_SECONDS
) -> None:
    """Wait until the engine has healed, and judge."""
    healed = await settled(engine.settings, seconds)
    await expect_promise(engine.settings, producer.published, RULES)
    messages = len(producer.published)
    tell(what, f"{times}; {messages:,} messages, {producer.unsure} never acknowledged; healed within {healed:.1f} s")


# -- workers -----------------------------------------------------------------------------------------------------------


async def test_kill_workers_under_load(bare: Engine, started: Workers) -> None:
    kills, dice = count("KILLS", quick=30, long=1000), Random(1)  # noqa: S311 - reproducible
    # As many and as slowly as makes the load outlast the kills.
    sent = load(1, Shape(events=kills * 40, users=30))
    async with producing(bare.settings.nats_url, sent, pause=0.007) as producer:
        living = [await started.start(bare.settings) for _ in range(2)]
        for number in range(kills):
            child = living[number % 2]
            await _some_moment(child, dice)
            await child.end(signal.SIGKILL)
            living[number % 2] = await started.start(bare.settings)
        for child in living:
            assert await child.until("ready"), child.log()
    await _expect(bare, producer, "workers killed with SIGKILL under load", kills)


async def _some_moment(child: Child, dice: Random) -> None:
    """Let a worker come to some point of its life: before it is ready, in its first batches, or a little later."""
    said, times = dice.choice((("ready", 0), ("ready", 1), ("batch", 1), ("batch", 2), ("announced", 1)))
    with anyio.move_on_after(2):
        await child.until(said, times)
    # Not to wait for anything: a moment of the dice's choice.
    await anyio.sleep(dice.random() * 0.05)


async def test_freeze_workers_beyond_their_ack_wait(bare: Engine, started: Workers) -> None:
    freezes, dice = count("FREEZES", quick=4, long=60), Random(2)  # noqa: S311 - reproducible
    # Slowly enough that one worker keeps up, or what has piled up in the end takes longer than healing may.
    sent = load(2, Shape(events=600 + freezes * 300, users=30))
    async with producing(bare.settings.nats_url, sent, pause=0.007) as producer:
        first, second = [await started.start(bare.settings) for _ in range(2)]
        for _ in range(freezes):
            assert await first.until("ready"), first.log()
            await anyio.sleep(dice.random() * 0.1)
            first.send(signal.SIGSTOP)
            # Past its ack wait (1 s) and what it held in the database; the other one works on meanwhile.
            await anyio.sleep(1.5 + dice.random())
            first.send(signal.SIGCONT)
            first, second = second, first
    await _expect(bare, producer, "workers frozen beyond their ack wait", freezes)


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


async def test_terminate_backends(bare: Engine, started: Workers) -> None:
    storms = count("STORMS", quick=60, long=2000)
    sent = load(3, Shape(events=max(1000, storms * 10), users=30))
    terminated = 0
    connection = await asyncpg.connect(bare.settings.database_url)
    try:
        async with producing(bare.settings.nats_url, sent, pause=0.002) as producer:
            for _ in range(2):
                await started.start(bare.settings)
            for _ in range(storms):
                terminated += await connection.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE application_name = 'ach' AND pid <> pg_backend_pid()"
                )
                await anyio.sleep(0.03)
    finally:
        await connection.close()
    await _expect(bare, producer, "connections of workers terminated by PostgreSQL", f"{terminated} in {storms} storms")


async def test_commits_cut_off(bare: Engine, own_servers: Servers, started: Workers) -> None:
    cuts, dice = count("CUTS", quick=300, long=20_000), Random(4)  # noqa: S311 - reproducible
    fates = {Fate.LOST: 0, Fate.UNKNOWN: 0}
    enough = anyio.Event()

    def fate() -> Fate:
        if sum(fates.values()) >= cuts:
            enough.set()
            return Fate.PASS
        chosen = dice.choice((Fate.PASS, Fate.PASS, Fate.PASS, Fate.LOST, Fate.UNKNOWN, Fate.UNKNOWN))
        if chosen in fates:
            fates[chosen] += 1
        return chosen

    async with _before_postgres(own_servers) as (net, url), producing(bare.settings.nats_url, _flood(cuts)) as producer:
        net.fate = fate
        through = bare.with_settings(database_url=url, batch_size=5)
        # Each waits a while after a failure; several together do not.
        for _ in range(4):
            await started.start(through.settings)
        with anyio.fail_after(3600):
            await enough.wait()
        net.heal()
        await producer.done.wait()
        # Batches of five were for many commits; what has piled up behind them is no part of what is tested.
        await started.start(bare.with_settings(batch_size=500).settings)
        await _expect(
            bare,
            producer,
            "commits cut off",
            f"{fates[Fate.UNKNOWN]:,} whose answer was swallowed, {fates[Fate.LOST]:,} never received",
            seconds=HEALING_SECONDS + cuts / 50,
        )


def _flood(cuts: int) -> list[Sent]:
    return load(4, Shape(events=max(1000, cuts * 4), users=40))


@asynccontextmanager
async def _before_postgres(servers: Servers) -> AsyncGenerator[tuple[Proxy, str]]:
    parts = urlsplit(servers.database_tcp_url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with proxy(parts.hostname, parts.port) as net:
        yield net, servers.database_tcp_url.replace(f":{parts.port}/", f":{net.port}/")


async def test_postgres_stops_at_once_and_comes_back(bare: Engine, own_servers: Servers, started: Workers) -> None:
    stops = count("STOPS", quick=6, long=100)
    async with producing(bare.settings.nats_url, load(5, Shape(events=800 + stops * 400)), pause=0.003) as producer:
        child = await started.start(bare.settings)
        for number in range(stops):
            await child.until("batch", 3 * number + 1)
            await own_servers.kill_postgres(signal.SIGQUIT if number % 2 else signal.SIGKILL)
            await own_servers.start_postgres()
    await _expect(bare, producer, "PostgreSQL killed or shut down at once", stops)


async def test_the_disk_of_the_ledger_is_full(own_servers: Servers, started: Workers) -> None:
    times = count("DISK", quick=2, long=20)
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    async with small_disk(own_servers) as (disk, url):
        engine = Engine(Settings(nats_url=own_servers.nats_url, database_url=url, batch_size=50, writer_events=1))
        engine = engine.with_settings(ack_wait=1)
        await engine.apply(RULES)
        async with producing(engine.settings.nats_url, load(10, Shape(events=2000 * times)), pause=0.002) as producer:
            child = await started.start(engine.settings)
            for number in range(1, times + 1):
                assert await child.until("batch", 3 * number), child.log()
                before = child.log_text().count(FULL)
                ballast = fill(disk)
                with anyio.fail_after(60):
                    # Retries are only in the log.
                    while child.log_text().count(FULL) <= before:  # noqa: ASYNC110
                        await anyio.sleep(0.05)
                ballast.unlink()
        await _expect(engine, producer, "disk of the ledger filled up", times)


# -- NATS --------------------------------------------------------------------------------------------------------------


async def test_nats_is_killed_and_comes_back(bare: Engine, own_servers: Servers, started: Workers) -> None:
    kills = count("NATS", quick=6, long=100)
    async with producing(bare.settings.nats_url, load(6, Shape(events=800 + kills * 400)), pause=0.003) as producer:
        child = await started.start(bare.settings)
        for number in range(kills):
            await child.until("batch", 3 * number + 1)
            await own_servers.kill_nats()
            await own_servers.start_nats()
    await _expect(bare, producer, "nats-server killed with SIGKILL", kills)


async def test_bad_networks(bare: Engine, own_servers: Servers, started: Workers) -> None:
    """Slow, cut, and half-open connections to both servers, by the dice."""
    rounds, dice = count("NETWORKS", quick=8, long=200), Random(7)  # noqa: S311 - reproducible
    nats_port = urlsplit(own_servers.nats_url).port
    assert nats_port is not None
    async with (
        _before_postgres(own_servers) as (first, url),
        proxy("127.0.0.1", nats_port) as second,
        producing(bare.settings.nats_url, load(7, Shape(events=1000 + rounds * 150)), pause=0.004) as producer,
    ):
        through = bare.with_settings(database_url=url, nats_url=f"nats://127.0.0.1:{second.port}")
        for _ in range(2):
            child = await started.start(through.settings)
            assert await child.until("ready"), child.log()
        for number in range(rounds):
            net = (first, second)[number % 2]
            _spoil(net, dice)
            await anyio.sleep(0.3 + dice.random() * 0.7)
            net.heal()
        await producer.done.wait()
        await _expect(
            bare, producer, "networks spoilt", f"{rounds} rounds, {first.cuts + second.cuts} connections reset"
        )


def _spoil(net: Proxy, dice: Random) -> None:
    match dice.randrange(5):
        case 0:
            net.cut()
        case 1:
            net.silence()
        case 2:
            net.part()
        case 3:
            net.delay = 0.1
        case _:
            net.budget = lambda: dice.randint(1, 20_000)
            net.cut()


async def test_clocks_of_producers_are_wrong(bare: Engine, started: Workers) -> None:
    """Each user's clock is off by up to two days, and the engine takes what the events say."""
    sent = load(8, Shape(events=1500, skew=2 * 86_400_000_000))
    async with producing(bare.settings.nats_url, sent) as producer:
        for _ in range(2):
            await started.start(bare.settings)
    await _expect(bare, producer, "producers with clocks wrong by up to two days", 12)
