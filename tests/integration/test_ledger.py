"""What the ledger has of an event is what it said, whichever way it came there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dsl.calendar import format_instant
from dsl.payload import instant
from tests.integration.engine import event
from tests.integration.pipelines import commit, decoded, pipeline_on, send

if TYPE_CHECKING:
    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

SAME = ["user_id", "event_type", "source"]
USUAL = "2026-04-13T09:00:00.000001Z"
INSTANTS = [
    USUAL,
    "2026-04-13T09:00:00Z",
    "2026-04-13t09:00:00.000001Z",
    "2026-04-13T09:00:00.000001z",
    "2026-04-13T09:00:00.0000019Z",
    "2026-04-13T09:00:00.000001+00:00",
    "2026-04-13T00:30:00.25-23:59",
    "2016-12-31T23:59:60.250000Z",
    "2016-12-31T23:59:59.999999Z",
    "0001-01-01T00:00:00.000000Z",
    "0999-12-31T23:59:59.999999Z",
]
TEXTS = ["plain", "\x1f", "a\x1fb\x1ec", "\x1e", "\x1d\x01\t\n\r\v", "\\N", "=", "\U00100000\U00100001", "'{\"$1,"]
SOURCES: list[str | None] = [None, "", "=", "web", "\x1f", "\\N", "null"]


def sample_events() -> list[dict[str, Any]]:
    """Return events that say all of it somewhere, those that are known to be new first."""
    odd = [event(n, id=f"{text}{n}", user=text, tenant=text, type=text) for n, text in enumerate(TEXTS)]
    dated = [event(0, id=f"i{n}") | {"occurred_at": text} for n, text in enumerate(INSTANTS)]
    sent = [event(n, id=f"s{n}", user="u2") | {"source": source} for n, source in enumerate(SOURCES)]
    bare = [{name: value for name, value in event(20, id="bare", user="u2").items() if name != "payload"}]
    return [*odd, *dated, *sent, *bare]


@pytest.mark.parametrize("batch", [1, 3, 100])
async def test_events_are_kept_as_they_were_published(engine: Engine, batch: int) -> None:
    events = sample_events()
    async with pipeline_on(engine) as pipeline:
        for at in range(0, len(events), batch):
            assert await commit(pipeline, await decoded(pipeline, events[at : at + batch])) == []
    await expect_kept(engine, events)


async def test_the_express_way_keeps_them_too(engine: Engine, statements: list[str]) -> None:
    began, odd = [event(0, user="u1")], sample_events()[: len(TEXTS)]
    known = [one | {"user_id": "u1", "tenant_id": "t1"} for one in odd[1:]]
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, *began)
        statements.clear()
        for one in ([known[0]], known[1:]):
            assert await commit(pipeline, await decoded(pipeline, one)) == []
    assert set(statements) == {"commit_fast"}
    await expect_kept(engine, [*began, *known])


async def expect_kept(engine: Engine, events: list[dict[str, Any]]) -> None:
    rows = await engine.rows("SELECT *, (extract(epoch FROM occurred_at) * 1000000)::bigint AS at FROM event")
    kept = {(row["event_id"], row["tenant_id"]): row for row in rows}
    assert len(kept) == len(rows) == len(events)
    for one in events:
        row = kept[one["event_id"], one["tenant_id"]]
        assert [row[name] for name in SAME] == [one.get(name) for name in SAME]
        assert row["payload"] == (json.dumps(one["payload"]) if "payload" in one else None)
        read = instant(one["occurred_at"])
        assert read is not None
        assert row["at"] == read[0], one["occurred_at"]
        assert row["utc_offset"] == read[1]
        # Where occurred_at by itself says what was written, there is no text.
        plain = format_instant(read[0]) == one["occurred_at"]
        assert row["occurred_at_text"] == (None if plain else one["occurred_at"])
