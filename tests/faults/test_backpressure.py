"""More than a worker can take: bursts, a slow database, a tenant that floods. Memory, redeliveries, rates, latencies.

Quick sizes by default; ACH_FAULTS=long, or ACH_FAULTS_BURST, makes them larger. They compare times: run them alone.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import anyio
import nats
import pytest

from tests.faults.processes import Child, Workers, workers
from tests.faults.proxy import proxy
from tests.faults.tally import count, tell
from tests.integration.engine import Engine, event
from worker.broker.publish import Outgoing
from worker.broker.streams import open_broker
from worker.contract.partition import event_subject
from worker.local.sandbox import publish
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from worker.local.servers import Servers

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.timeout(7200)]

RULES: Final = """
event a.done { key: string? }
event probe.done {}

achievement three { title "Three" when count(event=a.done, >= 3) }
achievement kinds { title "Kinds" when count(event=a.done, distinct=key, >= 5) }
achievement row { title "Row" when streak(event=a.done, per=day, >= 3) }
achievement first { title "First" when count(event=probe.done, >= 1) }
"""
USERS: Final = 500
TENANT: Final = "flood"
FLAT: Final = 24.0
"""MiB by which a burst may raise what a worker has at the most: what one batch may be larger than another."""
LOOK_SECONDS: Final = 0.02


@pytest.fixture
async def started(tmp_path: Path) -> AsyncGenerator[Workers]:
    """A starter of workers."""
    async with workers(tmp_path / "workers") as made:
        yield made


@asynccontextmanager
async def connected(settings: Settings) -> AsyncGenerator[Client]:
    client = await nats.connect(settings.nats_url)
    try:
        yield client
    finally:
        await client.close()


def events(settings: Settings, begin: int, number: int, tenant: str = TENANT) -> Iterator[Outgoing]:
    """Yield messages of events, each user's an hour apart; never all of them at once."""
    for at in range(begin, begin + number):
        one = event(at // USERS * 60, user=f"u{at % USERS}", tenant=tenant, id=f"e{at:08d}", key=f"k{at % 7}")
        subject = event_subject(settings.input_prefix, tenant, one["user_id"], one["event_type"])
        yield Outgoing(subject, json.dumps(one).encode())


async def send(settings: Settings, messages: Iterable[Outgoing]) -> None:
    await publish(settings, messages, lambda done: None)


class Lag(NamedTuple):
    """What the broker says of a consumer, in messages."""

    left: int
    redelivered: int


async def lag(client: Client, settings: Settings) -> Lag:
    info = await client.jetstream().consumer_info(settings.input_stream, settings.consumer)
    return Lag((info.num_pending or 0) + (info.num_ack_pending or 0), info.num_redelivered or 0)


class Drained(NamedTuple):
    """How a backlog was worked off."""

    rate: float
    """Messages per second, once a tenth was done."""
    redelivered: int
    """The most messages that were under way a second time."""
    peak: float
    """MiB that the process has had at the most."""


async def drained(client: Client, settings: Settings, child: Child, total: int) -> Drained:
    """Wait until a worker has worked off what waits."""
    began, done, redelivered = perf_counter(), 0, 0
    while True:
        now = await lag(client, settings)
        redelivered = max(redelivered, now.redelivered)
        if not now.left:
            break
        if now.left > 0.9 * total:
            began, done = perf_counter(), total - now.left
        assert child.code is None, child.log()
        await anyio.sleep(LOOK_SECONDS)
    return Drained((total - done) / (perf_counter() - began), redelivered, peak(child))


def peak(child: Child) -> float:
    """Return the most memory that a process has had, in MiB."""
    status = Path(f"/proc/{child.pid}/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


@asynccontextmanager
async def engine_on(servers: Servers, **changes: object) -> AsyncGenerator[Engine]:
    made = Engine(Settings(nats_url=servers.nats_url, database_url=servers.database_url)).with_settings(**changes)
    await made.apply(RULES)
    # Otherwise a worker builds them some seconds after its start, beside its batches, and holds a chunk of events.
    await made.backfill()
    async with open_broker(made.settings):
        pass
    yield made


async def ledger(engine: Engine) -> int:
    (row,) = await engine.rows("SELECT count(*) AS n FROM event")
    return row["n"]


# -- bursts ------------------------------------------------------------------------------------------------------------


async def test_a_burst(own_servers: Servers, started: Workers) -> None:
    """What waits at the broker costs the worker nothing: neither memory, nor speed, nor a second delivery."""
    burst = count("BURST", quick=600_000, long=1_000_000)
    # Long enough that its first tenth, which does not count, is about as much as is read ahead of what is committed.
    small = max(200_000, burst // 5)
    runs: dict[int, Drained] = {}
    async with engine_on(own_servers) as engine, connected(engine.settings) as client:
        begin = 0
        for total in (small, burst):
            await send(engine.settings, events(engine.settings, begin, total))
            begin += total
            child = await started.start(engine.settings)
            with anyio.fail_after(3600):
                runs[total] = await drained(client, engine.settings, child, total)
            await child.end()
        assert await ledger(engine) == small + burst
    steady, all_at_once = runs[small], runs[burst]
    rates = f"{all_at_once.rate:,.0f} a second, {steady.rate:,.0f} of {small:,}"
    memory = f"{all_at_once.peak:.0f} MiB at the most, {steady.peak:.0f} of {small:,}"
    tell("a burst of events", f"{burst:,}; {rates}; {memory}; {all_at_once.redelivered} delivered again")
    assert all_at_once.redelivered == 0
    assert all_at_once.peak < steady.peak + FLAT
    assert all_at_once.rate > 0.7 * steady.rate


# -- a slow database ---------------------------------------------------------------------------------------------------


async def test_a_slow_database(own_servers: Servers, started: Workers) -> None:
    """The worker waits, and so do the messages: at the broker, and none is delivered twice for it.

    A batch takes longer than the ack wait here: the broker hears of it meanwhile.
    """
    # As in a burst: some batches, and the first tenth of them does not count.
    number = count("SLOW", quick=50_000, long=200_000)
    parts = urlsplit(own_servers.database_tcp_url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with (
        proxy(parts.hostname, parts.port) as net,
        engine_on(own_servers, ack_wait=2) as engine,
        connected(engine.settings) as client,
    ):
        url = own_servers.database_tcp_url.replace(f":{parts.port}/", f":{net.port}/")
        settings = engine.with_settings(database_url=url).settings
        await send(settings, events(settings, 0, number))
        child = await started.start(settings)
        before = await drained(client, settings, child, number)
        net.delay = DELAY  # before anything is sent: the worker may be as fast as who sends
        await send(settings, events(settings, number, MORE * number))
        slow = await _slowed(client, settings, child)
        net.heal()
        # What the broker holds is more than the worker could finish meanwhile.
        left = await lag(client, settings)
        assert left.left > number // 10
        after = await drained(client, settings, child, left.left)
        assert await ledger(engine) == (1 + MORE) * number
    tell(
        "a database that answers slowly",
        f"{MORE * number:,} events, {DELAY * 1000:.0f} ms each way: {slow:,.0f} a second meanwhile;"
        f" {after.rate:,.0f} behind it, {before.rate:,.0f} before; {after.peak:.0f} MiB at the most,"
        f" {before.peak:.0f} before; {after.redelivered} delivered again",
    )
    assert after.redelivered == 0
    assert after.peak < before.peak + FLAT
    assert after.rate > 0.6 * before.rate


MORE: Final = 3
"""Times the events of the first run: more than a worker gets done behind a slow database."""
DELAY: Final = 1.2
SLOW_SECONDS: Final = 8.0


async def _slowed(client: Client, settings: Settings, child: Child) -> float:
    """Watch the worker behind a slow database for a while; return events per second."""
    first = now = await lag(client, settings)
    began = perf_counter()
    while perf_counter() - began < SLOW_SECONDS:
        now = await lag(client, settings)
        assert now.redelivered == 0
        assert child.code is None, child.log()
        await anyio.sleep(0.2)
    return (first.left - now.left) / (perf_counter() - began)


# -- a tenant that floods ----------------------------------------------------------------------------------------------


class Latencies(NamedTuple):
    """From publish to unlock, in milliseconds."""

    median: float
    p90: float


async def test_a_tenant_that_floods(own_servers: Servers, started: Workers) -> None:
    """A stream is served in its order: who must not wait behind a tenant has a stream and a worker of their own."""
    probes = count("PROBES", quick=100, long=2_000)
    async with engine_on(own_servers) as engine, connected(engine.settings) as client:
        # A writer holds rows of the fence until the end of the transaction: small batches hold them briefly.
        flooded, others = (
            engine.with_settings(input_stream=f"EVENTS_{name}", input_prefix=f"lane.{name}", batch_size=size).settings
            for name, size in (("flooded", 50), ("others", 500))
        )
        for lane in (flooded, others):
            child = await started.start(lane)
            assert await child.until("ready"), child.log()
        await probed(client, others, "warm", 10)
        async with beside(_murmur, client, flooded):
            calm = await probed(client, others, "calm", probes)
        async with beside(_flood, client, flooded):
            with anyio.fail_after(60):
                while (await lag(client, flooded)).left < DEEP:  # noqa: ASYNC110 - the broker has to be asked
                    await anyio.sleep(LOOK_SECONDS)
            apart = await probed(client, others, "apart", probes)
            behind = await probed(client, flooded, "behind", 3)
    tell(
        "a tenant that floods",
        f"over {DEEP:,} events always wait; others wait {apart.median:.0f} ms for an unlock (90 %: {apart.p90:.0f}) on"
        f" a stream and a worker of their own, {calm.median:.0f} (90 %: {calm.p90:.0f}) without the flood;"
        f" {behind.median:,.0f} on its stream",
    )
    assert apart.median < 2 * calm.median + NOISE
    assert apart.p90 < 2 * calm.p90 + 10 * NOISE
    assert behind.median > apart.median


NOISE: Final = 15.0
"""Milliseconds that two cores, shared with both servers, may add."""


DEEP: Final = 10_000
"""Messages of the flood that wait at any time."""


@asynccontextmanager
async def beside(
    work: Callable[[Client, Settings], Coroutine[None, None, None]], client: Client, settings: Settings
) -> AsyncGenerator[None]:
    """Do something for as long as a block takes."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work, client, settings)
        yield
        tasks.cancel_scope.cancel()


async def _murmur(client: Client, settings: Settings) -> None:
    """Send what a worker can take: 4,000 events a second at the most."""
    for at in range(10**6, 2 * 10**6, 40):
        for one in events(settings, at, 40):
            await client.publish(one.subject, one.body)
        await anyio.sleep(0.01)


async def _flood(client: Client, settings: Settings) -> None:
    """Send more than a worker can take."""
    for at in range(2 * 10**6, 10**8, DEEP):
        await send(settings, events(settings, at, DEEP))
        while (await lag(client, settings)).left > 2 * DEEP:  # noqa: ASYNC110 - the broker has to be asked
            await anyio.sleep(LOOK_SECONDS)


async def probed(client: Client, settings: Settings, name: str, number: int) -> Latencies:
    """Publish events one by one that each grant something; return how long the announcements took."""
    waits: list[float] = []
    heard: dict[str, anyio.Event] = {}

    async def on_unlock(msg: Msg) -> None:
        said = json.loads(msg.data)
        if said["subject"] in heard:
            heard[said["subject"]].set()

    subscription = await client.subscribe(f"{settings.unlock_prefix}.>", cb=on_unlock)
    try:
        for at in range(number):
            user = f"{name}-{at}"
            one = event(at, "probe.done", user=user, tenant=f"other{at % 10}")
            seen = heard[user] = anyio.Event()
            began = perf_counter()
            await client.publish(
                event_subject(settings.input_prefix, one["tenant_id"], user, "probe.done"), json.dumps(one).encode()
            )
            with anyio.fail_after(600):
                await seen.wait()
            waits.append(1000 * (perf_counter() - began))
            await anyio.sleep(0.01)
    finally:
        await subscription.unsubscribe()
    return Latencies(median(waits), quantiles(waits, n=10)[-1])
