"""Erasing a user: nothing of them stays, nothing of others goes, and it costs what the user has done."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import nats
import pytest

from tests.integration.engine import PATIENCE, RULES, Engine, event, until_waiting
from tests.integration.pipelines import decoded, pipeline_on, send
from worker.admin.backfill import bring_up_to_date
from worker.admin.erasure import Erased, erase_user, is_known
from worker.admin.purge import Purged, PurgeRefusedError, purge_streams
from worker.app import wall_clock
from worker.broker.streams import BrokerAwayError, open_broker
from worker.contract.message import Message
from worker.contract.named_users import name_token
from worker.contract.partition import event_subject, partition_of
from worker.engine import folding
from worker.pipeline.dead_letters import BLANKED
from worker.pipeline.outbox import Claimed, announcement, unlock_subject
from worker.store import Session, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from worker.engine.batch import DeadLetter
    from worker.engine.stats import Stats
    from worker.pipeline.pipeline import Pipeline

pytestmark = pytest.mark.anyio

TEAM = 'achievement team { title "Team" scope team when count(event=a.done, >= 3) }\n'
LONG = "x" * 300
OTHER = json.dumps({"tenant_id": "t1", "user_id": "u2"})
BROKEN = {"occurred_at": ""}
"""Makes an event one of no contract."""


async def erase(engine: Engine, user: str = "u1", tenant: str = "t1") -> Erased:
    async with open_store(engine.settings.database_url) as store:
        return await erase_user(store, engine.settings, tenant, user, by="test", now=wall_clock())


async def letters(engine: Engine) -> list[dict[str, Any]]:
    return await engine.rows("SELECT * FROM dead_letter ORDER BY dead_letter_id")


async def send_on(pipeline: Pipeline, *messages: tuple[str, bytes], seq: int = 1) -> list[DeadLetter]:
    """Commit messages on subjects of their own as one batch."""
    decoding = await pipeline.begin()
    made = [Message(subject, body, b"", seq + n, "") for n, (subject, body) in enumerate(messages)]
    decoding.add(made, now=wall_clock())
    return await pipeline.commit(decoding.done(now=wall_clock()), waiting=_nothing)


async def _nothing() -> None:
    pass


def spoilt(user: str = "u1", **changes: object) -> bytes:
    return json.dumps({**event(1, user=user), **BROKEN, **changes}).encode()


# -- dead letters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("events.raw", spoilt()),
        ("events.raw", b"[%s]" % spoilt()),
        ("events.raw", spoilt()[:-3]),
        ("events.raw", b'{"tenant_id": "t1", "user_id": "u1", "x": "\xff"}'),
        ("events.raw", b'{"tenant_id": "t1", "user_id": "u1", "x": %s' % (b"[" * 5000)),
        ("events.raw", b"{'tenant_id': 't1', 'user_id': 'u1'}"),
        ("events.t1.u1.a.done", b"nope"),
        ("events.t1.u1", b"nope"),
        ("events.t1.~batch.a", b'{"user_id": "u1"}'),
    ],
)
async def test_a_dead_letter_that_names_the_user_goes(engine: Engine, subject: str, body: bytes) -> None:
    async with pipeline_on(engine) as pipeline:
        await send_on(pipeline, (subject, body))
        await send_on(pipeline, ("events.raw", spoilt("u2")), ("events.raw", spoilt(tenant_id="t2")), seq=9)
        assert (await erase(engine)).dead_letters == 1
        assert len(await letters(engine)) == 2
        # And later ones are not kept at all.
        assert await send_on(pipeline, (subject, body)) == []
    assert [json.loads(row["body"])["tenant_id"] for row in await letters(engine)] == ["t1", "t2"]
    assert await engine.rows("SELECT FROM dead_letter_user WHERE tenant_token = 't1' AND user_token = 'u1'") == []


async def test_a_user_whose_token_is_a_hash(engine: Engine) -> None:
    subject = f"events.t1.{name_token(LONG)}.a.done"
    async with pipeline_on(engine) as pipeline:
        await send_on(pipeline, (subject, b"nope"), ("events.raw", spoilt(LONG)))
        assert (await erase(engine, LONG)).dead_letters == 2
        assert await send_on(pipeline, (subject, b"nope"), ("events.raw", spoilt(LONG))) == []
    assert await letters(engine) == []


async def test_a_letter_of_several_users_loses_its_body(engine: Engine) -> None:
    body = b"[%s, %s, x]" % (spoilt(), spoilt("u2"))
    headers = b"NATS/1.0\r\nNats-Msg-Id: t1:u1\r\n\r\n"
    async with pipeline_on(engine) as pipeline:
        decoding = await pipeline.begin()
        decoding.add([Message("events.t1.u1.batch", body, headers, 1, "")], now=wall_clock())
        await pipeline.commit(decoding.done(now=wall_clock()), waiting=_nothing)
        assert (await erase(engine)).dead_letters == 1
        await send_on(pipeline, ("events.raw", body), seq=2)
    rows = await letters(engine)
    assert [(row["body"], row["headers"], row["detail"], row["nats_subject"]) for row in rows] == [
        (b"", "{}", BLANKED, "")
    ] * 2
    assert all(row["erased_at"] is not None for row in rows)
    # When the last of them is erased, nothing is left to keep.
    assert (await erase(engine, "u2")).dead_letters == 2
    assert await letters(engine) == []


async def test_a_user_without_a_tenant_may_be_anybodys(engine: Engine) -> None:
    body = b'{"user_id": "u1", "secret": 1}'
    async with pipeline_on(engine) as pipeline:
        await send_on(pipeline, ("events.raw", body))
        assert (await erase(engine)).dead_letters == 1
        assert len(await send_on(pipeline, ("events.raw", body), seq=2)) == 1
    assert [row["body"] for row in await letters(engine)] == [b"", b""]


async def test_a_dead_letter_that_came_too_late_is_counted_and_acknowledged(engine: Engine) -> None:
    await engine.publish([event(1)])
    await engine.drain()
    await erase(engine)
    await engine.publish([{**event(2), **BROKEN}, {**event(2, user="u2"), **BROKEN}], subject="events.raw")
    stats = await engine.drain()
    assert (stats.erased, dict(stats.dead), stats.messages) == (1, {"invalid_event": 1}, 2)
    async with open_broker(engine.settings) as broker:
        assert await broker.backlog() == 0
    assert len(await letters(engine)) == 1


async def test_what_older_workers_have_written_is_read(engine: Engine) -> None:
    """They noted no names, and their tombstones have no tokens."""
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, *(spoilt(f"u{n}", event_id=f"{n}") for n in range(1, 6)))
        await engine.rows("DELETE FROM dead_letter_user")
        await engine.rows("UPDATE dead_letter SET names_read = false")
        assert await known(engine, "u3")
        await engine.rows("UPDATE dead_letter SET names_read = false")
        await engine.rows("DELETE FROM dead_letter_user")
        assert (await erase(engine)).dead_letters == 1
        await engine.rows("UPDATE erasure SET tenant_token = NULL, user_token = NULL")
        assert await send_on(pipeline, ("events.raw", spoilt())) == []
    assert len(await letters(engine)) == 4
    assert len(await engine.rows("SELECT FROM erasure WHERE user_token IS NOT NULL")) == 1


class Pause:
    """Stops each task that is about to run a statement, until `go` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.there, self.go = anyio.Event(), anyio.Event()
        run, rows = Session.run, Session.rows

        async def running(session: Session, asked: str, **args: object) -> int:
            await self._wait(asked, name)
            return await run(session, asked, **args)

        async def asking(session: Session, shape: Callable[..., Any], asked: str, **args: object) -> list[Any]:
            await self._wait(asked, name)
            return await rows(session, shape, asked, **args)

        monkeypatch.setattr(Session, "run", running)
        monkeypatch.setattr(Session, "rows", asking)

    async def _wait(self, asked: str, name: str) -> None:
        if asked == name and not self.there.is_set():
            self.there.set()
            with anyio.fail_after(PATIENCE):
                await self.go.wait()


