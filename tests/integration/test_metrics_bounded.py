"""Hostile producers and callers: however many names they make up, an exposition stays as long as it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import anyio
import httpx
import msgspec
import pytest

from tests.integration.engine import event
from tests.integration.ingesting import by_key, connected, ingesting
from tests.integration.metric_tables import samples, shown
from tests.integration.notices import make_stream
from tests.integration.probe_client import get
from tests.integration.serving import by_key as by_reader_key
from tests.integration.serving import connected as api_connected
from tests.integration.serving import serving
from worker.local.process_tree import free_port

if TYPE_CHECKING:
    from tests.integration.engine import Engine
    from worker.settings import Settings

pytestmark = pytest.mark.anyio

NAMES: Final = 10_000
TENANTS: Final = 5
CLOSED: Final = 40
"""Samples of what waits at the servers, which the worker does not know at its first scrape."""
LINE: Final = 150
"""Bytes of a sample, at most: names of metric and label, 64 characters of a tenant, a number."""
REQUESTS: Final = 8


@pytest.mark.operate
async def test_ten_thousand_tenants_types_and_reasons_are_a_bounded_number_of_samples(engine: Engine) -> None:
    port = free_port()
    before, after = "", ""
    async with engine.worker(
        health_port=port, health_host="127.0.0.1", batch_size=5000, metrics_tenants=TENANTS
    ) as stats:
        await engine.publish([b"no event", event(1)])
        await stats.reach("events", 1)
        before = (await get(port, "/metrics"))[1]
        many = [event(1, f"type-{n}", tenant=f"tenant-{n}", user="u") for n in range(NAMES)]
        many += [
            event(1, "a.done", tenant=f't\n{{}}"{n}', user="u", key=n) for n in range(NAMES // 10)
        ]  # no text: dead
        bodies = [json.dumps(many[at : at + 1000]).encode() for at in range(0, len(many), 1000)]
        await engine.publish(bodies)
        # Each says a reason of its own.
        await engine.publish([b'{"event_id": "%d", "event_type": 1, "why": "%d"}' % (n, n) for n in range(100)])
        await stats.reach("events", NAMES + 1)
        with anyio.fail_after(60):
            while sum(stats.dead.values()) < NAMES // 10 + 101:  # noqa: ASYNC110 - counts of dead letters have no signal
                await anyio.sleep(0.02)
        after = (await get(port, "/metrics"))[1]
    # Four counters of a tenant each, for as many as have a name of their own; reasons and states are closed sets.
    assert samples(after) <= samples(before) + 4 * TENANTS + CLOSED
    assert shown(after).keys() == shown(before).keys()
    assert "type-" not in after
    assert 'ach_type_events_total{type="other"} 10000.0' in after
    assert len(after) < len(before) + (4 * TENANTS + CLOSED) * LINE


def odd_requests(path: str) -> list[httpx.Request]:
    """Return requests that make up names wherever a caller can."""
    base = "http://api"
    return [
        one
        for n in range(REQUESTS)
        for one in (
            httpx.Request(f"BREW{n}", f"{base}{path}"),
            httpx.Request("GET", f"{base}/v1/nowhere-{n}"),
            httpx.Request("POST", f"{base}/v1/webhooks/hook-{n}", json={"n": n}),
            httpx.Request("POST", f"{base}{path}", headers={"Authorization": f"Bearer key-{n}"}, json=[n]),
        )
    ]


async def metrics_after(client: httpx.AsyncClient, port: int, odd: list[httpx.Request]) -> str:
    for one in odd:
        await client.request(one.method, one.url.raw_path.decode(), headers=one.headers, content=one.content)
    return (await get(port, "/metrics"))[1]


async def test_callers_make_up_no_labels_of_ingest(settings: Settings) -> None:
    port = free_port()
    probed = msgspec.structs.replace(settings, health_port=port, health_host="127.0.0.1")
    async with ingesting(probed) as client:
        await connected(client)
        odd = odd_requests("/v1/events")
        await client.post("/v1/events", json=event(1), headers=by_key())
        before = await metrics_after(client, port, odd[:4])
        after = await metrics_after(client, port, odd)
    assert samples(after) == samples(before)


async def test_callers_make_up_no_labels_of_the_read_api(engine: Engine) -> None:
    port = free_port()
    settings = engine.with_settings(health_host="127.0.0.1").settings
    await make_stream(settings)
    path = "/v1/tenants/t1/users/u1/achievements"
    async with serving(settings, health_port=port) as client:
        await api_connected(client)
        odd = odd_requests(path)
        await client.get(path, headers=by_reader_key())
        before = await metrics_after(client, port, odd[:4])
        after = await metrics_after(client, port, odd)
    assert samples(after) == samples(before)
    assert 'ach_serve_requests_total{operation="user_achievements",status="200"} 1.0' in after
    assert not {word for word in ("t1", "u1", "BREW", "nowhere", "hook") if word in after}
