"""Random requests: answers are of the documented statuses and schemas, and what is taken is what the worker takes."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import jsonschema
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.integration.engine import event
from tests.integration.ingesting import JSON, KEYS, LINES, config_of, connected, ingesting, stored
from worker.contract.cloudevents import BATCH_TYPE, STRUCTURED_TYPE
from worker.contract.strict_reader import Accepted, Contract
from worker.ingest.openapi import document

if TYPE_CHECKING:
    import httpx

    from worker.settings import Settings

pytestmark = pytest.mark.anyio

NAMES = [
    *("event_id", "event_type", "user_id", "tenant_id", "occurred_at", "source", "payload"),
    *("specversion", "id", "type", "subject", "time", "tenantid", "datacontenttype", "data"),
]
VALUES = st.sampled_from(["t1", "t2", "1.0", "a.done", "2026-01-01T00:00:00Z", "", None, 7, {}, {"n": 1.5}, [1], "\0"])
CLOUD = {
    "specversion": "1.0", "id": "1", "source": "s", "type": "a.done", "subject": "u", "time": "2026-01-01T00:00:00Z",
}  # fmt: skip


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """Draw an event of either kind that may be changed a little, and may be cut."""
    one: dict[str, Any] = {**draw(st.sampled_from([event(draw(st.integers(0, 99))), CLOUD]))}
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=1)):
        one[name] = draw(VALUES)
    for name in draw(st.lists(st.sampled_from([*one]), max_size=1)) if draw(st.integers(0, 2)) == 0 else ():
        del one[name]
    body = json.dumps(one).encode()
    return body if draw(st.integers(0, 4)) else body[: draw(st.integers(0, len(body)))]


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


@st.composite
def requests(draw: st.DrawFn) -> Request:
    kind = draw(st.sampled_from([JSON, JSON, LINES, STRUCTURED_TYPE, BATCH_TYPE, "text/plain"]))
    several = draw(st.lists(objects(), min_size=1, max_size=3))
    joined = [several[0], b"[" + b",".join(several) + b"]", b"\n".join(several), draw(st.binary(max_size=30))]
    body = draw(st.sampled_from(joined))
    headers = {"Content-Type": kind, "Authorization": f"Bearer {KEYS['t1']}"}
    for name in draw(st.lists(st.sampled_from([*CLOUD, "tenantid", "other"]), max_size=6)) if kind == JSON else ():
        headers[f"ce-{name}"] = draw(st.sampled_from(["1.0", "1", "t1", "%", "%0A", "%FF", "2026-01-01T00:00:00Z"]))
    if draw(st.integers(0, 5)) == 0:
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body)[: draw(st.sampled_from([None, None, 20]))]
    path = draw(st.sampled_from(["/v1/events", "/v1/events", "/v1/events", "/v1/webhooks/shop"]))
    return Request(path, headers, body)


def check(path: str, method: str, response: httpx.Response) -> None:
    """See that an answer is one that the document has."""
    said: dict[str, Any] = document()["paths"][path][method]["responses"]
    assert str(response.status_code) in said, response.text
    assert response.status_code != 500
    found = said[str(response.status_code)]
    if "$ref" in found:
        found = document()["components"]["responses"][found["$ref"].rpartition("/")[2]]
    ((media_type, content),) = found["content"].items()
    assert response.headers["content-type"] == media_type
    schema = {**content["schema"], "components": document()["components"]}
    jsonschema.Draft202012Validator(schema).validate(response.json())


async def test_answers_are_as_documented(settings: Settings) -> None:
    seen: set[int] = set()
    async with (
        ingesting(settings, config_of(key_rate=1e6, key_burst=1_000_000)) as client,
        anyio.from_thread.BlockingPortal() as portal,
    ):
        await connected(client)

        async def send(one: Request) -> httpx.Response:
            return await client.post(one.path, headers=one.headers, content=one.body)

        @examples(
            max_examples=120,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            database=None,
        )
        @given(requests())
        def run(one: Request) -> None:
            response = portal.call(send, one)
            check(one.path.replace("/shop", "/{name}"), "post", response)
            seen.add(response.status_code)

        await anyio.to_thread.run_sync(run)
        for path in ("/v1/health", "/openapi.json"):
            check(path, "get", await client.get(path))
    assert seen >= {202, 400, 401, 415}
    contract = Contract({}, prefix=settings.input_prefix, skew=0)
    messages = await stored(settings)
    assert messages
    for msg in messages:
        (read,) = contract.read(msg.subject, msg.data, now=2_000_000_000_000_000)
        assert isinstance(read, Accepted)
