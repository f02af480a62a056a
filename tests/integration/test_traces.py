"""Traces on real servers: from the header of an event to that of its announcement, and to a collector."""

from __future__ import annotations

import json
import os
from socket import create_server
from time import monotonic
from typing import TYPE_CHECKING, Any

import anyio
import nats
import pytest
from structlog.testing import capture_logs

from tests.integration.collectors import attributes_of, collector, ids_of, parent
from tests.integration.engine import PATIENCE, Engine, event
from tests.integration.ingesting import JSON, by_key, connected, ingesting, stored
from tests.integration.pipelines import sent
from worker.app import at_once, run
from worker.broker.streams import open_broker
from worker.traces.choice import spans_of
from worker.traces.otlp import CLOSE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.engine.stats import Stats

pytestmark = pytest.mark.anyio

STATE = "vendor=1"


async def publish(engine: Engine, one: dict[str, Any], **headers: str) -> None:
    async with open_broker(engine.settings) as broker:
        await broker.publish(engine.subject_of(one), json.dumps(one).encode(), headers=headers)


async def headers_of_unlocks(engine: Engine) -> dict[tuple[str, str], Mapping[str, str]]:
    """Return the headers of each announcement of `three`, by tenant and user."""
    client = await nats.connect(engine.settings.nats_url)
    try:
        stream = client.jetstream()
        info = await stream.stream_info(engine.settings.unlock_stream)
        found: dict[tuple[str, str], Mapping[str, str]] = {}
        for seq in range(1, info.state.last_seq + 1):
            message = await stream.get_msg(engine.settings.unlock_stream, seq)
            said = json.loads(message.data or b"")
            if said["achievement"] == "three":
                found[said["tenant_id"], said["subject"]] = message.headers or {}
        return found
    finally:
        await client.close()


def traced(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower().startswith("trace")}


async def test_an_announcement_has_the_trace_of_the_event_that_earned_it(engine: Engine) -> None:
    async with engine.worker() as stats:
        for number in (1, 2, 3):
            for tenant, user in enumerate(("ann", "bob")):
                one = event(number, user=user, tenant=f"t{tenant}")
                await publish(engine, one, traceparent=parent(10 * number + tenant), tracestate=STATE)
        # What is no trace costs no event: malformed, and as long as the broker takes one.
        for number, said in enumerate(("nonsense", "0" * 60_000, "00-\u0661"), start=1):
            await publish(engine, event(number, user="eve"), traceparent=said)
        await stats.reach("announced", 6)
    found = {who: traced(headers) for who, headers in (await headers_of_unlocks(engine)).items()}
    assert found == {
        ("t0", "ann"): {"traceparent": parent(30), "tracestate": STATE},
        ("t1", "bob"): {"traceparent": parent(31), "tracestate": STATE},
        ("t1", "eve"): {},
    }


async def test_an_unlock_that_another_worker_announces_has_no_trace_and_the_same_body(engine: Engine) -> None:
    for number in (1, 2, 3):
        await publish(engine, event(number, id=f"live-{number}"), traceparent=parent(number))
    await sent(engine, event(1, user="lost"), event(2, user="lost"), event(3, user="lost"))
    await engine.drain()
    found = await headers_of_unlocks(engine)
    assert [traced(found["t1", user]) for user in ("u1", "lost")] == [{"traceparent": parent(3)}, {}]
    assert all("trace" not in json.dumps(one) for one in await engine.announced())


async def test_ingest_hands_on_the_trace_of_a_request(engine: Engine) -> None:
    cloud = {
        "specversion": "1.0",
        "id": "c",
        "source": "/s",
        "type": "a",
        "subject": "u",
        "time": "2026-03-01T00:00:00Z",
    }
    requests: list[tuple[object, dict[str, str]]] = [
        (event(1, id="plain"), {**by_key(), "Traceparent": parent(1), "Tracestate": STATE}),
        (event(1, id="none"), {**by_key(), "Traceparent": "no", "Tracestate": STATE}),
        (
            {**cloud, "traceparent": parent(3)},
            {**by_key(kind="application/cloudevents+json"), "traceparent": parent(4)},
        ),
        (
            {},
            {
                **by_key(kind=JSON),
                **{f"ce-{name}": value for name, value in cloud.items()},
                "ce-id": "d",
                "ce-traceparent": parent(5),
            },
        ),
    ]
    async with open_broker(engine.settings), ingesting(engine.settings) as client:
        await connected(client)
        for body, headers in requests:
            answer = await client.post("/v1/events", content=json.dumps(body), headers=headers)
            assert answer.status_code == 202, answer.text
        twice = [*by_key().items(), ("traceparent", parent(6)), ("traceparent", parent(7))]
        assert (await client.post("/v1/events", json=event(1, id="twice"), headers=twice)).status_code == 202
    assert [traced(message.headers or {}) for message in await stored(engine.settings)] == [
        {"traceparent": parent(1), "tracestate": STATE},
        {},
        {"traceparent": parent(3)},
        {"traceparent": parent(5)},
        {},
    ]


