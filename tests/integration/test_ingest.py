"""Events over HTTP, on a real broker: what is stored, what is answered, and what is not taken."""

from __future__ import annotations

import gzip
import json
import os
import signal
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import msgspec
import nats
import pytest
from standardwebhooks import Webhook as Signer
from structlog.testing import capture_logs

from tests.integration.engine import PATIENCE, Engine, event
from tests.integration.ingesting import (
    JSON,
    KEYS,
    LINES,
    OLD_SECRET,
    SECRET,
    TEST_KEY,
    by_key,
    config_of,
    connected,
    ingesting,
    lines_of,
    stored,
)
from worker.ingest.process import Files
from worker.local.process_tree import free_port
from worker.serve.access import hash_of, new_key
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio

EVENTS = "/v1/events"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
CLOUD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "a.done",
    "subject": "u1",
    "time": "2026-03-01T12:00:00Z",
    "data": {"score": 1.50},
}
MAPPED = {
    "event_id": "/shop#1",
    "event_type": "a.done",
    "user_id": "u1",
    "tenant_id": "t1",
    "occurred_at": "2026-03-01T12:00:00Z",
    "source": "/shop",
    "payload": {"score": 1.5},
}


async def post(client: httpx.AsyncClient, body: Any, kind: str = JSON, **more: str) -> httpx.Response:  # noqa: ANN401
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.post(EVENTS, content=content, headers=by_key(kind=kind, **more))


async def test_every_form_is_stored_as_it_was_sent(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    one, *several = [event(n, user="a b", score=n) for n in range(6)]
    answers = [
        await post(ingest_client, one),
        await post(ingest_client, several[:2]),
        await post(ingest_client, lines_of(several[2:4]) + b"\r\n\n", LINES),
        await post(ingest_client, gzip.compress(json.dumps(several[4:]).encode()), **{"Content-Encoding": "gzip"}),
        await post(ingest_client, []),
    ]
    assert [(one.status_code, one.json()) for one in answers] == [
        (202, {"accepted": number}) for number in (1, 2, 2, 1, 0)
    ]
    found = await stored(settings)
    assert [json.loads(msg.data) for msg in found] == [one, *several]
    assert {msg.subject for msg in found} == {"events.t1.a%20b.a.done"}
    assert len({(msg.headers or {})["Nats-Msg-Id"] for msg in found}) == len(found)


async def test_cloudevents_become_our_envelope(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    binary = {f"ce-{name}": value for name, value in CLOUD.items() if name != "data"}
    answers = [
        await post(ingest_client, CLOUD, STRUCTURED),
        await post(ingest_client, [{**CLOUD, "id": "2"}, {**CLOUD, "id": "3", "tenantid": "t1"}], BATCH),
        await post(ingest_client, CLOUD["data"], **{**binary, "ce-id": "4", "ce-subject": "Zo%C3%AB"}),
    ]
    assert [one.status_code for one in answers] == [202, 202, 202]
    found = [json.loads(msg.data) for msg in await stored(settings)]
    expected = [{**MAPPED, "event_id": f"/shop#{n}"} for n in range(1, 5)]
    expected[3]["user_id"] = "Zoë"
    assert found == expected


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (STRUCTURED, {name: value for name, value in CLOUD.items() if name != "time"}, "time"),
        (STRUCTURED, {**CLOUD, "time": "yesterday"}, "time"),
        (STRUCTURED, {name: value for name, value in CLOUD.items() if name != "subject"}, "subject"),
        (BATCH, [{**CLOUD, "data": [1]}], "data"),
        (JSON, {name: value for name, value in event(1).items() if name != "occurred_at"}, "occurred_at"),
        (JSON, [{**event(1), "user_id": 7}], "user_id"),
        (JSON, {**event(1), "occurred_at": "2999-01-01T00:00:00Z"}, "occurred_at"),
        (LINES, {**event(1), "event_id": "x" * 513}, "event_id"),
    ],
)
async def test_the_field_at_fault_is_named(
    ingest_client: httpx.AsyncClient, kind: str, body: object, field: str
) -> None:
    answer = await post(ingest_client, body, kind)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
    assert answer.json()["errors"][0]["hint"]


