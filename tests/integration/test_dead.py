from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
import nats
import pytest

from tests.integration.engine import PATIENCE, Engine, event, until_waiting
from tests.integration.pipelines import commit, decoded, pipeline_on, send
from worker.admin.erasure import erase_user
from worker.app import wall_clock
from worker.broker.streams import open_broker
from worker.commands.dead import replay
from worker.commands.dead.replay import Wanted, send_again
from worker.commands.servers import CommandError
from worker.contract.message import Message
from worker.contract.reasons import Reason
from worker.pipeline.dead_letters import (
    REPLAYED,
    CutError,
    ErasedError,
    count_letters,
    list_letters,
    purge_letters,
    replay_letter,
    show_letter,
)
from worker.pipeline.rules_in_force import load_deployed
from worker.store import Session, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from worker.broker.streams import Broker
    from worker.store import Store

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


INT = "event a.done { score: int }\n"
DECIMAL = "event a.done { score: decimal }\n"


async def test_a_batch_of_dead_letters_alone_looks_at_the_rules(engine: Engine) -> None:
    """On a quiet stream nothing else would."""
    await engine.apply(INT)
    async with pipeline_on(engine) as pipeline:
        batch = await decoded(pipeline, [event(1, score=97.5), b"nope"])
        assert [letter.reason for letter in batch.letters] == [Reason.CONTRACT, Reason.MALFORMED_JSON]
        await engine.apply(DECIMAL)
        assert [letter.reason for letter in await commit(pipeline, batch)] == [Reason.MALFORMED_JSON]
    assert len(await engine.rows("SELECT FROM event")) == 1
    assert [row["reason"] for row in await engine.rows("SELECT reason FROM dead_letter")] == ["malformed_json"]


async def test_a_batch_of_only_dead_letters_blocks_no_other_batch(engine: Engine) -> None:
    """It takes no partition: others may commit beside it, and forget nothing."""
    before = await engine.rows("SELECT * FROM partition ORDER BY partition_id")
    connection = await asyncpg.connect(engine.settings.database_url)
    try:
        async with connection.transaction(), pipeline_on(engine) as pipeline:
            await connection.execute("UPDATE partition SET generation = generation")  # as the express way does
            with anyio.fail_after(PATIENCE):
                assert len(await send(pipeline, b"nope")) == 1
    finally:
        await connection.close()
    assert await engine.rows("SELECT * FROM partition ORDER BY partition_id") == before