# -- export ------------------------------------------------------------------------------------------------------------


async def drained(engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch) -> Stats:
    """Run a worker that exports traces until nothing is left to do."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    spans = spans_of(os.environ, engine.settings)
    try:
        with anyio.fail_after(PATIENCE):
            return await run(engine.settings, drain=at_once(), spans=spans)
    finally:
        began = monotonic()
        await spans.close()
        assert monotonic() - began < CLOSE_SECONDS + 2


async def test_a_collector_gets_a_span_a_batch_and_one_an_announcement(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        await publish(engine, event(number), traceparent=parent(number), tracestate=STATE)
        await publish(engine, event(number, user="quiet"), traceparent=parent(number + 10, "00"))
        await publish(engine, event(number, user="plain"))
    with collector() as found:
        await drained(engine, found.url, monkeypatch)
    (processed,) = [span for span in found.spans if span.name.startswith("process")]
    (three,) = [span for span in found.spans if span.parent_span_id.hex() == ids_of(parent(3))[1]]
    assert len(found.spans) == 3, "of the unlocks, those of the sampled events have a span: `clean` and `three`"
    # A batch has many parents: it is a root, and has a link to each that is sampled.
    assert processed.name == f"process {engine.settings.input_stream}"
    assert processed.kind == processed.SPAN_KIND_CONSUMER
    assert not processed.parent_span_id
    links = [(link.trace_id.hex(), link.span_id.hex()) for link in processed.links]
    assert links == [ids_of(parent(number)) for number in (1, 2, 3)]
    facts = attributes_of(processed)
    assert facts["messaging.system"] == "nats"
    assert (facts["messaging.batch.message_count"], facts["ach.events"], facts["ach.grants"]) == (9, 9, 6)
    assert processed.end_time_unix_nano > processed.start_time_unix_nano
    # The announcement goes on with the trace of the event that earned the unlock.
    assert (three.name, three.kind) == (f"send {engine.settings.unlock_stream}", three.SPAN_KIND_PRODUCER)
    assert three.trace_id.hex() == ids_of(parent(3))[0]
    said = {user: traced(headers) for (_, user), headers in (await headers_of_unlocks(engine)).items()}
    assert said["u1"] == {"traceparent": f"00-{three.trace_id.hex()}-{three.span_id.hex()}-01", "tracestate": STATE}
    assert ids_of(said["quiet"]["traceparent"])[0] == ids_of(parent(13, "00"))[0]
    assert said["quiet"]["traceparent"].endswith("-00"), "what its producer does not record is not recorded here"
    assert said["plain"] == {}
    resource = found.requests[0].resource_spans[0].resource
    assert {one.key: one.value.string_value for one in resource.attributes}["service.name"] == "ach"
    # Names of users and payloads are not for the eyes of a collector.
    text = str(found.requests)
    assert not {word for word in ("u1", "quiet", "t1", "a.done") if f'"{word}"' in text}


async def test_a_collector_that_is_silent_holds_up_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2, 3):
        await publish(engine, event(number), traceparent=parent(number))
    with create_server(("127.0.0.1", 0)) as silent:  # it takes connections, and never answers
        stats = await drained(engine, f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch)
    assert (stats.events, stats.announced) == (3, 2)


async def test_a_collector_that_is_away_is_said_in_the_log(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await publish(engine, event(1), traceparent=parent(1))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with capture_logs() as lines:
        await drained(engine, "http://127.0.0.1:1", monkeypatch)
    assert any(line["event"] == "opentelemetry" for line in lines), lines
