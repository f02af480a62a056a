from __future__ import annotations

import json

import pytest

from tests.integration.engine import Engine, event
from worker.app import wall_clock
from worker.dead import count_letters, list_letters, purge_letters, replay_letter, show_letter
from worker.store import open_store
from worker.stream import open_broker
from worker.verdict import Reason

pytestmark = pytest.mark.anyio


async def test_listed_mended_sent_again_and_purged(engine: Engine) -> None:
    await engine.publish([b"nope", {**event(1), "user_id": "u1", "event_id": ""}])
    await engine.drain()
    settings = engine.settings
    async with open_store(settings.database_url) as store:
        assert await count_letters(store) == {"malformed_json": 1, "invalid_event": 1}
        (letter,) = await list_letters(store, reason=Reason.INVALID_EVENT)
        assert letter.detail == "event_id: empty"
        assert letter.nats_subject == "events.t1.u1.a.done"
        assert await show_letter(store, letter.dead_letter_id) == letter
        async with open_broker(settings) as broker:
            mended = json.dumps(event(1)).encode()
            await replay_letter(store, broker, letter, now=wall_clock(), body=mended)
        assert await list_letters(store, reason=Reason.INVALID_EVENT) == []
        assert (await engine.drain()).events == 1
        assert await purge_letters(store, reason=Reason.MALFORMED_JSON) == 1
        assert await purge_letters(store, before=0) == 0
        assert len(await list_letters(store, replayed=True)) == 1


async def test_a_dead_letter_that_dies_again_is_another_one(engine: Engine) -> None:
    await engine.publish([b"nope"])
    await engine.drain()
    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        (letter,) = await list_letters(store)
        await replay_letter(store, broker, letter, now=wall_clock())
    await engine.drain()
    async with open_store(engine.settings.database_url) as store:
        (again,) = await list_letters(store)
        assert again.dead_letter_id != letter.dead_letter_id
        assert json.loads(again.headers) == {"Ach-Dead-Letter": str(letter.dead_letter_id)}