async def test_applying_rules_waits_for_dead_letters(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    done = anyio.Event()
    rows = Session.rows

    async def looking(session: Session, shape: Callable[..., Any], name: str, **args: object) -> list[Any]:
        if name == "insert_dead_letters":
            tasks.start_soon(apply)
            await until_waiting(engine, done)
            assert not done.is_set()
        return await rows(session, shape, name, **args)

    async def apply() -> None:
        await engine.apply(DECIMAL)
        done.set()

    async with pipeline_on(engine) as pipeline, anyio.create_task_group() as tasks:
        batch = await decoded(pipeline, [b"nope"])
        monkeypatch.setattr(Session, "rows", looking)
        await commit(pipeline, batch)
    assert done.is_set()


@asynccontextmanager
async def servers_of(engine: Engine) -> AsyncGenerator[tuple[Store, Broker]]:
    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        yield store, broker


async def test_a_letter_that_dies_again_points_at_the_new_one(engine: Engine) -> None:
    await engine.apply(INT)
    await engine.publish([event(1, score=97.5), event(2, score=98.5)])
    await engine.drain()
    async with servers_of(engine) as (store, broker):
        second, first = await list_letters(store)
        await replay_letter(store, broker, first, now=wall_clock(), body=json.dumps(event(1, score="x")).encode())
        await replay_letter(store, broker, second, now=wall_clock())
        await engine.drain()
        by_score = {json.loads(one.body)["payload"]["score"]: one for one in await list_letters(store)}
        for letter, again in ((first, by_score["x"]), (second, by_score[98.5])):
            shown = await show_letter(store, letter.dead_letter_id)
            assert shown is not None
            assert shown.died_again_as == again.dead_letter_id > second.dead_letter_id
        # Sent once more, and accepted now: nothing has come of it that is dead.
        await engine.apply(DECIMAL)
        await replay_letter(store, broker, second, now=wall_clock())
        assert (await engine.drain()).events == 1
        shown = await show_letter(store, second.dead_letter_id)
        assert shown is not None
        assert shown.died_again_as is None


@pytest.mark.parametrize(
    ("subject", "body", "header"),
    [
        ("events.t2.u1.a.done", None, None),
        (None, b"forged", None),
        (None, None, "0"),
        (None, None, "9" * 40),
        (None, None, "\u0661"),
        (None, None, "1; DROP TABLE dead_letter"),
    ],
)
async def test_a_forged_header_touches_no_letter(
    engine: Engine, subject: str | None, body: bytes | None, header: str | None
) -> None:
    """A publisher writes the headers: a letter trusts one only with its own subject and the body that was sent."""
    await engine.publish([b"nope"], subject="events.t1.u1.a.done")
    await engine.drain()
    async with servers_of(engine) as (store, broker):
        (letter,) = await list_letters(store)
        await replay_letter(store, broker, letter, now=wall_clock())
        await purge_messages(engine)
        headers = {REPLAYED: header or str(letter.dead_letter_id)}
        await broker.publish(subject or letter.nats_subject, body or letter.body, headers=headers)
        await engine.drain()
        shown = await show_letter(store, letter.dead_letter_id)
        assert shown is not None
        assert shown.died_again_as is None
        assert len(await list_letters(store)) == 1


async def test_a_letter_that_was_not_sent_again_ignores_the_header(engine: Engine) -> None:
    await engine.publish([b"nope"], subject="events.t1.u1.a.done")
    await engine.drain()
    async with servers_of(engine) as (store, broker):
        (letter,) = await list_letters(store)
        await broker.publish(letter.nats_subject, letter.body, headers={REPLAYED: str(letter.dead_letter_id)})
        await engine.drain()
        assert {one.died_again_as for one in await list_letters(store)} == {None}


async def purge_messages(engine: Engine) -> None:
    """Empty the input stream, so that a worker reads what is published from now on."""
    client = await nats.connect(engine.settings.nats_url)
    try:
        await client.jetstream().purge_stream(engine.settings.input_stream)
    finally:
        await client.close()


async def test_a_letter_of_an_erased_user_is_not_sent_again(engine: Engine) -> None:
    await engine.publish([b"[%s" % json.dumps([event(1), event(1, user="u2")]).encode()])
    await engine.publish([{**event(1, user="u3"), "occurred_at": ""}])
    await engine.drain()
    async with servers_of(engine) as (store, broker):
        await erase_user(store, engine.settings, "t1", "u1", by="test", now=wall_clock())
        other, blank = await list_letters(store)
        with pytest.raises(ErasedError, match="has no body any more"):
            await replay_letter(store, broker, blank, now=wall_clock())
        with pytest.raises(ErasedError, match="has no body any more"):
            await replay_letter(store, broker, blank, now=wall_clock(), body=json.dumps(event(1)).encode())
        with pytest.raises(ErasedError, match="names a user who is erased"):
            await replay_letter(store, broker, other, now=wall_clock(), body=json.dumps(event(1)).encode())
        assert {one.replayed_at for one in await list_letters(store)} == {None}


async def test_a_letter_of_which_the_beginning_is_kept_is_sent_mended_or_not_at_all(engine: Engine) -> None:
    await engine.publish([b"[1"])
    await engine.drain()
    await engine.rows("UPDATE dead_letter SET reason = 'oversize'")
    with pytest.raises(CommandError, match="1 dead letter not sent"):
        await send_again(engine.settings, Wanted(reason=Reason.OVERSIZE), None, dry=False)
    async with servers_of(engine) as (store, broker):
        (letter,) = await list_letters(store)
        with pytest.raises(CutError, match="--body"):
            await replay_letter(store, broker, letter, now=wall_clock())
        assert (await list_letters(store))[0].replayed_at is None
        await replay_letter(store, broker, letter, now=wall_clock(), body=json.dumps(event(1)).encode())
    await engine.drain()
    assert len(await engine.rows("SELECT FROM event")) == 1


# -- many at a time ----------------------------------------------------------------------------------------------------


async def test_letters_are_chosen_by_what_they_are(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "PAGE", 2)
    await engine.apply(INT)
    await engine.publish([event(n, score="x") for n in range(5)])
    await engine.publish([{**event(9, "b.done"), "occurred_at": ""}, b'{"event_type": "a.done"', b"nope"])
    await engine.drain()
    first = (await engine.rows("SELECT min(dead_letter_id) AS id FROM dead_letter"))[0]["id"]
    await engine.rows("UPDATE dead_letter SET died_at = 'epoch' WHERE dead_letter_id = $1", first)
    async with open_store(engine.settings.database_url) as store:

        async def chosen(wanted: Wanted) -> list[int]:
            found = replay.letters(store, wanted, first + 7)
            return [letter.dead_letter_id - first async for letter in found]

        assert await chosen(Wanted()) == [0, 1, 2, 3, 4, 5, 6, 7]
        assert await chosen(Wanted(reason=Reason.CONTRACT)) == [0, 1, 2, 3, 4]
        assert await chosen(Wanted(event_type="a.done")) == [0, 1, 2, 3, 4, 6]
        assert await chosen(Wanted(event_type="a.done", since=1)) == [1, 2, 3, 4, 6]
        assert await chosen(Wanted(ids=[first + 6, first], event_type="b.done")) == []
        assert await chosen(Wanted(ids=[first + 6, first])) == [6, 0]
        await engine.rows("UPDATE dead_letter SET replayed_at = now() WHERE dead_letter_id <= $1", first + 2)
        assert await chosen(Wanted(reason=Reason.CONTRACT)) == [3, 4]
        assert [n async for n in replay.letters(store, Wanted(), first - 1)] == []


async def test_a_dry_run_asks_the_contract(engine: Engine) -> None:
    await engine.apply(
        INT + 'achievement t { title "T" scope team when count(event=b.done, >= 1) }\nevent b.done { team: string }'
    )
    async with open_store(engine.settings.database_url) as store:
        rules = await load_deployed(store, engine.settings)

    def said(*events: dict[str, Any]) -> list[tuple[str, str]]:
        return replay.outcomes(rules, "events.raw", json.dumps(events).encode(), now=wall_clock())

    died = "would die again: contract"
    assert said(event(1, score=1), event(1, score="x")) == [
        ("would be accepted", ""),
        (died, 'payload.score: expected int, got "x"'),
    ]
    assert said(event(1, "b.done", team="x" * 600)) == [
        (died, "payload.team: longer than 512 bytes, too long for a subject")
    ]
    assert replay.outcomes(rules, "events.t2.u1.a.done", json.dumps(event(1, score=1)).encode(), now=wall_clock()) == [
        (
            "would die again: tenant_mismatch",
            "tenant_id: the subject says t2; expected the subject events.t1.u1.a.done",
        )
    ]


# -- text of any bytes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        b"A: \x00",
        b"\x00: A",
        b"A: \\u0000",
        b"A: \xed\xa0\x80",
        b'A: "}',
        b"\xff\xfe: x",
        b"A: " + b"x" * 60_000,
        b"Ach-Dead-DeadLetter: \xff",
    ],
)
async def test_headers_of_any_bytes_are_kept(engine: Engine, header: bytes) -> None:
    block = b"NATS/1.0\r\n" + header + b"\r\n\r\n"
    async with pipeline_on(engine) as pipeline:
        decoding = await pipeline.begin()
        decoding.add([Message("events.raw\x00", b"nope\x00", block, 1, "")], now=wall_clock())
        assert len(await commit(pipeline, decoding.done(now=wall_clock()))) == 1
    (row,) = await engine.rows("SELECT headers, body FROM dead_letter")
    assert len(json.loads(row["headers"])) == 1
    assert row["body"] == b"nope\x00"
