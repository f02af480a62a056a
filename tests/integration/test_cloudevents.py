"""CloudEvents on the stream, through the worker: each form is one event, and a copy in another form is a duplicate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.integration.engine import event
from worker.admin.erasure import erase_user
from worker.app import wall_clock
from worker.broker.streams import open_broker
from worker.commands.dead.replay import Wanted, send_again
from worker.contract.reasons import Reason
from worker.pipeline.dead_letters import list_letters
from worker.store import open_store

if TYPE_CHECKING:
    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

STRUCTURED: Final = {"content-type": "application/cloudevents+json"}
BATCH: Final = {"content-type": "application/cloudevents-batch+json"}
SUBJECT: Final = "events.t1.u1.a.done"


def cloud(number: int, **changes: object) -> dict[str, Any]:
    """Return the CloudEvent of `envelope`."""
    ours = envelope(number)
    said = {
        "specversion": "1.0",
        "id": str(number),
        "source": "/app",
        "type": ours["event_type"],
        "subject": ours["user_id"],
        "time": ours["occurred_at"],
        "data": ours["payload"],
    }
    return {name: value for name, value in {**said, **changes}.items() if value is not ...}


def envelope(number: int) -> dict[str, Any]:
    return {**event(number), "event_id": f"/app#{number}", "source": "/app", "payload": {"score": number}}


def binary(number: int, **changes: object) -> tuple[dict[str, str], bytes]:
    said = cloud(number, **changes)
    data = json.dumps(said.pop("data", {})).encode()
    return {f"ce-{name}": str(value) for name, value in said.items()}, data


async def publish(engine: Engine, *messages: tuple[dict[str, str], bytes], subject: str = SUBJECT) -> None:
    await engine.publish([])  # makes the streams
    async with open_broker(engine.settings) as broker:
        for headers, body in messages:
            await broker.publish(subject, body, headers=headers)


def text(said: object) -> bytes:
    return json.dumps(said).encode()


async def test_every_form_is_one_event_and_copies_are_duplicates(engine: Engine) -> None:
    await engine.apply('event a.done { score: int }\nachievement t { title "T" when count(event=a.done, >= 7) }')
    headers, data = binary(4)
    await publish(
        engine,
        ({}, text(envelope(1))),
        (STRUCTURED, text(cloud(2))),
        ({}, text(cloud(3, data={"score": 3.0}))),
        ({**headers, "ce-datacontenttype": "application/json"}, data),
        ({**binary(5)[0], "content-type": "application/json"}, binary(5)[1]),
        (BATCH, text([cloud(6), cloud(7)])),
    )
    await publish(
        engine,
        (STRUCTURED, text(cloud(1))),
        ({}, text(envelope(2))),
        binary(6),
        (BATCH, text([cloud(4), cloud(4), cloud(5)])),
        ({}, text([envelope(7), cloud(3)])),
    )
    stats = await engine.drain()
    assert (stats.events, stats.duplicates) == (7, 8)
    assert await engine.rows("SELECT * FROM dead_letter") == []
    assert {row["source"] for row in await engine.rows("SELECT source FROM event")} == {"/app"}
    assert len(await engine.unlocks()) == 1


async def test_dead_cloudevents_are_sent_again_with_their_headers(engine: Engine) -> None:
    await engine.apply("event a.done { score: int }")
    await publish(
        engine,
        binary(1, data={"score": "x"}),
        binary(2, time=...),
        binary(3, subject="u2"),
        (BATCH, text([cloud(4, data={"score": "x"}), cloud(5)])),
        (STRUCTURED, text(cloud(5, data={"score": 6}))),
        (binary(6)[0], b"[]"),
    )
    assert (await engine.drain()).events == 1

    async def letters(**chosen: Any) -> dict[str, str]:  # noqa: ANN401 - as list_letters has them
        async with open_store(engine.settings.database_url) as store:
            return {one.detail: one.reason for one in await list_letters(store, **chosen)}

    contract = 'CloudEvent data.score: expected int, got "x"'
    others = {
        "CloudEvent time: missing; an event needs the instant at which it occurred": "invalid_event",
        "CloudEvent subject: the NATS subject says u1; expected the NATS subject events.t1.u2.a.done": "user_mismatch",
        "event_id: '/app#5' is known with another body": "id_conflict",
        "CloudEvent data: expected a JSON object": "invalid_event",
    }
    assert await letters() == {contract: "contract", **others}
    await engine.apply("event a.done { score: string }")
    await send_again(engine.settings, Wanted(reason=Reason.CONTRACT), None, dry=True)
    await send_again(engine.settings, Wanted(), None, dry=False)
    stats = await engine.drain()
    assert stats.events == 2
    rows = await engine.rows("SELECT event_id FROM event ORDER BY event_id")
    assert [row["event_id"] for row in rows] == ["/app#1", "/app#4", "/app#5"]
    del others["event_id: '/app#5' is known with another body"]
    # What was kept of the conflict is our envelope, and is read as one.
    others["payload.score: expected string, got 6"] = "contract"
    assert await letters() == others
    # Each letter that died again says as what.
    dead = await engine.rows("SELECT reason FROM dead_letter WHERE replayed_at IS NOT NULL AND died_again_as IS NULL")
    assert [row["reason"] for row in dead] == ["contract", "contract"]


async def test_an_erasure_finds_dead_cloudevents(engine: Engine) -> None:
    headers, data = binary(1, subject="u%31", tenantid="t1", time=...)
    await publish(engine, (headers, data), ({}, text([cloud(2, tenantid="t1", time=...)])), subject="events.raw")
    await engine.drain()
    async with open_store(engine.settings.database_url) as store:
        assert len(await list_letters(store)) == 2
        await erase_user(store, engine.settings, "t1", "u1", by="test", now=wall_clock())
        assert await list_letters(store) == []