async def test_a_malformed_event_keeps_its_batch_out(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    events = [event(n) for n in range(5)]
    events[1].pop("occurred_at")
    events[3]["payload"] = "text"
    answer = await post(ingest_client, events)
    said = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert [(one["index"], one["field"]) for one in said["errors"]] == [(1, "occurred_at"), (3, "payload")]
    assert await stored(settings) == []


async def test_what_is_sent_twice_is_stored_once(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    for _ in range(2):
        assert (await post(ingest_client, [event(1), event(2)])).status_code == 202
    assert (await post(ingest_client, [event(3), event(3)])).json() == {"accepted": 2}
    assert len(await stored(settings)) == 3
    answer = await post(ingest_client, [event(4), {**event(4), "payload": {"other": 1}}])
    assert (answer.status_code, answer.json()["errors"][0]["index"]) == (400, 1)
    assert len(await stored(settings)) == 3


async def test_bodies_are_bounded(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    most = config_of().limits.body_bytes
    padded = json.dumps(event(1)).encode() + b" " * most
    zeros = gzip.compress(b" " * (most + 1))
    chunked = ingest_client.build_request("POST", EVENTS, headers=by_key(), content=_pieces(padded))
    answers = [
        await post(ingest_client, padded),
        await ingest_client.send(chunked),
        await post(ingest_client, zeros, **{"Content-Encoding": "gzip"}),
        await post(ingest_client, [event(n) for n in range(1001)]),
    ]
    assert [one.status_code for one in answers] == [413] * 4
    bad = [gzip.compress(b"[]")[:-3], gzip.compress(b"[]") + b"x", b"[]"]
    assert [(await post(ingest_client, one, **{"Content-Encoding": "gzip"})).status_code for one in bad] == [400] * 3
    assert (await post(ingest_client, [], **{"Content-Encoding": "br"})).status_code == 415
    assert (await post(ingest_client, [], "text/plain")).status_code == 415
    assert (await post(ingest_client, [], f"{JSON}; charset=latin1")).status_code == 415
    assert await stored(settings) == []


async def _pieces(body: bytes) -> AsyncGenerator[bytes]:
    for at in range(0, len(body), 65536):
        yield body[at : at + 65536]


async def test_a_slow_body_is_given_up(settings: Settings) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in by_key().items())
    sent = f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: 9\r\n\r\n[".encode()
    async with (
        ingesting(settings, config_of(body_seconds=0.1)) as client,
        await anyio.connect_tcp(client.base_url.host, client.base_url.port or 0) as stream,
    ):
        await stream.send(sent)
        answer = b"".join([piece async for piece in stream])
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


async def test_a_key_has_its_rate_in_events(settings: Settings) -> None:
    async with ingesting(settings, config_of(key_rate=0.5, key_burst=10)) as client:
        await connected(client)
        assert (await post(client, [event(n) for n in range(8)])).status_code == 202
        answer = await post(client, [event(n) for n in range(8)])
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 20
        other = await client.post(EVENTS, json=event(1, tenant="t2"), headers=by_key("t2"))
        assert other.status_code == 202


async def test_one_caller_leaves_memory_to_others(settings: Settings) -> None:
    begun, end = anyio.Event(), anyio.Event()

    async def held() -> AsyncGenerator[bytes]:
        yield b"["
        begun.set()
        await end.wait()
        yield b"]"

    answers: list[httpx.Response] = []
    async with (
        ingesting(settings, config_of(memory_bytes=4 * 1024 * 1024)) as client,
        anyio.create_task_group() as tasks,
    ):
        await connected(client)

        async def send() -> None:
            answers.append(await client.post(EVENTS, content=held(), headers=by_key()))

        tasks.start_soon(send)
        await begun.wait()
        with anyio.fail_after(PATIENCE):
            while (answer := await client.post(EVENTS, content=_pieces(b"[]"), headers=by_key())).status_code == 202:
                pass
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        other = await client.post(EVENTS, content=_pieces(b"[]"), headers=by_key("t2"))
        assert other.status_code == 202
        end.set()
    assert [one.status_code for one in answers] == [202]


async def test_webhooks_without_a_signature_leave_memory_to_keys(settings: Settings) -> None:
    """Nothing is known of who sends a webhook before its body is here, and there may be many webhooks."""
    config = config_of(memory_bytes=8 * 1024 * 1024)
    config = msgspec.structs.replace(config, webhooks={f"w{n}": config.webhooks["shop"] for n in range(8)})
    size = config.limits.body_bytes
    async with ingesting(settings, config) as client, AsyncExitStack() as stack:
        await connected(client)
        answers: list[bytes] = []
        for number in range(8):
            stream = await anyio.connect_tcp(client.base_url.host, client.base_url.port or 80)
            await stack.enter_async_context(stream)
            head = f"POST /v1/webhooks/w{number} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n"
            await stream.send(head.encode() + b"Expect: 100-continue\r\n\r\n")
            with anyio.fail_after(PATIENCE):
                answers.append((await stream.receive())[9:12])
        assert answers == [b"100"] * 4 + [b"429"] * 4
        for tenant in ("t1", "t2"):
            answer = await client.post(EVENTS, content=_pieces(b"[]"), headers=by_key(tenant))
            assert answer.status_code == 202


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what only an answer shows."""
    with anyio.fail_after(PATIENCE):
        while not await is_so():  # noqa: ASYNC110 - has to be asked
            await anyio.sleep(0.05)


RULES = 'event a.done { score: int }\nachievement one { title "One" when count(event=a.done, >= 1) }\n'


async def test_contracts_of_files_are_kept(settings: Settings, tmp_path: Path) -> None:
    rules = tmp_path / "rules.ach"
    rules.write_text(RULES)
    wrong, unknown, right = event(1, score="x"), event(2, "a.dome", score=1), event(3, score=3)
    async with ingesting(settings, files=Files(rules=[rules])) as client:
        await connected(client)
        answer = await client.post(f"{EVENTS}?validate=contract", json=[wrong, right], headers=by_key())
        assert answer.status_code == 422
        assert [(one["index"], one["field"]) for one in answer.json()["errors"]] == [(0, "payload.score")]
        answer = await client.post(f"{EVENTS}?validate=contract", json=[right, unknown], headers=by_key())
        assert [(one["index"], one["hint"]) for one in answer.json()["errors"]] == [(1, "Did you mean a.done?")]
        by_test_key = by_key() | {"Authorization": f"Bearer {TEST_KEY}"}
        assert (await client.post(EVENTS, json=wrong, headers=by_test_key)).status_code == 422
        assert (await client.post(EVENTS, json=wrong, headers=by_key())).status_code == 202
        assert (await client.post(EVENTS, json=right, headers=by_test_key)).status_code == 202
        assert (await client.post(f"{EVENTS}?validate=yes", json=right, headers=by_key())).status_code == 400
        rules.write_text(RULES.replace("int", "string"))

        async def is_taken() -> bool:
            answer = await client.post(EVENTS, json=event(4, score="x"), headers=by_test_key)
            return answer.status_code == 202

        await until(is_taken)


async def test_contracts_in_force_are_kept(settings: Settings, database_url: str) -> None:
    settings = msgspec.structs.replace(settings, database_url=database_url)
    asked = f"{EVENTS}?validate=contract"
    async with ingesting(settings) as client:
        await connected(client)
        answer = await client.post(asked, json=event(1), headers=by_key())
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        await Engine(settings).apply(RULES)
        assert (await client.post(asked, json=event(1, score="x"), headers=by_key())).status_code == 422
        assert (await client.post(asked, json=event(1, score=1), headers=by_key())).status_code == 202
        assert (await client.post(asked, json=event(2), headers=by_key())).status_code == 422
        assert len(await stored(settings)) == 1


async def test_keys_are_reloaded(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "ingest.toml"
    old, new = new_key(), new_key()

    def write(*keys: str) -> None:
        listed = ", ".join(f'"{hash_of(one)}"' for one in keys)
        path.with_suffix(".new").write_text(f"[tenants.t1]\nkeys = [{listed}]\n")
        path.with_suffix(".new").replace(path)

    async def status(key: str) -> int:
        answer = await client.post(EVENTS, json=event(1), headers=by_key() | {"Authorization": f"Bearer {key}"})
        return answer.status_code

    async def is_known() -> bool:
        return await status(new) == 202

    async def is_forgotten() -> bool:
        return await status(old) == 401

    async def is_kept() -> bool:
        return any(line["event"] == "the configuration stays as it was" for line in lines)

    write(old)
    with capture_logs() as lines:
        async with ingesting(settings, files=Files(config=path)) as client:
            await connected(client)
            write(old, new)
            await until(is_known)
            assert await status(old) == 202
            path.write_text("keys = nonsense")
            os.kill(os.getpid(), signal.SIGHUP)
            await until(is_kept)
            assert await status(new) == 202
            write(new)
            await until(is_forgotten)
            assert await status(new) == 202


# -- webhooks ----------------------------------------------------------------------------------------------------------

HOOK = {"type": "order.paid", "created": 1_776_000_000, "data": {"customer": 42, "total": 9.90}}


def signed(body: bytes, secret: str = SECRET, id: str = "msg_1", at: float = 0) -> dict[str, str]:  # noqa: A002
    moment = datetime.fromtimestamp(int(time() + at), UTC)
    signature = Signer(secret).sign(id, moment, body.decode())
    return {
        "webhook-id": id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": f"v1,bm9uZQ== {signature}",
    }


async def test_webhooks_become_events_once(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    body = b' {"type":"order.paid","created":1776000000,"data":{"customer":42,"total":9.90}}'
    for secret in (SECRET, OLD_SECRET):
        answer = await ingest_client.post("/v1/webhooks/shop", content=body, headers=signed(body, secret))
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    plain = json.dumps({"user": "ann", "at": "2026-03-01T12:00:00+01:00"}).encode()
    assert (
        await ingest_client.post("/v1/webhooks/plain", content=plain, headers=signed(plain, id="msg_2"))
    ).status_code == 202
    found = await stored(settings)
    assert [msg.subject for msg in found] == ["events.t1.42.order.paid", "events.t2.ann.form.sent"]
    assert json.loads(found[0].data) == {
        "event_id": "msg_1",
        "event_type": "order.paid",
        "user_id": "42",
        "tenant_id": "t1",
        "occurred_at": "2026-04-12T13:20:00.000000Z",
        "source": "shop",
        "payload": {"customer": 42, "total": 9.9},
    }
    assert b"9.90" in found[0].data
    assert json.loads(found[1].data)["payload"] == json.loads(plain)


async def test_webhooks_that_are_not_signed_are_refused(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    body = json.dumps(HOOK).encode()
    good = signed(body)
    wrong = [
        {},
        {**good, "webhook-signature": "v1,AAAA"},
        {**good, "webhook-id": "msg_9"},
        {**good, "webhook-timestamp": "soon"},
        signed(body, "whsec_" + "A" * 32),
        signed(body, at=-400),
        signed(body, at=400),
        signed(body + b" "),
    ]
    for headers in wrong:
        answer = await ingest_client.post("/v1/webhooks/shop", content=body, headers=headers)
        assert answer.status_code == 401, headers
    assert (await ingest_client.post("/v1/webhooks/other", content=body, headers=good)).status_code == 401
    other = json.dumps({"data": {}}).encode()
    answer = await ingest_client.post("/v1/webhooks/shop", content=other, headers=signed(other))
    assert (answer.status_code, answer.json()["errors"][0]["detail"]) == (400, "missing")
    assert await stored(settings) == []


# -- the broker, and the end -------------------------------------------------------------------------------------------


async def test_without_a_stream_nothing_is_accepted(nats_url: str) -> None:
    async with ingesting(Settings(nats_url=nats_url)) as client:
        await connected(client)
        answer = await post(client, [event(1), event(2)])
    assert (answer.status_code, answer.json()["not_stored"]) == (503, [0, 1])
    assert "no stream" in answer.json()["detail"]
    assert answer.headers["retry-after"]


async def test_what_the_stream_refuses_is_named(settings: Settings) -> None:
    broker = await nats.connect(settings.nats_url)
    stream = broker.jetstream()
    info = await stream.stream_info(settings.input_stream)
    await stream.update_stream(info.config.evolve(max_msg_size=1000))
    await broker.close()
    async with ingesting(settings) as client:
        await connected(client)
        answer = await post(client, [event(1), event(2, long="x" * 2000), event(3)])
    assert (answer.status_code, [one["index"] for one in answer.json()["errors"]]) == (413, [1])


async def test_without_a_broker_it_says_so() -> None:
    there = Settings(nats_url=f"nats://127.0.0.1:{free_port()}")
    async with ingesting(there) as client:
        answer = await post(client, event(1))
        assert (answer.status_code, answer.json()["not_stored"]) == (503, [0])
        assert (await client.get("/v1/health")).json() == {"ok": False, "nats": False}


async def test_what_was_read_is_answered_when_it_stops(settings: Settings) -> None:
    stop, under_way, rest = anyio.Event(), anyio.Event(), anyio.Event()

    async def body() -> AsyncGenerator[bytes]:
        yield b"["
        under_way.set()
        await rest.wait()
        yield json.dumps(event(1)).encode() + b"]"

    answers: list[httpx.Response] = []
    async with ingesting(settings, stop=stop) as client, anyio.create_task_group() as tasks:
        await connected(client)

        async def send() -> None:
            answers.append(await client.post(EVENTS, content=body(), headers=by_key()))

        tasks.start_soon(send)
        await under_way.wait()
        # What was sent before has been read by the time that a later request is answered.
        assert (await client.get("/v1/health")).status_code == 200
        stop.set()
        with suppress(httpx.TransportError):
            while (await client.get("/v1/health", headers={"Connection": "close"})).status_code:
                pass
        rest.set()
    assert [(one.status_code, one.json()) for one in answers] == [(202, {"accepted": 1})]
    assert len(await stored(settings)) == 1


async def test_metrics_and_probes(settings: Settings) -> None:
    port = free_port()
    with_probes = msgspec.structs.replace(settings, health_port=port, health_host="127.0.0.1")
    async with ingesting(with_probes) as client:
        await connected(client)
        await post(client, [event(1), event(2)])
        await post(client, [event(1)])
        await post(client, [{}])
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as probes:
            assert (await probes.get("/readyz")).status_code == 200
            text = (await probes.get("/metrics")).text
    for line in (
        'ach_ingest_requests_total{operation="events",status="202"} 2.0',
        'ach_ingest_refused_total{problem="malformed-events"} 1.0',
        "ach_ingest_events_total 3.0",
        "ach_ingest_copies_total 1.0",
        "ach_ingest_under_way 0.0",
        "ach_ingest_body_bytes 0.0",
        "ach_ingest_seconds_count 2.0",
        "ach_nats_connections_total 1.0",
    ):
        assert line in text
    assert "t1" not in text
    assert not any(key in text for key in KEYS.values())
