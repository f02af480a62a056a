"""What a hostile sender tries: no key, others' keys and tenants, tricks of paths and headers, bodies that never end."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Final

import anyio
import pytest

from tests.integration.engine import PATIENCE, event
from tests.integration.ingesting import KEYS, by_key, stored
from worker.broker.outgoing import message_id
from worker.broker.streams import open_broker

if TYPE_CHECKING:
    import httpx

    from worker.settings import Settings

pytestmark = pytest.mark.anyio

EVENTS: Final = "/v1/events"
BODY: Final = json.dumps(event(1)).encode()
HEAD: Final = (
    b"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
    % KEYS["t1"].encode()
)


async def raw(client: httpx.AsyncClient, sent: bytes, *, half_close: bool = False) -> bytes:
    """Return all that is answered to bytes; the connection is closed by the server, or when nothing more comes."""
    async with await anyio.connect_tcp(client.base_url.host, client.base_url.port or 0) as stream:
        await stream.send(sent)
        if half_close:
            await stream.send_eof()
        found = b""
        with anyio.fail_after(PATIENCE):
            async for piece in stream:
                found += piece
        return found


async def test_a_producer_cannot_use_up_the_ids_of_others(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    """A stream has one memory of message ids, and a producer of another tenant may write any of them."""
    async with open_broker(settings) as broker:
        await broker.publish("events.t2.u1.a.done", b"{}", message_id=message_id("t1", "e1"))
    (theirs,) = await stored(settings)
    assert (theirs.headers or {})["Nats-Msg-Id"] == "t1:e1"
    for sent, messages in ((event(1, id="e1"), 2), (event(1, id="e1"), 2), (event(2, id="e2"), 3)):
        answer = await ingest_client.post(EVENTS, json=sent, headers=by_key())
        assert answer.json() == {"accepted": 1}
        found = await stored(settings)
        assert len(found) == messages
        assert json.loads(found[-1].data) == sent


@pytest.mark.parametrize(
    "said",
    [
        None,
        "Bearer",
        "Bearer x",
        "Basic eDp4",
        "Bearer ach_" + "A" * 43,
        f"Bearer {KEYS['t1']}x",
        f"Bearer {KEYS['t1'][:-1]}",
        "Bearer " + "A" * 5000,
        "Bearer a.b.c",
    ],
    # The keys are drawn anew in each process, and all processes of a run have to know a test by one name.
    ids=["none", "empty", "short", "basic", "unknown", "longer", "shorter", "long", "token"],
)
async def test_without_a_key_nothing_is_read(
    ingest_client: httpx.AsyncClient, settings: Settings, said: str | None
) -> None:
    headers = {} if said is None else {"Authorization": said}
    answer = await ingest_client.post(EVENTS, content=BODY, headers=headers | {"Content-Type": "application/json"})
    assert answer.status_code == 401
    assert "www-authenticate" in answer.headers
    assert await stored(settings) == []


async def test_a_key_is_good_for_its_tenant_alone(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    other, mine = event(1, tenant="t2"), event(2)
    cloud = {
        "specversion": "1.0", "id": "1", "source": "s", "type": "a.done", "subject": "u1",
        "time": "2026-01-01T00:00:00Z", "tenantid": "t2",
    }  # fmt: skip
    twice = BODY.replace(b'"tenant_id": "t1"', b'"tenant_id": "t1", "tenant_id": "t2"')
    binary = {f"ce-{name}": value for name, value in cloud.items()}
    bodies: list[tuple[bytes, str, dict[str, str]]] = [
        (json.dumps(other).encode(), "application/json", {}),
        (json.dumps([mine, other]).encode(), "application/json", {}),
        (json.dumps(mine).encode() + b"\n" + json.dumps(other).encode(), "application/x-ndjson", {}),
        (twice, "application/json", {}),
        (json.dumps(cloud).encode(), "application/cloudevents+json", {}),
        (json.dumps([cloud]).encode(), "application/cloudevents-batch+json", {}),
        (b"", "application/json", binary),
    ]
    for body, kind, more in bodies:
        answer = await ingest_client.post(EVENTS, content=body, headers=by_key(kind=kind, **more))
        assert (answer.status_code, answer.json()["errors"][0]["field"]) in {
            (403, "tenant_id"),
            (403, "tenantid"),
        }, body
        assert "t2" not in answer.text
    assert await stored(settings) == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/events/", 404),
        ("POST", "//v1/events", 404),
        ("POST", "/v1/../v1/events", 404),
        ("POST", "/v1/%65vents", 404),
        ("POST", "/v1/events%00", 404),
        ("POST", "/v1/webhooks/..%2Fevents", 401),
        ("POST", "/v1/webhooks/a/b", 404),
        ("GET", "/v1/events", 405),
        ("PUT", "/v1/events", 405),
        ("POST", "/v1/health", 405),
        ("POST", "/v1/events?key=x", 400),
        ("POST", "/v1/events?validate=contract&validate=contract", 400),
        ("POST", "/v1/events?other=1", 400),
    ],
)
async def test_paths_that_lead_nowhere(ingest_client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    sent = f"{method} {path} HTTP/1.1\r\n".encode() + HEAD.split(b"\r\n", 1)[1]
    found = await raw(ingest_client, sent + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
    assert found.startswith(b"HTTP/1.1 %d " % status)
    assert b"location" not in found.lower()


async def test_pages_of_no_origin_may_send(ingest_client: httpx.AsyncClient) -> None:
    origin = {"Origin": "https://evil.example"}
    answer = await ingest_client.options(EVENTS, headers=origin | {"Access-Control-Request-Method": "POST"})
    assert answer.status_code == 403
    answers = [answer, await ingest_client.post(EVENTS, content=BODY, headers=by_key() | origin)]
    assert not any(name.startswith("access-control") for one in answers for name in one.headers)


@pytest.mark.parametrize(
    "more",
    [
        b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n[]    ",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 9999999999999999999999\r\n\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Authorization: Bearer x\r\nContent-Length: 2\r\n\r\n[]",
        b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n[]",
        b"ce-id: a\rNats-Msg-Id: b\r\nContent-Length: 2\r\n\r\n[]",
        b"ce-id: a\0b\r\nContent-Length: 2\r\n\r\n[]",
        b"ce-id: 1\r\nce-id: 2\r\nce-specversion: 1.0\r\nContent-Length: 2\r\n\r\n{}",
        b"X: " + b"y" * 20_000 + b"\r\nContent-Length: 2\r\n\r\n[]",
    ],
)
async def test_requests_that_pass_for_others(ingest_client: httpx.AsyncClient, settings: Settings, more: bytes) -> None:
    found = await raw(ingest_client, HEAD + b"Connection: close\r\n" + more, half_close=True)
    assert found[9:12] in {b"400", b"413", b"431", b"501"}, found
    assert found.count(b"HTTP/1.1 ") == 1
    assert await stored(settings) == []


async def test_header_values_stay_values(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    """Line ends that are percent-encoded reach the broker in the body alone."""
    binary = {
        "ce-specversion": "1.0",
        "ce-id": "1%0D%0ANats-Msg-Id: other%0D%0A",
        "ce-source": "s%0D%0A%0D%0APUB evil 0",
        "ce-type": "a.>",
        "ce-subject": "*%0D%0A",
        "ce-time": "2026-01-01T00:00:00Z",
    }
    answer = await ingest_client.post(EVENTS, content=b"", headers=by_key(**binary))
    assert answer.status_code == 202
    (msg,) = await stored(settings)
    assert msg.subject == "events.t1.%2A%0D%0A.a.%3E"
    assert set(msg.headers or {}) == {"Nats-Msg-Id"}
    assert "other" not in str(msg.headers)
    assert json.loads(msg.data)["user_id"] == "*\r\n"


async def test_half_a_body_is_no_body(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % (len(BODY) + 1) + BODY
    async with await anyio.connect_tcp(ingest_client.base_url.host, ingest_client.base_url.port or 0) as stream:
        await stream.send(whole)
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(BODY), BODY)
    async with await anyio.connect_tcp(ingest_client.base_url.host, ingest_client.base_url.port or 0) as stream:
        await stream.send(chunked)
        raw_socket = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - no Django
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    # What was begun before is over by the time that a later request is answered, and held no memory back.
    answer = await ingest_client.post(EVENTS, json=event(2), headers=by_key())
    assert answer.status_code == 202
    assert [json.loads(one.data)["event_id"] for one in await stored(settings)] == [event(2)["event_id"]]


async def test_a_sender_that_leaves_before_its_answer(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    async with await anyio.connect_tcp(ingest_client.base_url.host, ingest_client.base_url.port or 0) as stream:
        await stream.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
    with anyio.fail_after(PATIENCE):
        while not await stored(settings):
            pass
    again = await ingest_client.post(EVENTS, content=BODY, headers=by_key())
    assert (again.status_code, len(await stored(settings))) == (202, 1)


async def test_odd_events_are_stored_or_named(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    huge = BODY.replace(b'"payload": {}', b'"payload": {"n": 1e999999, "m": %s}' % (b"9" * 5000))
    twice = BODY.replace(b'"event_id"', b'"event_id": "first", "event_id"')
    for body in (huge, twice.replace(b"{}", b'{"a": 1, "a": 2}')):
        answer = await ingest_client.post(EVENTS, content=body.replace(b"u1", b"u2"), headers=by_key())
        assert answer.status_code == 202
    for odd in (
        b'"payload": {"x": "\\ud800"}',
        b'"payload": {"x": "\\u0000"}',
        b'"payload": {"x": "\xff"}',
        b'"payload": {"x": NaN}',
        b'"payload": ' + b'{"x":' * 70 + b"1" + b"}" * 70,
        b'"payload": ' + b'{"x":' * 100_000 + b"1" + b"}" * 100_000,
    ):
        answer = await ingest_client.post(EVENTS, content=BODY.replace(b'"payload": {}', odd), headers=by_key())
        assert (answer.status_code, answer.json()["errors"][0]["index"]) == (400, 0), odd[:40]
    assert len(await stored(settings)) == 1, "both have one id"
