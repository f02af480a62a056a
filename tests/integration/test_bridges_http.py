"""What cloud buses post, as their manuals describe it, and what `ach ingest` answers: the pages in deploy/bridges/."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.integration.ingesting import KEYS, by_key, stored

if TYPE_CHECKING:
    import httpx

    from worker.settings import Settings

pytestmark = pytest.mark.anyio

BRIDGES: Final = Path(__file__).parents[2] / "deploy" / "bridges"
EVENTS: Final = "/v1/events"
ENVELOPE: Final = {
    "event_id": "l1-ann",
    "event_type": "lesson.completed",
    "user_id": "ann",
    "tenant_id": "t1",
    "occurred_at": "2026-03-01T12:00:00Z",
    "payload": {"score": 9},
}
BUS_EVENT: Final[dict[str, Any]] = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "lesson.completed",
    "source": "com.example.lessons",
    "account": "123456789012",
    "time": "2026-03-01T12:00:00Z",
    "region": "eu-central-1",
    "resources": [],
    "detail": {"user_id": 'ann "a" lee', "score": 9},
}
GOOGLE_TOKEN: Final = "eyJhbGciOiJSUzI1NiJ9.eyJlbWFpbCI6ImFjaC1wdXNoIn0.c2lnbmF0dXJl"
NOTIFICATION: Final = {
    "Type": "Notification",
    "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    "TopicArn": "arn:aws:sns:eu-central-1:123456789012:lessons",
    "Message": json.dumps(ENVELOPE),
    "Timestamp": "2026-03-01T12:00:01.000Z",
    "SignatureVersion": "1",
    "Signature": "EXAMPLE",
    "SigningCertURL": "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService.pem",
}


def rendered(target: dict[str, Any], bus_event: dict[str, Any]) -> bytes:
    """Return what an input transformer makes of an event: each `<name>` is the JSON at its path."""
    transformer = target["InputTransformer"]

    def value(name: re.Match[str]) -> str:
        found: Any = bus_event
        for step in transformer["InputPathsMap"][name[1]].removeprefix("$.").split("."):
            found = found.get(step)
        return json.dumps(found)

    return re.sub(r"<(\w+)>", value, transformer["InputTemplate"]).encode()


async def test_eventbridge(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    (target,) = json.loads((BRIDGES / "eventbridge.json").read_text("utf-8"))["Targets"]
    template = target["InputTransformer"]["InputTemplate"]
    target["InputTransformer"]["InputTemplate"] = template.replace('"acme"', '"t1"')
    body = rendered(target, BUS_EVENT)
    headers = by_key(kind="application/json; charset=utf-8")
    first = await ingest_client.post(EVENTS, content=body, headers=headers)
    again = await ingest_client.post(EVENTS, content=body, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    (message,) = await stored(settings)
    said = json.loads(message.data)
    assert message.subject == "events.t1.ann%20%22a%22%20lee.lesson.completed"
    assert said["event_id"] == BUS_EVENT["id"]
    assert said["occurred_at"] == BUS_EVENT["time"]
    assert said["payload"] == BUS_EVENT["detail"]
    without = rendered(target, {**BUS_EVENT, "detail": {"score": 9}})
    answer = await ingest_client.post(EVENTS, content=without, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "user_id"


async def test_pubsub_push(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    data = json.dumps(ENVELOPE).encode()
    message: dict[str, Any] = {"attributes": {}, "data": b64encode(data).decode(), "messageId": "2070443601311540"}
    wrapped = {"message": message, "subscription": "projects/p/subscriptions/ach"}
    answer = await ingest_client.post(EVENTS, json=wrapped, headers=by_key())
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "event_id"
    by_google = {"Authorization": f"Bearer {GOOGLE_TOKEN}", "Content-Type": "application/json"}
    assert (await ingest_client.post(EVENTS, content=data, headers=by_google)).status_code == 401
    assert await stored(settings) == []
    assert (await ingest_client.post(EVENTS, content=data, headers=by_key())).status_code == 202
    assert [one.data for one in await stored(settings)] == [data]


async def test_sns(ingest_client: httpx.AsyncClient, settings: Settings) -> None:
    confirmation = {**NOTIFICATION, "Type": "SubscriptionConfirmation", "SubscribeURL": "http://127.0.0.1:9/confirm"}
    for body in (NOTIFICATION, confirmation):
        headers = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": str(body["Type"])}
        answer = await ingest_client.post(EVENTS, content=json.dumps(body), headers=headers)
        assert answer.status_code == 401
        basic = await ingest_client.post(EVENTS, content=json.dumps(body), headers=headers, auth=("ach", KEYS["t1"]))
        assert basic.status_code == 401
        answer = await ingest_client.post(
            EVENTS, content=json.dumps(body), headers={**headers, "Authorization": f"Bearer {KEYS['t1']}"}
        )
        assert answer.status_code == 415
    assert await stored(settings) == []
