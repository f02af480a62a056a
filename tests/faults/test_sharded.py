"""Past one machine: three brokers with replicas, two databases, four workers, tenants divided among them by the broker.

The broker maps the subject of an event to that of a shard, by its tenant; each shard is a stream with a consumer, a
database, and workers of its own. The configuration is that of docs/scale.md.
"""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.databases import fresh_database
from tests.faults.cluster import cluster
from tests.faults.load import RULES, Shape, load
from tests.faults.oracle import announcements, expect_promise, expected, settled
from tests.faults.processes import workers
from tests.faults.producer import producing
from tests.faults.tally import count, tell
from tests.integration.engine import Engine
from worker.admin.results import read_results
from worker.app import wall_clock
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from dsl.outcome import Unlock
    from tests.faults.load import Sent
    from worker.local.servers import Servers

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.timeout(7200)]

SHARDS: Final = 2
MAPPINGS: Final = f"""
mappings {{
  "events.*.*.>": "shard.{{{{partition({SHARDS},1)}}}}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}.>"
  "events.raw": "shard.0.raw"
}}
"""
"""Of nats-server. What is not of the form of an event goes somewhere too, to end among the dead letters."""


def shard_of(tenant: str, shards: int = SHARDS) -> int:
    """Return where the broker sends a tenant's token: FNV-1a of 32 bits, by the number of shards."""
    number = 0x811C9DC5
    for byte in tenant.encode():
        number = (number ^ byte) * 0x01000193 % 2**32
    return number % shards


def shard_of_message(one: Sent) -> int:
    parts = one.subject.split(".")
    return shard_of(parts[1]) if len(parts) > 2 else 0


@asynccontextmanager
async def databases(servers: Servers) -> AsyncGenerator[list[str]]:
    """Give a fresh database for each shard."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(fresh_database(servers)) for _ in range(SHARDS)]


async def test_tenants_divided_among_shards(servers: Servers, tmp_path: Path) -> None:
    events = count("SHARDED", quick=4_000, long=100_000)
    sent = load(11, Shape(events=events, users=60, tenants=12))
    async with (
        cluster(tmp_path / "cluster", MAPPINGS) as three,
        databases(servers) as urls,
        workers(tmp_path / "workers") as started,
    ):
        shards = [
            Engine(
                Settings(
                    nats_url=three.url,
                    database_url=url,
                    input_stream=f"EVENTS_{number}",
                    input_prefix=f"shard.{number}",
                    batch_size=100,
                    writer_events=1,
                    ack_wait=5,
                )
            )
            for number, url in enumerate(urls)
        ]
        for shard in shards:
            await three.ready(shard.settings)
            await shard.apply(RULES)
        async with producing(three.url, sent) as producer:
            pairs = [[await started.start(shard.settings) for _ in range(2)] for shard in shards]
            for shard, (first, second) in zip(shards, pairs, strict=True):
                assert await first.until("batch", 3), first.log()
                assert await second.until("ready"), second.log()
                await first.end(signal.SIGKILL)
                await started.start(shard.settings)
        for shard in shards:
            await settled(shard.settings)
        for number, shard in enumerate(shards):
            mine = [one for one in producer.published if shard_of_message(one.sent) == number]
            tenants = {one.sent.event.tenant for one in mine if one.sent.event}
            assert len(tenants) > 2
            await expect_promise(shard.settings, mine, RULES, tenants=tenants)
        unlocks = await _expect_one_engine(shards, sent)
    workers_of = f"{SHARDS} streams (R3), {SHARDS} databases, {2 * SHARDS} workers, {SHARDS} of them killed"
    tell("tenants divided among shards", f"{len(sent):,} messages, {workers_of}; {unlocks:,} unlocks")


async def _expect_one_engine(shards: list[Engine], sent: list[Sent]) -> int:
    """Compare all shards together with the fold of all events; return how many unlocks there are."""
    found: list[Unlock] = []
    wanted: set[Unlock] = set()
    events = {(one.event.tenant, one.event.id): one.event for one in sent if one.event}
    for shard in shards:
        async with open_store(shard.settings.database_url) as store:
            deployed = await load_deployed(store, shard.settings)
            clock = wall_clock()
            found += (await read_results(store, deployed, clock=clock)).unlocks
        wanted = set(expected(deployed, events.values(), clock).unlocks)
    assert set(found) == wanted
    assert len(found) == len(wanted)
    # Of both engines on one stream; those that are contested by now are among them.
    said = [one["unlock_id"] for one in await announcements(shards[0].settings) if one["kind"] == "granted"]
    assert len(said) == len(set(said)) >= len(wanted)
    return len(wanted)
