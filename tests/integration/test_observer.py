"""What a worker shows of what waits at the servers, and of a broker that forbids it to announce."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import anyio
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families  # pyright: ignore[reportUnknownVariableType]

from tests.integration.brokers import configured
from tests.integration.engine import PATIENCE, Engine, event
from tests.integration.probe_client import get
from worker.app import wall_clock
from worker.broker.streams import open_broker
from worker.engine.stats import Stats
from worker.pipeline.observer import HISTORY_DAYS, Observer
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_what_waits_at_the_servers(engine: Engine) -> None:
    await engine.publish([event(n) for n in range(3)] + [b"no event"])
    stats = Stats()
    observed = stats.observed
    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        observer = Observer(store, broker, stats, rules=lambda: None, now=wall_clock)
        await observer.look()
        assert observed.backlog is not None
        assert observed.backlog.pending == 4
        assert 0 <= wall_clock() - (observed.backlog.oldest_at or 0) < PATIENCE * 1_000_000
        assert observed.outbox == (0, None, 0, None)
        await engine.drain()
        await engine.backfill()
        await engine.rows("UPDATE unlock SET published_at = NULL")
        again = Observer(store, broker, stats, rules=lambda: None, now=wall_clock)  # as after a restart
        for _ in range(HISTORY_DAYS):
            assert not observed.whole
            await again.look()
    assert observed.whole
    assert observed.backlog is not None
    assert observed.backlog.pending + observed.backlog.unacknowledged == 0
    assert observed.outbox is not None
    assert observed.outbox.unlocks == 2
    assert observed.outbox.oldest_at is not None
    assert observed.building == {}
    assert observed.letters is not None
    assert {reason: number for reason, number in observed.letters.items() if number} == {"malformed_json": 1}
    assert observed.grants.grants.keys() == {"three", "clean"}
    assert observed.workers is not None
    assert observed.workers["ended"] >= 1


async def test_a_broker_that_forbids_to_announce_shows_in_readiness_and_metrics(
    database_url: str, tmp_path: Path, free_tcp_port: int
) -> None:
    denied = 'permissions: {publish: {allow: ">", deny: "unlocks.>"}}'
    users = "authorization {{ users: [{{user: ach, password: p, {more}}}] }}"
    async with configured(tmp_path / "nats", users.format(more=denied)) as server:
        engine = Engine(Settings(nats_url=server.url("ach:p"), database_url=database_url, batch_size=100))
        await engine.apply()
        async with engine.worker(health_port=free_tcp_port, health_host="127.0.0.1") as stats:
            assert (await get(free_tcp_port, "/readyz"))[0] == 200
            await engine.publish([event(n) for n in range(3)])
            with anyio.fail_after(PATIENCE):
                while (await get(free_tcp_port, "/readyz"))[0] == 200:  # noqa: ASYNC110 - a probe is polled
                    await anyio.sleep(0.02)
            said = (await get(free_tcp_port, "/readyz"))[1]
            assert said == "waiting for nats (it forbids publishing to unlocks.>)\n"
            assert re.search(r"^ach_announcing_denied 1\.0$", (await get(free_tcp_port, "/metrics"))[1], re.MULTILINE)
            await server.reload(users.format(more='permissions: {publish: ">"}'))
            await stats.reach("announced", 2)
            assert await get(free_tcp_port, "/readyz") == (200, "ready\n")


async def test_a_scrape_may_ask_for_openmetrics(engine: Engine, free_tcp_port: int) -> None:
    async with engine.worker(health_port=free_tcp_port, health_host="127.0.0.1"):
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\naccept: application/openmetrics-text; version=1.0.0\r\n\r\n"
        status, text = await get(free_tcp_port, "", request)
    assert status == 200
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"ach_events", "ach_unlock_latency_seconds", "ach_tenant_events", "ach_build_info"} <= names
