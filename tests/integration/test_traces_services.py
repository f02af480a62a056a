"""Spans of the services around the worker: one trace from a request to the delivery, on real servers."""

from __future__ import annotations

import json
import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import nats
import pytest
from structlog.testing import capture_logs

from tests.integration.collectors import Collector, attributes_of, collector, ids_of, parent
from tests.integration.engine import event
from tests.integration.ingesting import by_key, connected, ingesting
from tests.integration.notices import claimed, endpoint, endpoints, make_stream, message_of, notifier, until_state
from tests.integration.serving import by_key as by_reader_key
from tests.integration.serving import serving
from tests.worker.notify.receiver import receiver, respond
from worker.traces.choice import INGEST, NOTIFY, SERVE, WORKER, open_spans

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from tests.integration.engine import Engine
    from worker.settings import Settings
    from worker.traces.spans import Spans

pytestmark = pytest.mark.anyio

ACHIEVEMENTS = "/v1/tenants/{tenant}/users/{user}/achievements"


@asynccontextmanager
async def exporting(
    settings: Settings, found: Collector, monkeypatch: pytest.MonkeyPatch, *services: str
) -> AsyncGenerator[list[Spans]]:
    """Give the spans of services, as their commands make them; behind the block, the collector has all."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_spans(os.environ, settings, one)) for one in services]


def place(span: Span) -> tuple[str, str]:
    return span.trace_id.hex(), span.span_id.hex()


def above(span: Span) -> tuple[str, str]:
    return span.trace_id.hex(), span.parent_span_id.hex()


def links(span: Span) -> list[tuple[str, str]]:
    return [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]


async def test_one_trace_goes_from_a_request_to_the_delivery(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = engine.settings
    events, unlocks = settings.input_stream, settings.unlock_stream
    with collector() as found:
        async with (
            exporting(settings, found, monkeypatch, WORKER, INGEST, NOTIFY) as (worker, ingest, notify),
            engine.worker(None, worker),
            receiver() as there,
            notifier(settings, endpoints(tmp_path, endpoint(there.port)), notify),
            ingesting(settings, spans=ingest) as client,
        ):
            await connected(client)
            for user, said in (("ann", parent(7)), ("quiet", parent(9, "00"))):
                body = [event(number, user=user) for number in (1, 2, 3)]
                headers = {**by_key(), "traceparent": said, "tracestate": "vendor=1"}
                assert (await client.post("/v1/events", json=body, headers=headers)).status_code == 202
            requests = await there.until(4)
    services = found.of_services()
    (asked,) = [one for one in services["ach-ingest"] if one.kind == one.SPAN_KIND_SERVER]
    (sent,) = [one for one in services["ach-ingest"] if one.kind == one.SPAN_KIND_PRODUCER]
    assert (asked.name, above(asked)) == ("POST /v1/events", ids_of(parent(7)))
    assert attributes_of(asked) == {
        "http.request.method": "POST",
        "http.route": "/v1/events",
        "http.response.status_code": 202,
    }
    assert (sent.name, above(sent)) == (f"send {events}", place(asked))
    assert attributes_of(sent)["messaging.batch.message_count"] == 3
    (batch,) = [one for one in services["ach"] if one.name == f"process {events}"]
    assert links(batch) == [place(sent)]
    announced = {place(one): one for one in services["ach"] if one.name == f"send {unlocks}"}
    assert {above(one) for one in announced.values()} == {place(sent)}
    assert len(announced) == 2
    taken = {place(one): one for one in services["ach-notify"] if one.kind == one.SPAN_KIND_CONSUMER}
    assert {one.name for one in taken.values()} == {f"process {unlocks}"}
    assert {above(one) for one in taken.values()} == {*announced}
    assert all(links(one) == [above(one)] for one in taken.values())
    calls = [one for one in services["ach-notify"] if one.kind == one.SPAN_KIND_CLIENT]
    assert {above(one) for one in calls} == {*taken}
    assert len(calls) == 2
    said = {"http.request.method": "POST", "http.response.status_code": 204, "peer.service": "app"}
    assert [attributes_of(one) for one in calls] == [said, said]
    # The receiver can go on with it: below the span of its request, where that is recorded.
    parents = {one.headers["traceparent"] for one in requests}
    recorded = {ids_of(one) for one in parents if one.endswith("-01")}
    assert recorded == {place(one) for one in calls}
    assert {ids_of(one)[0] for one in parents if one.endswith("-00")} == {ids_of(parent(9))[0]}
    assert all("tracestate" not in one.headers for one in requests)
    # One trace is recorded; what its caller does not record is not recorded here.
    assert {one.trace_id.hex() for one in found.spans} == {ids_of(parent(7))[0], batch.trace_id.hex()}
    # Names, payloads and addresses are not for the eyes of a collector.
    text = str([(one.name, attributes_of(one)) for one in found.spans])
    assert not {word for word in ("ann", "quiet", "t1", "a.done", "hooks", "Bearer") if word in text}


async def test_a_request_of_the_read_api_has_one_span(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ACHIEVEMENTS.format(tenant="t1", user="ann")
    with collector() as found, capture_logs() as lines:
        async with (
            exporting(engine.settings, found, monkeypatch, SERVE) as (spans,),
            serving(engine.settings, spans) as client,
        ):
            for number, (method, asked, more) in enumerate(
                (
                    ("GET", path, by_reader_key()),
                    ("HEAD", path, {}),
                    ("GET", "/no/ann", {}),
                    ("BREW", path, {}),
                    ("GET", path, [("traceparent", parent(90)), ("traceparent", parent(91))]),
                    ("GET", path, {}),
                ),
                start=1,
            ):
                said = more if isinstance(more, list) else [*more.items(), ("traceparent", parent(number))]
                await client.request(method, asked, headers=said if number < 6 else {})
    known = {one.trace_id.hex(): one for one in found.spans}
    got = [known[ids_of(parent(number))[0]] for number in (1, 2, 3, 4)]
    assert [one.name for one in got] == [f"GET {ACHIEVEMENTS}", f"HEAD {ACHIEVEMENTS}", "GET", "HTTP"]
    assert len(found.spans) == 4, "a trace that is said twice is none, and none is begun here"
    facts = [attributes_of(one) for one in got]
    assert [one["http.response.status_code"] for one in facts] == [200, 401, 404, 405]
    assert [one["http.request.method"] for one in facts] == ["GET", "HEAD", "GET", "_OTHER"]
    assert "ann" not in str([(one.name, facts) for one in found.spans])
    said = [(one.get("trace_id"), one.get("span_id")) for one in lines if one["event"] == "request"]
    assert said == [*map(place, got), (None, None), (None, None)]


async def test_a_sampler_that_is_chosen_begins_traces(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_on")
    with collector() as found:
        async with (
            exporting(engine.settings, found, monkeypatch, SERVE) as (spans,),
            serving(engine.settings, spans) as client,
        ):
            await client.get("/openapi.json")
            await client.get("/openapi.json", headers={"traceparent": parent(1, "00")})
    assert [(one.name, one.parent_span_id) for one in found.spans] == [("GET /openapi.json", b"")]


async def test_events_with_a_trace_of_their_own_keep_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = {"specversion": "1.0", "source": "/s", "type": "a", "subject": "u", "time": "2026-03-01T00:00:00Z"}
    body = [{**cloud, "id": "own", "traceparent": parent(3)}, {**cloud, "id": "none"}]
    kind = "application/cloudevents-batch+json"
    with collector() as found:
        async with (
            exporting(engine.settings, found, monkeypatch, INGEST) as (spans,),
            engine.worker(),
            ingesting(engine.settings, spans=spans) as client,
        ):
            await connected(client)
            headers = {**by_key(kind=kind), "traceparent": parent(4)}
            answer = await client.post("/v1/events", content=json.dumps(body), headers=headers)
            assert answer.status_code == 202, answer.text
            refused = await client.post("/v1/events", json={}, headers={**by_key(), "traceparent": parent(5)})
            assert refused.status_code == 400
    (sent,) = [one for one in found.spans if one.kind == one.SPAN_KIND_PRODUCER]
    assert links(sent) == [ids_of(parent(3))]
    client = await nats.connect(engine.settings.nats_url)
    try:
        stream = client.jetstream()
        stored = [await stream.get_msg(engine.settings.input_stream, seq) for seq in (1, 2)]
    finally:
        await client.close()
    headers_of: list[dict[str, str]] = [one.headers or {} for one in stored]
    said = [ids_of(one["traceparent"]) for one in headers_of]
    assert said == [ids_of(parent(3)), place(sent)]


async def test_each_attempt_at_a_delivery_has_its_spans(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = engine.settings
    await make_stream(settings)
    statuses = iter([500, 204])

    async def announce(number: int) -> None:
        subject, body = message_of(settings, claimed(number))
        client = await nats.connect(settings.nats_url)
        try:
            await client.jetstream().publish(subject, body, headers={"traceparent": parent(number)})
        finally:
            await client.close()

    with collector() as found:
        quick = 'schedule = ["100ms"]\nachievements = ["a1"]'
        summed = 'digest = { wait = "1s" }\nachievements = ["a2", "a3"]'
        async with (
            exporting(settings, found, monkeypatch, NOTIFY) as (spans,),
            receiver(lambda one: respond(next(statuses)) if "quick" in one.line else respond()) as there,
            notifier(
                settings,
                endpoints(tmp_path, endpoint(there.port, "quick", quick), endpoint(there.port, "summed", summed)),
                spans,
            ) as stats,
        ):
            for number in (1, 2, 3):
                await announce(number)
            await stats.reach("quick", "delivered", 1)
            await until_state(settings, lambda now: not now.waiting and not now.unacknowledged, "summed")
    calls = [attributes_of(one) for one in found.spans if one.kind == one.SPAN_KIND_CLIENT]
    tried = [
        (one.get("http.request.resend_count"), one["http.response.status_code"], one.get("error.type"))
        for one in calls
        if one["peer.service"] == "quick"
    ]
    assert tried == [(None, 500, "500"), (1, 204, None)]
    failed = [one for one in found.spans if one.status.code == one.status.STATUS_CODE_ERROR]
    assert {one.trace_id.hex() for one in failed} == {ids_of(parent(1))[0]}
    digests = [one for one in found.spans if attributes_of(one).get("ach.endpoint") == "summed"]
    linked = sorted(link for one in digests for link in links(one))
    assert linked == [ids_of(parent(2)), ids_of(parent(3))]


async def test_a_trace_goes_to_receivers_without_export_too(engine: Engine, tmp_path: Path) -> None:
    async with (
        engine.worker(),
        receiver() as there,
        notifier(engine.settings, endpoints(tmp_path, endpoint(there.port))),
        ingesting(engine.settings) as client,
    ):
        await connected(client)
        headers = {**by_key(), "traceparent": parent(7)}
        body = [event(number) for number in (1, 2)]
        assert (await client.post("/v1/events", json=body, headers=headers)).status_code == 202
        (request,) = await there.until(1)
    assert request.headers["traceparent"] == parent(7)