async def test_an_erasure_waits_for_writers_of_dead_letters(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """That one has asked the tombstones already."""
    pause = Pause(monkeypatch, "insert_dead_letters")
    async with pipeline_on(engine) as pipeline, anyio.create_task_group() as tasks:
        tasks.start_soon(send_on, pipeline, ("events.raw", spoilt()))
        await pause.there.wait()
        tasks.start_soon(erase, engine)
        await until_waiting(engine)
        pause.go.set()
    assert await letters(engine) == []


async def test_writers_of_dead_letters_wait_for_an_erasure(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tombstone cannot be seen yet."""
    pause = Pause(monkeypatch, "erase_dead_letters")
    async with pipeline_on(engine) as pipeline, anyio.create_task_group() as tasks:
        tasks.start_soon(erase, engine)
        await pause.there.wait()
        tasks.start_soon(send_on, pipeline, ("events.raw", spoilt()))
        await until_waiting(engine)
        pause.go.set()
    assert await letters(engine) == []


# -- what others share -------------------------------------------------------------------------------------------------


async def test_a_checkpoint_that_has_seen_the_user_goes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(folding, "CHECKPOINT_BYTES", 10_000)
    await engine.apply(RULES + TEAM)
    async with pipeline_on(engine) as pipeline:
        for n in range(8):
            await send(pipeline, event(n, user="u1" if n in {5, 6} else "u2", team="red"))
    marks = "SELECT mark_id FROM checkpoint WHERE scope = 'team' ORDER BY mark_at"
    assert [row["mark_id"] for row in await engine.rows(marks)] == [
        "a.done-1-u2", "a.done-3-u2", "a.done-5-u1", "a.done-7-u2"
    ]  # fmt: skip
    erased = await erase(engine)
    assert [row["mark_id"] for row in await engine.rows(marks)] == ["a.done-1-u2", "a.done-3-u2"]
    await up_to_date(engine, erased)
    (row,) = await engine.rows("SELECT state, mark_id FROM progress WHERE scope = 'team'")
    await engine.rows("DELETE FROM progress")
    await engine.rows("DELETE FROM checkpoint")
    await engine.backfill()
    assert await engine.rows("SELECT state, mark_id FROM progress WHERE scope = 'team'") == [row]


async def up_to_date(engine: Engine, erased: Erased) -> None:
    async with open_store(engine.settings.database_url) as store:
        await bring_up_to_date(store, engine.settings, erased.since, now=wall_clock)


@pytest.mark.parametrize("by", ["the command", "the next event"])
async def test_a_team_that_was_the_user_alone_is_contested(engine: Engine, by: str) -> None:
    await engine.apply(RULES + TEAM)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, *(event(n, team="red") for n in range(3)))
        erased = await erase(engine)
        if by == "the command":
            await up_to_date(engine, erased)
        else:
            await send(pipeline, event(9, user="u2", team="red"))
    assert (await engine.unlocks())["red", "team"] == "contested"


async def test_only_partitions_that_are_concerned_are_held(engine: Engine) -> None:
    """Who remembers others goes on without reading again."""
    await engine.apply(RULES + TEAM)
    generations = "SELECT partition_id, generation, owner FROM partition ORDER BY partition_id"
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, *(event(n, team=f"team{n}", user="u1") for n in range(9)), event(1, user="u2"))
        before = await engine.rows(generations)
        await erase(engine, "ghost")
        await erase(engine)
    after = await engine.rows(generations)
    moved = {row["partition_id"] for row, was in zip(after, before, strict=True) if row != was}
    wanted = [("t1", "user", "u1"), ("t1", "user", "ghost"), ("t1", "tenant", "t1")]
    wanted += [("t1", "team", f"team{n}") for n in range(9)]
    assert moved == {partition_of(*subject) for subject in wanted}
    assert {row["owner"] for row in after if row["partition_id"] in moved} == {""}


async def test_a_tenant_without_the_user_is_not_folded_anew(engine: Engine) -> None:
    await engine.apply(RULES + 'achievement all { title "All" scope tenant when count(event=a.done, >= 2) }')
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1), event(2))
    erased = await erase(engine, "ghost")
    assert erased == Erased(0, 0, 0, 0, (), {}, again=False)
    assert len(await engine.rows("SELECT FROM progress WHERE scope = 'tenant'")) == 1
    assert {subject.scope for subject in (await erase(engine)).shared} == {"tenant"}
    assert (await erase(engine)).again


MANY = """
INSERT INTO event
SELECT
    't1', 'e' || n, 'v' || n % 997, 'a.done', timestamptz '2026-01-01Z' + n * interval '10 s', 0, NULL, NULL, NULL,
    now(), n
FROM generate_series(1, 30000) n;
INSERT INTO event_subject
SELECT tenant_id, 'team', 'blue', occurred_at, event_id FROM event WHERE user_id LIKE 'v%';
INSERT INTO progress
SELECT 't1', 'user', 'v' || n, 's', now(), 'e', '{}', 1, now() FROM generate_series(0, 996) n;
INSERT INTO dead_letter (
    stream, stream_seq, element, digest, reason, detail, nats_subject, headers, body, deliveries, died_at, names_read)
SELECT 'EVENTS', -n, 0, '', 'contract', '', 'events.raw', '{}', '', 1, now(), true FROM generate_series(1, 5000) n;
INSERT INTO dead_letter_user SELECT dead_letter_id, 't1', 'v' || dead_letter_id % 997 FROM dead_letter;
"""
READ = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables"


@pytest.mark.parametrize("user", ["v7", "ghost"])
async def test_it_costs_what_the_user_has_done(engine: Engine, monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    """These tables have not been analysed since they were empty."""
    read: list[int] = []
    run = Session.run

    async def looking(session: Session, name: str, **args: object) -> int:
        done = await run(session, name, **args)
        if name == "blank_dead_letters":
            read.append(await session._connection.fetchval(READ))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return done

    for table in ("event", "event_subject", "progress", "dead_letter", "dead_letter_user", "erasure"):
        await engine.rows(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        await engine.rows(f"ANALYZE {table}")
    async with open_store(engine.settings.database_url) as store, store.transaction() as session:
        await session.script(MANY)
    monkeypatch.setattr(Session, "run", looking)
    erased = await erase(engine, user)
    assert (erased.events > 0, erased.dead_letters > 0) == (user != "ghost",) * 2
    assert sum(read) < 40 * (erased.events + erased.dead_letters) + 100


# -- whether there is anything -----------------------------------------------------------------------------------------


async def known(engine: Engine, user: str, tenant: str = "t1") -> bool:
    async with open_store(engine.settings.database_url) as store:
        return await is_known(store, engine.settings, tenant, user)


async def test_a_user_is_known_by_anything_that_is_kept(engine: Engine) -> None:
    async with pipeline_on(engine) as pipeline:
        assert not await known(engine, "u1")
        await send(pipeline, event(1), spoilt("u2"))
        assert await known(engine, "u1")
        assert await known(engine, "u2")
        assert not await known(engine, "u1", "t2")
        await erase(engine)
        assert await known(engine, "u1")
        assert not await known(engine, "u3")


# -- the broker's streams ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def jetstream(engine: Engine) -> AsyncGenerator[Any]:
    client = await nats.connect(engine.settings.nats_url)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def subjects_in(engine: Engine, stream: str) -> dict[str, int]:
    async with jetstream(engine) as js:
        return dict((await js.stream_info(stream, subjects_filter=">")).state.subjects or {})


async def purge(engine: Engine, user: str = "u1", tenant: str = "t1") -> Purged:
    return await purge_streams(engine.settings, tenant, user)


def claimed(subject: str, scope: str = "user") -> Claimed:
    unlock_id = "00000000-0000-8000-8000-000000000000"
    return Claimed(unlock_id, "t1", scope, subject, "three", "", "", 1, 1, "e", 1, "{}")  # pyright: ignore[reportArgumentType]


async def test_a_purge_finds_the_user_and_no_other(engine: Engine) -> None:
    users = ["u1", "u10", "u1.a", "u*", "u>", "~u1", LONG, LONG + "y", "ü"]
    async with open_broker(engine.settings) as broker:
        for user in users:
            await broker.publish(event_subject("events", "t1", user, "a.done"), b"1")
            await broker.publish(event_subject("events", "t2", user, "a.done"), b"1")
            for scope in ("user", "team"):
                one = claimed(user, scope)
                await broker.publish(unlock_subject("unlocks", one, scope), announcement(one, scope))
        for subject in ("events.t1.u1", "events.raw", "events.t1", "events.t1.~batch.a", "unlocks.t1.u1.three.odd"):
            await broker.publish(subject, b"1")
    left = {**await subjects_in(engine, "EVENTS"), **await subjects_in(engine, "UNLOCKS")}
    for user in users:
        expected = {event_subject("events", "t1", user, "a.done"), f"unlocks.t1.{name_token(user)}.three.user"}
        expected |= {"events.t1.u1"} if user == "u1" else set()
        assert await purge(engine, user) == Purged(len(expected) - 1, 1)
        left = {subject: n for subject, n in left.items() if subject not in expected}
        assert {**await subjects_in(engine, "EVENTS"), **await subjects_in(engine, "UNLOCKS")} == left
        assert await purge(engine, user) == Purged(0, 0)
    assert "unlocks.t1.u1.three.team" in left


async def test_what_is_purged_is_not_announced_again(engine: Engine) -> None:
    await engine.publish(event(n) for n in range(3))
    await engine.publish([event(n, user="u2") for n in range(3)])
    await engine.drain()
    await erase(engine)
    assert await purge(engine) == Purged(3, 2)
    await engine.publish([*(event(n, id=f"again-{n}") for n in range(4)), event(4, user="u2")])
    stats: Stats = await engine.drain()
    assert (stats.erased, stats.events, stats.announced) == (4, 1, 0)
    said = {(one["subject"], one["kind"]) for one in await engine_announced(engine)}
    # All that is said of the user is that they are erased.
    assert said == {("u1", "erased"), ("u2", "granted")}


async def engine_announced(engine: Engine) -> Sequence[dict[str, Any]]:
    async with jetstream(engine) as js:
        return [
            json.loads((await js.get_last_msg("UNLOCKS", subject)).data)
            for subject in await subjects_in(engine, "UNLOCKS")
        ]


async def test_a_stream_that_denies_purges_and_a_broker_that_is_away(engine: Engine) -> None:
    assert await purge(engine) == Purged(0, 0)  # no streams at all
    async with jetstream(engine) as js:
        await js.add_stream(name="EVENTS", subjects=["events.>"], deny_purge=True)
    with pytest.raises(PurgeRefusedError, match="EVENTS"):
        await purge(engine)
    with pytest.raises(BrokerAwayError):
        await purge(engine.with_settings(nats_url="nats://127.0.0.1:1"))


async def test_decoded_letters_keep_their_order(engine: Engine) -> None:
    """If some letters of a batch are not kept, the others still decide what happens to their messages."""
    await erase(engine)
    async with pipeline_on(engine) as pipeline:
        batch = await decoded(pipeline, [spoilt("u2"), spoilt(), b"[%s, %s]" % (spoilt("u3"), spoilt())])
        kept = await pipeline.commit(batch, waiting=_nothing)
    assert [(letter.message.seq, letter.element) for letter in kept] == [(1, 0), (3, 0)]
