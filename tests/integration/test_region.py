"""The broker's time and the producer's region of an event: by either way into the ledger, and in the counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import nats
import pytest

from tests.integration.engine import PATIENCE, Engine, event
from tests.integration.pipelines import sent
from worker.app import wall_clock
from worker.broker.streams import open_broker
from worker.console.now import page_of
from worker.console.pulse import Pulse
from worker.pipeline.dead_letters import list_letters, replay_letter
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

pytestmark = pytest.mark.anyio

SAID: list[tuple[dict[str, Any], dict[str, str], str | None]] = [
    ({}, {}, "fallback"),
    ({}, {"Ach-Region": "eu-west-1"}, "eu-west-1"),
    ({"region": "us"}, {"Ach-Region": "eu"}, "us"),
    ({"region": None}, {"Ach-Region": "eu"}, "eu"),
    ({"region": ""}, {"Ach-Region": ""}, "fallback"),
    ({"region": "n o"}, {"Ach-Region": "eu"}, None),
    ({"region": 7}, {}, None),
    ({}, {"Ach-Region": "e" * 65}, None),
]


async def publish(engine: Engine, body: object, headers: Mapping[str, str] = {}) -> None:
    async with open_broker(engine.settings) as broker:
        await broker.publish("events.raw", json.dumps(body).encode(), headers=dict(headers))


async def times(engine: Engine) -> dict[int, datetime]:
    """Return when the broker stored each message of the input, as its own client says it."""
    client = await nats.connect(engine.settings.nats_url)
    try:
        found = await client.jetstream().subscribe("events.>", ordered_consumer=True)
        messages = [await found.next_msg()]
        while messages[-1].metadata.num_pending:
            messages.append(await found.next_msg())
        return {one.metadata.sequence.stream: one.metadata.timestamp for one in messages}
    finally:
        await client.close()


async def test_both_ways_store_them(engine: Engine) -> None:
    await engine.apply()
    async with engine.worker(region="fallback") as stats:
        for turn, way in enumerate(("long", "fast")):
            before = sum(stats.long_ways.values())
            for number, (own, headers, _) in enumerate(SAID):
                await publish(engine, {**event(number, id=f"{way}-{number}", user=f"u{number}"), **own}, headers)
            array = [{**event(9, id=f"{way}-a{n}", user="u1"), **own} for n, (own, _, _) in enumerate(SAID)]
            await publish(engine, array, {"Ach-Region": "eu"})
            await stats.reach("events", (turn + 1) * 2 * len(SAID))
            assert (sum(stats.long_ways.values()) > before) is (way == "long"), stats.long_ways
    rows = await engine.rows("SELECT event_id, region, published_at, stream_seq, received_at FROM event")
    found = {row["event_id"]: row["region"] for row in rows}
    for way in ("long", "fast"):
        assert [found[f"{way}-{n}"] for n in range(len(SAID))] == [region for _, _, region in SAID]
        regions = [found[f"{way}-a{n}"] for n in range(len(SAID))]
        assert regions == ["eu", "eu", "us", "eu", "eu", None, None, "eu"]
    stored = await times(engine)
    for row in rows:
        off = (row["published_at"] - stored[row["stream_seq"]]).total_seconds()
        assert abs(off) < 0.000_002  # that client reads a double
    shown = await engine.rows("SELECT deduplication_key, broker_time, region FROM v_event")
    assert {(row["deduplication_key"], row["broker_time"], row["region"]) for row in shown} == {
        (row["event_id"], row["published_at"], row["region"]) for row in rows
    }


async def test_the_first_copy_decides(engine: Engine) -> None:
    await engine.apply()
    one = event(1)
    await publish(engine, one, {"Ach-Region": "eu"})
    await publish(engine, one, {"Ach-Region": "us"})
    stats = await engine.drain()
    await publish(engine, [{**one, "region": "ap"}, one])
    again = await engine.drain(region="fallback")
    assert (stats.events, stats.duplicates, again.duplicates, stats.dead, again.dead) == (1, 1, 2, {}, {})
    (row,) = await engine.rows("SELECT region, stream_seq FROM event")
    assert (row["region"], row["stream_seq"]) == ("eu", 1)


async def test_marks_of_rows_within_values_move_neither(engine: Engine) -> None:
    await engine.apply()
    await publish(engine, [event(1, user="u\x1f\x1e1"), {**event(2), "region": "us"}], {"Ach-Region": "eu"})
    await engine.drain()
    rows = await engine.rows("SELECT user_id, region, stream_seq, published_at FROM event ORDER BY occurred_at")
    assert [(row["user_id"], row["region"], row["stream_seq"]) for row in rows] == [
        ("u\x1f\x1e1", "eu", 1),
        ("u1", "us", 1),
    ]
    assert rows[0]["published_at"] == rows[1]["published_at"] is not None


async def test_an_event_that_came_another_way_has_neither(engine: Engine) -> None:
    await engine.apply()
    await sent(engine, event(1))
    (row,) = await engine.rows("SELECT region, published_at FROM event")
    assert (row["region"], row["published_at"]) == (None, None)


async def test_a_dead_letter_that_is_sent_again_keeps_its_region(engine: Engine) -> None:
    await engine.apply()
    letters: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"region": "us"}, {"Ach-Region": "eu"}),
        ({}, {"Ach-Region": "eu"}),
        ({}, {"Ach-Region": "n o"}),
        ({}, {}),
    ]
    for number, (own, headers) in enumerate(letters):
        await publish(engine, {**event(number, id=f"e{number}"), **own, "payload": {"key": 7}}, headers)
    assert sum((await engine.drain()).dead.values()) == len(letters)
    await engine.apply("event a.done { key: int }")
    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        for letter in sorted(await list_letters(store)):
            await replay_letter(store, broker, letter, now=wall_clock())
    await engine.drain(region="fallback")
    rows = await engine.rows("SELECT region, stream_seq FROM event ORDER BY event_id")
    assert [(row["region"], row["stream_seq"]) for row in rows] == [("us", 5), ("eu", 6), (None, 7), ("fallback", 8)]


RULE = 'event a.done { key: string? }\nachievement first { title "First" when count(event=a.done, >= 1) }'


async def test_what_is_counted_is_counted_by_region(engine: Engine) -> None:
    await engine.apply(RULE)
    async with engine.worker(region="home") as stats:
        for number, region in enumerate(("eu", "eu", "us", None)):
            await publish(engine, event(number, user=f"u{number}"), {} if region is None else {"Ach-Region": region})
        await publish(engine, [event(0, user="u0"), {**event(9, user="u9"), "region": "ap"}], {"Ach-Region": "eu"})
        with anyio.fail_after(PATIENCE):
            await stats.reach("answered", 5)
            await stats.reach("duplicates", 1)
    rows = await engine.rows("""
        SELECT region, sum(events)::int AS events, sum(duplicates)::int AS copies, sum(unlocks)::int AS unlocks,
            sum((SELECT sum(n) FROM unnest(latency) AS n))::int AS timed
        FROM minute WHERE tenant_id = 't1' GROUP BY region ORDER BY region
    """)
    assert [tuple(row.values()) for row in rows] == [
        ("ap", 1, 0, 1, 1),
        ("eu", 2, 1, 2, 2),
        ("home", 1, 0, 1, 1),
        ("us", 1, 0, 1, 1),
    ]
    async with open_store(engine.settings.database_url) as store:
        page = page_of(await Pulse(store, prefix="events", now=wall_clock).snapshot())
    assert [(one.name, one.unlocks) for one in page.regions] == [("ap", 1), ("eu", 2), ("home", 1), ("us", 1)]
    assert all(one.p50 is not None and 0 < one.p50 < PATIENCE for one in page.regions)
