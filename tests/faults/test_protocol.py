"""The protocol between a worker and its servers, step by step: what a wrong step would break shows here first.

Most of these were written for a planted bug that every other test let through (docs/planted-bugs.md).
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
import pytest

from dsl.outcome import Subject
from tests.integration.engine import PATIENCE, RULES, Engine, Watched, event, until_waiting
from tests.integration.pipelines import commit, decoded, pipeline_on, send
from worker.admin import outdated, sweep
from worker.admin.rollout import apply_rules
from worker.app import wall_clock
from worker.broker.streams import Broker, BrokerAwayError, open_broker
from worker.contract.partition import partition_of
from worker.engine import fast_users, folding
from worker.engine.pace import Courtesy
from worker.engine.rule_set import RuleFile
from worker.engine.stats import Stats
from worker.pipeline import outbox as relaying
from worker.pipeline.outbox import OutboxRelay
from worker.pipeline.pipeline import Pipeline, StoppedError
from worker.settings import Clock
from worker.store import Session, Store, UnavailableError, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from worker.broker.announce import Announced, Announcement
    from worker.contract.message import Message
    from worker.engine.batch import Batch, DeadLetter
    from worker.pipeline.pipeline import Committed

pytestmark = pytest.mark.anyio

TEAM = 'achievement team { title "Team" scope team when count(event=a.done, >= 3) }\n'
PAIR = 'achievement pair { title "Pair" when count(event=a.done, >= 2, unless=b.done) settle 100h }\n'


# -- means ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def held(engine: Engine, partition: int) -> AsyncGenerator[asyncpg.Connection]:
    """Hold a partition as another worker would."""
    connection = await asyncpg.connect(engine.settings.database_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM partition WHERE partition_id = $1 FOR UPDATE", partition)
            yield connection
    finally:
        await connection.close()


class Failing:
    """Makes a named statement fail: each time, or the first times alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, times: int | None = None) -> None:
        self.failed = 0
        self.twice = anyio.Event()
        run = Session.run

        async def failing(session: Session, asked: str, **args: object) -> int:
            if asked == name and (times is None or self.failed < times):
                self.failed += 1
                if self.failed > 1:
                    self.twice.set()
                raise UnavailableError("planted")
            return await run(session, asked, **args)

        monkeypatch.setattr(Session, "run", failing)


# -- locks and order -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", [Subject("t1", "user", "u1"), Subject("t1", "team", "red")])
async def test_a_batch_waits_for_the_partitions_of_all_its_subjects(engine: Engine, subject: Subject) -> None:
    await engine.apply(RULES + TEAM)
    done = anyio.Event()
    async with pipeline_on(engine) as pipeline, anyio.create_task_group() as tasks:
        batch = await decoded(pipeline, [event(n, team="red") for n in range(3)])

        async def work() -> None:
            await commit(pipeline, batch)
            done.set()

        async with held(engine, partition_of(*subject)):
            tasks.start_soon(work)
            await until_waiting(engine, done)
            assert not done.is_set()
            assert await engine.rows("SELECT FROM event") == []
    assert len(await engine.rows("SELECT FROM unlock WHERE achievement IN ('three', 'team')")) == 2


async def test_a_backfill_waits_for_the_partition(engine: Engine) -> None:
    await engine.publish(event(n) for n in range(3))
    await engine.drain()
    await engine.apply(RULES + TEAM.replace("scope team", ""))
    done = anyio.Event()

    async def work() -> None:
        await engine.backfill()
        done.set()

    async with anyio.create_task_group() as tasks, held(engine, partition_of("t1", "user", "u1")):
        tasks.start_soon(work)
        await until_waiting(engine, done)
        assert not done.is_set()
    assert ("u1", "team") in await engine.unlocks()


@pytest.mark.parametrize("known", [False, True])
async def test_partitions_are_locked_in_order(engine: Engine, *, known: bool) -> None:
    events = [event(100 - n, user=f"u{n}") for n in range(60)]
    wanted = sorted({partition_of("t1", "user", f"u{n}") for n in range(60)})
    middle = wanted[len(wanted) // 2]
    done = anyio.Event()
    async with pipeline_on(engine) as pipeline, anyio.create_task_group() as tasks:
        if known:  # then one statement locks them and does all the rest
            before = [event(0, user=f"u{n}") for n in range(60)]
            await send(pipeline, *before)
        batch = await decoded(pipeline, events)

        async def work() -> None:
            await commit(pipeline, batch)
            done.set()

        async with held(engine, middle):
            tasks.start_soon(work)
            await until_waiting(engine, done)
            rows = await engine.rows("SELECT partition_id FROM partition FOR UPDATE SKIP LOCKED")
            free = {row["partition_id"] for row in rows}
            # A session that waits in the middle holds everything before it, and nothing after it.
            assert [one for one in wanted if one not in free] == [one for one in wanted if one <= middle]


SUBJECT = ("tenant_id", "scope", "subject")
KEYS: dict[str, dict[str, tuple[str, ...]]] = {
    "take_partitions": {"partitions": ()},
    "insert_events": {"events": ("text",)},
    "insert_event_subjects": {"members": (*SUBJECT, "occurred_at", "event_id")},
    "save_progress": {
        "progress": SUBJECT,
        "checkpoints": (*SUBJECT, "mark_at", "mark_id"),
        "pruned": SUBJECT,
        "positions": (*SUBJECT, "at", "id"),
    },
    "grant_unlocks": {"unlocks": (*SUBJECT, "achievement", "tier", "occurrence")},
    "amend_unlocks": {"amended": ("unlock_id",)},
    "contest_unlocks": {"contested": ("unlock_id",)},
    "withdraw_unlocks": {"unlock_ids": ()},
    "insert_dead_letters": {"letters": ("stream_seq", "element")},
    "insert_letter_users": {"names": ("dead_letter_id", "tenant_token", "user_token")},
    "mark_announced": {"unlock_ids": ()},
    "mark_published": {"unlock_ids": ()},
    "commit_fast": {
        "partitions": (),
        "events": ("text",),
        "progress": SUBJECT,
        "checkpoints": (*SUBJECT, "mark_at", "mark_id"),
        "positions": (*SUBJECT, "at", "id"),
        "unlocks": (*SUBJECT, "achievement", "tier", "occurrence"),
        "amended": ("unlock_id",),
    },
}
"""Statements that write or lock several rows, and the arguments that are the columns of their keys, by group.

An event's row is one text, which begins with the key; a column of progress is one, too.
"""


async def test_rows_are_written_in_the_order_of_their_keys(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or two transactions that write the same rows may wait for each other."""
    monkeypatch.setattr(folding, "CHECKPOINT_EVERY", 2)
    written: dict[str, int] = {}
    run, rows = Session.run, Session.rows

    def look(name: str, args: dict[str, Any]) -> None:
        for group, fields in KEYS.get(name, {}).items():
            columns = [args[f"{group}.{field}"] for field in fields] or [args[group]]
            if group == "progress":
                columns = [column.split(args["progress.separator"])[:-1] for column in columns]
            if group == "events":
                columns = [text.split(args["events.record"]) for text in columns]
            keys = list(zip(*columns, strict=True))
            label = f"{name} {group}"
            assert keys == sorted(keys), label
            written[label] = max(written.get(label, 0), len(keys))

    async def looking_run(session: Session, name: str, **args: object) -> int:
        look(name, args)
        return await run(session, name, **args)

    async def looking_rows(session: Session, shape: Callable[..., Any], name: str, **args: object) -> list[Any]:
        look(name, args)
        return await rows(session, shape, name, **args)

    monkeypatch.setattr(Session, "run", looking_run)
    monkeypatch.setattr(Session, "rows", looking_rows)
    await engine.apply(RULES + TEAM + PAIR)
    users = [f"u{n * 7 % 30}" for n in range(30)]
    await engine.publish(event(n, user=user, team=user, id=f"{n * 3}-{user}") for n in (1, 3, 5) for user in users)
    await engine.drain(clock=Clock.STREAM)
    # As if the worker had died before it marked what it had announced.
    await engine.rows("UPDATE unlock SET published_at = NULL")
    await engine.drain(clock=Clock.STREAM)
    # From here on by the batch: a worker cuts its batches as messages arrive, and takes the way that each is worth.
    async with pipeline_on(engine.with_settings(clock=Clock.STREAM)) as pipeline:
        # Early ones amend; one in the middle contests, and withdraws what settles.
        late = [event(0, user=user, team=user) for user in users[:15]]
        late += [event(n, "b.done", user=user) for n in (2, 4) for user in users[15:]]
        await send(pipeline, *late, b"no", b"not", b"[1, 2, 3]", b'[{"user_id": "z"}, {"user_id": "y"}')
        # The users known by now do what no other subject hears, and some of it is late.
        for hours in ((40, 41), (50, 51, 52, 53), (45, 46)):
            kinds = {n: "c.done" if n > 52 else "a.done" for n in hours}
            events = [event(n, kinds[n], user=user, id=f"{n * 7}-{user}") for n in hours for user in users]
            await send(pipeline, *events)
        # What moves their grants goes no other way.
        events = [event(0, user=user, id=f"0-{user}") for user in users[:15]]
        await send(pipeline, *events)
        # What is late goes the long way too, where little goes the other.
        monkeypatch.setattr(fast_users, "WORTH_IT", 2)
        events = [event(42, user=user, id=f"294-{user}") for user in users]
        await send(pipeline, *events)
    labels = {f"{name} {group}" for name, groups in KEYS.items() for group in groups}
    assert {label for label, count in written.items() if count > 1} == labels


# -- commits and acknowledgements ----------------------------------------------------------------------------


async def test_nothing_is_acknowledged_before_it_is_committed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await engine.publish([*(event(n) for n in range(5)), b"poison"])
    failing = Failing(monkeypatch, "save_progress")
    async with engine.worker(), open_broker(engine.settings) as broker:
        with anyio.fail_after(PATIENCE):
            await failing.twice.wait()
        assert await broker.backlog() == 6
    monkeypatch.undo()
    assert await engine.rows("SELECT FROM dead_letter") == []
    with anyio.fail_after(10):  # what was not committed was given back, without waiting for a timeout
        stats = await engine.drain()
    assert (stats.events, stats.dead) == (5, {"malformed_json": 1})


async def test_a_batch_is_acknowledged_when_every_piece_is_committed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_piece, begun, one_done, go_on = Pipeline.commit, 0, anyio.Event(), anyio.Event()

    async def committing(
        pipeline: Pipeline, batch: Batch, *, waiting: Callable[[], Awaitable[None]]
    ) -> list[DeadLetter]:
        nonlocal begun
        begun += 1
        if begun > 1:
            await go_on.wait()
        letters = await commit_piece(pipeline, batch, waiting=waiting)
        one_done.set()
        return letters

    monkeypatch.setattr(Pipeline, "commit", committing)
    # One message, so that it is one batch: its events are of users of both writers.
    await engine.publish([json.dumps([event(n, user=f"u{n}") for n in range(30)]).encode()])
    async with engine.worker(writers=2, writer_events=1) as stats, open_broker(engine.settings) as broker:
        with anyio.fail_after(PATIENCE):
            await one_done.wait()
        await anyio.wait_all_tasks_blocked()
        assert 0 < len(await engine.rows("SELECT FROM event")) < 30
        assert (await broker.backlog(), stats.messages) == (1, 0)
        go_on.set()
        await stats.reach("messages", 1)
    assert (await engine.drain()).events == 0
    assert len(await engine.rows("SELECT FROM event")) == 30


async def test_what_failed_is_tried_again_as_a_whole(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    Failing(monkeypatch, "save_progress", times=2)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, *(event(n, user=f"u{n}") for n in range(20)))
    assert len(await engine.rows("SELECT FROM event")) == 20
    assert len(await engine.rows("SELECT FROM progress")) == 20


async def test_a_failed_batch_leaves_nothing_behind_in_memory(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0))
        Failing(monkeypatch, "save_progress", times=3)
        await send(pipeline, event(1))
    assert ("u1", "three") not in await engine.unlocks()


async def test_a_commit_of_unknown_outcome_changes_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had taken place, but no answer arrived."""
    lost = 0
    transaction = Store.transaction

    @asynccontextmanager
    async def losing(store: Store, *, patient: bool = False) -> AsyncGenerator[Session]:
        nonlocal lost
        async with transaction(store, patient=patient) as session:
            yield session
        if lost < 3 and not patient:
            lost += 1
            raise UnavailableError("the connection was lost")

    async with pipeline_on(engine) as pipeline:
        for n in range(4):
            batch = await decoded(pipeline, [event(n), event(n, team="x", user="u2"), b"poison"])
            monkeypatch.setattr(Store, "transaction", losing)
            await commit(pipeline, batch)
            monkeypatch.setattr(Store, "transaction", transaction)
            lost = 0
    assert len(await engine.rows("SELECT FROM event")) == 8
    assert len(await engine.rows("SELECT FROM dead_letter")) == 1
    granted = await engine.rows("SELECT subject, event_id FROM unlock WHERE achievement = 'three' ORDER BY 1")
    assert [tuple(row.values()) for row in granted] == [("u1", "a.done-2-u1"), ("u2", "a.done-2-u2")]
    assert len(await engine.rows("SELECT FROM evaluation")) == 4


async def test_what_is_refused_after_judging_leaves_nothing_behind(engine: Engine) -> None:
    """The state in memory was moved by an event that is a dead letter now."""
    await engine.rows("ALTER TABLE unlock ADD CHECK (event_id <> 'poison')")
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0), event(1))
        letters = await send(pipeline, event(2, id="poison"))
        assert [letter.reason.value for letter in letters] == ["refused"]
        await send(pipeline, event(3))
    (row,) = await engine.rows("SELECT event_id FROM unlock WHERE achievement = 'three'")
    assert row["event_id"] == "a.done-3-u1"
    (row,) = await engine.rows("SELECT mark_id FROM progress")
    assert row["mark_id"] == "a.done-3-u1"


async def test_dead_letters_belong_to_their_batch(engine: Engine) -> None:
    """What the rules of the commit take is no dead letter, though those of the decoding did not."""
    strict = RULES.replace("key: string?", "key: int?")
    await engine.apply(strict)
    async with pipeline_on(engine) as pipeline, open_store(engine.settings.database_url) as store:
        batch = await decoded(pipeline, [event(0, key="k"), event(1)])
        assert [letter.reason.value for letter in batch.letters] == ["contract"]
        files = [RuleFile("rules.ach", RULES)]
        await apply_rules(store, files, engine.settings, by="test", now=wall_clock())
        assert await commit(pipeline, batch) == []
    assert await engine.rows("SELECT FROM dead_letter") == []
    assert len(await engine.rows("SELECT FROM event")) == 2


async def test_a_batch_that_is_given_up_buries_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    Failing(monkeypatch, "save_progress")
    async with pipeline_on(engine, stopping=lambda: True) as pipeline:
        batch = await decoded(pipeline, [b"poison", event(0)])
        with pytest.raises(StoppedError):
            await commit(pipeline, batch)
    assert await engine.rows("SELECT FROM dead_letter") == []


# -- folding -------------------------------------------------------------------------------------------------


async def test_ties_are_broken_by_id_and_not_by_arrival(engine: Engine) -> None:
    rules = 'event a.done {}\nevent b.done {}\nachievement s { title "S" when sequence([a.done, b.done]) }\n'
    await engine.apply(rules)
    ties = [event(5, "a.done", id="2"), event(5, "b.done", id="1")]
    wrong_way = [one | {"user_id": "wrong"} | {"event_id": f"w{one['event_id']}"} for one in ties]
    right_way = [event(5, "b.done", id="r2", user="right"), event(5, "a.done", id="r1", user="right")]
    await engine.publish([*ties, *wrong_way, *right_way])
    await engine.drain()
    # Late ones: both are folded again from the ledger.
    await engine.publish([event(1, "b.done", user=user) for user in ("u1", "wrong", "right")])
    await engine.drain(batch_size=1)
    assert await engine.unlocks() == {("right", "s"): "announced"}


async def test_a_backfill_reaches_all_users(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outdated, "PAGE", 7)
    monkeypatch.setattr(Courtesy, "LARGEST", 2)
    monkeypatch.setattr(sweep, "CHUNK_USERS", 7)
    users = [f"u{n}" for n in range(250)]  # several of each partition
    await engine.apply("")
    await engine.publish(event(n, user=user, team=user, tenant=user) for user in users[:30] for n in range(3))
    arrays = [[event(n, user=user, team=user) for n in range(3)] for user in users[30:]]
    await engine.publish(json.dumps(array).encode() for array in arrays)
    await engine.drain()
    await engine.apply(RULES + TEAM + TEAM.replace("team", "tenant"))
    report = await engine.backfill()
    assert report.subjects == 250 + 250 + 31
    assert report.tallies["three", 1].granted == 250
    assert report.tallies["team", 1].granted == 250
    assert report.tallies["tenant", 1].granted == 31


async def test_a_copy_among_many_fingerprints(engine: Engine) -> None:
    """Fingerprints that can suppress nothing any more are swept, whenever there are many; others are not."""
    once = "event a.done { key: string once per key within 200m }\n"
    await engine.apply(once + 'achievement m { title "M" when count(event=a.done, >= 81) }\n')
    keys = [f"k{n}" for n in range(80)]
    async with pipeline_on(engine) as pipeline:
        for begin in (0, 199):  # the copies come just before the span is over
            events = [event(begin + n, id=f"{begin}-{key}", key=key) for n, key in enumerate(keys)]
            await send(pipeline, *events)
        assert await engine.unlocks() == {}
        await send(pipeline, event(280, id="new", key="k0"))
    (row,) = await engine.rows("SELECT event_id FROM unlock")
    assert row["event_id"] == "new"


@pytest.fixture(params=["express", "long"])
async def eight(engine: Engine, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Engine:
    """One achievement for eight of a kind, a checkpoint every two events, and each of the ways."""
    if request.param == "long":
        monkeypatch.setattr(fast_users, "WORTH_IT", 2)
    monkeypatch.setattr(folding, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(folding, "CHECKPOINT_BYTES", 1000)
    await engine.apply('event a.done {}\nachievement eight { title "Eight" when count(event=a.done, >= 8) }\n')
    return engine


async def test_checkpoints_that_have_not_seen_what_was_absorbed(eight: Engine) -> None:
    stats = Stats()
    async with pipeline_on(eight, stats=stats) as pipeline:
        for n in (0, 2, 4, 6, 8, 10):
            await send(pipeline, event(n))
        assert len(await eight.rows("SELECT FROM checkpoint")) == 3
        for n in (1, 12):
            await send(pipeline, event(n))
        assert (stats.late, stats.refolded) == (1, 0)
        # This one makes the eighth come sooner: whatever is folded anew begins before all of them.
        await send(pipeline, event(11))
    assert (stats.late, stats.refolded) == (2, 1)
    (row,) = await eight.rows("SELECT event_id FROM unlock")
    assert row["event_id"] == "a.done-11-u1"


async def test_checkpoints_that_have_not_seen_what_was_folded_anew(eight: Engine) -> None:
    stats = Stats()
    async with pipeline_on(eight, stats=stats) as pipeline:
        for n in (0, 2, 4, 6, 8, 10, 12, 14):
            await send(pipeline, event(n))
        # The one at 10 has six of them, and does not know of a seventh that comes now.
        await send(pipeline, event(1))
        rows = await eight.rows("SELECT mark_id FROM checkpoint ORDER BY mark_at")
        assert [row["mark_id"] for row in rows] == [f"a.done-{n}-u1" for n in (1, 4, 8, 12)]
        await send(pipeline, event(11))
    assert (stats.late, stats.refolded) == (2, 2)
    (row,) = await eight.rows("SELECT event_id FROM unlock")
    assert row["event_id"] == "a.done-11-u1"


async def test_a_batch_is_as_late_as_its_earliest_event(eight: Engine) -> None:
    stats = Stats()
    async with pipeline_on(eight, stats=stats) as pipeline:
        for n in (0, 2, 4, 6, 8, 10, 12):
            await send(pipeline, event(n))
        # A checkpoint lies between the two of them, and has seen neither.
        assert len(await eight.rows("SELECT FROM checkpoint")) == 3
        await send(pipeline, event(11), event(1))
    assert (stats.late, stats.refolded) == (2, 1)
    (row,) = await eight.rows("SELECT event_id FROM unlock")
    assert row["event_id"] == "a.done-11-u1"


# -- announcing ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def notifier_on(engine: Engine) -> AsyncGenerator[tuple[OutboxRelay, Broker, Stats]]:
    stats = Stats()
    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        yield OutboxRelay(store, broker, engine.settings, stats, now=wall_clock), broker, stats


async def granted(engine: Engine, *, users: int = 1) -> Committed:
    """Let users earn two unlocks each, and return what was reported about that."""
    reported: list[Committed] = []
    async with pipeline_on(engine, on_committed=reported.append) as pipeline:
        events = [event(n, user=f"u{user + 1}") for user in range(users) for n in range(3)]
        await send(pipeline, *events)
    (done,) = reported
    return done


async def test_an_unlock_that_was_not_announced_is_not_marked(engine: Engine) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, *(event(n) for n in range(3)))
    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        outbox_relay = OutboxRelay(store, broker, engine.settings, Stats(), now=wall_clock)
        await broker.client.client.jetstream().delete_stream(engine.settings.unlock_stream)
        with pytest.raises(BrokerAwayError):
            await outbox_relay.relay()
        assert set((await engine.unlocks()).values()) == {"granted"}
        await broker.ensure()
        assert await outbox_relay.relay() == 2
        assert set((await engine.unlocks()).values()) == {"announced"}
        assert await outbox_relay.relay() == 0
    assert len(await engine.announced()) == 2


async def test_what_waits_is_found_wherever_it_stands(engine: Engine) -> None:
    await granted(engine, users=4)
    async with notifier_on(engine) as (outbox_relay, _, stats):
        assert await outbox_relay.relay() == 8
        await engine.rows(
            "UPDATE unlock SET published_at = NULL WHERE unlock_id::text = (SELECT min(unlock_id::text) FROM unlock)"
        )
        assert await outbox_relay.relay() == 1
        assert (stats.announced, stats.repeated) == (8, 1)


async def test_what_was_just_granted_is_announced_and_marked(engine: Engine) -> None:
    done = await granted(engine)
    async with notifier_on(engine) as (outbox_relay, _, stats):
        outbox_relay.committed(done)
        outbox_relay.stop()
        await outbox_relay.run()
        assert (stats.announced, stats.repeated) == (2, 0)
    assert set((await engine.unlocks()).values()) == {"announced"}
    assert len(await engine.announced()) == 2


def first_look(monkeypatch: pytest.MonkeyPatch) -> anyio.Event:
    """Return what is set once a outbox_relay has looked at the outbox, which it does not do again uncalled."""
    monkeypatch.setattr(relaying, "LONGEST_NAP", 10 * PATIENCE)
    relay, looked = OutboxRelay.relay, anyio.Event()

    async def looking(outbox_relay: OutboxRelay) -> int:
        made = await relay(outbox_relay)
        looked.set()
        return made

    monkeypatch.setattr(OutboxRelay, "relay", looking)
    return looked


@asynccontextmanager
async def one_after_the_other(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Stats]:
    """Run a relay that has looked at the outbox, and is notified of two unlocks in quick succession."""
    looked = first_look(monkeypatch)
    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        stats = Watched()
        outbox_relay = OutboxRelay(store, broker, engine.settings, stats, now=wall_clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outbox_relay.run)
            await looked.wait()
            done = await granted(engine)
            for number, decision in enumerate(done.decisions, 1):
                outbox_relay.committed(done._replace(decisions=[decision]))
                await stats.reach("announced", number)
            yield stats
            outbox_relay.stop()


async def test_what_was_announced_and_not_marked_is_marked_before_anything_else(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay that reads the outbox would announce it a second time."""
    monkeypatch.setattr(relaying, "MARK_SECONDS", 10 * PATIENCE)
    async with one_after_the_other(engine, monkeypatch) as stats:
        assert sorted((await engine.unlocks()).values()) == ["announced", "granted"]
    assert (stats.announced, stats.repeated) == (2, 0)
    assert set((await engine.unlocks()).values()) == {"announced"}


async def test_what_was_announced_is_marked_soon(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    both = count_marks(monkeypatch, 2)
    async with one_after_the_other(engine, monkeypatch):
        with anyio.fail_after(PATIENCE):
            await both.wait()


def count_marks(monkeypatch: pytest.MonkeyPatch, number: int) -> anyio.Event:
    """Return what is set once so many unlocks are marked that were announced at once."""
    run, marked, all_of_them = Session.run, 0, anyio.Event()

    async def counting(session: Session, name: str, **args: object) -> int:
        nonlocal marked
        touched = await run(session, name, **args)
        marked += touched if name == "mark_announced" else 0
        if marked == number:
            all_of_them.set()
        return touched

    monkeypatch.setattr(Session, "run", counting)
    return all_of_them


async def test_who_has_nothing_left_to_do_marks_what_was_announced(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that is announced before its batch has ended, and nothing else calls the outbox_relay after it."""
    monkeypatch.setattr(relaying, "MARK_SECONDS", 10 * PATIENCE)
    monkeypatch.setattr(relaying, "LONGEST_NAP", 10 * PATIENCE)
    # The first mark would be due at once, by a clock that has started.
    monkeypatch.setattr(relaying, "monotonic", lambda: monotonic() - 1e9)
    marked, ack = count_marks(monkeypatch, 2), Broker.ack

    async def late(broker: Broker, messages: Sequence[Message]) -> None:
        await stats.reach("announced", 2)
        await ack(broker, messages)

    monkeypatch.setattr(Broker, "ack", late)
    async with engine.worker() as stats:
        await engine.publish([json.dumps([event(n) for n in range(3)]).encode()])
        with anyio.fail_after(PATIENCE):
            await marked.wait()


async def test_what_settles_is_announced_however_busy_we_are(engine: Engine) -> None:
    """A relay that is called all the time still has to look by itself."""
    done = await granted(engine)
    await engine.rows(
        "UPDATE unlock SET granted_at = NULL, settles_at = now() + interval '0.3 s' WHERE achievement = 'clean'"
    )
    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        stats = Watched()
        outbox_relay = OutboxRelay(store, broker, engine.settings, stats, now=wall_clock)

        async def calling() -> None:
            while True:
                outbox_relay.committed(done._replace(decisions=[]))
                await anyio.sleep(0.01)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outbox_relay.run)
            tasks.start_soon(calling)
            await stats.reach("announced", 2)
            tasks.cancel_scope.cancel()


async def test_what_was_just_granted_and_not_announced_is_not_marked(engine: Engine) -> None:
    done = await granted(engine)
    async with notifier_on(engine) as (outbox_relay, broker, _):
        await broker.client.client.jetstream().delete_stream(engine.settings.unlock_stream)
        outbox_relay.committed(done)
        outbox_relay.stop()
        await outbox_relay.run()
        assert set((await engine.unlocks()).values()) == {"granted"}
        await broker.ensure()
        assert await outbox_relay.relay() == 2
    assert len(await engine.announced()) == 2


async def test_marking_waits_for_no_lock(engine: Engine) -> None:
    """The holder of a row may wait for one that we hold."""
    done = await granted(engine)
    connection = await asyncpg.connect(engine.settings.database_url)
    try:
        async with notifier_on(engine) as (outbox_relay, _, stats), connection.transaction():
            await connection.execute("SELECT FROM unlock WHERE achievement = 'clean' FOR UPDATE")
            outbox_relay.committed(done)
            outbox_relay.stop()
            with anyio.fail_after(10):  # half of what a connection waits for a lock
                await outbox_relay.run()
            assert stats.announced == 2
    finally:
        await connection.close()
    assert await engine.unlocks() == {("u1", "three"): "announced", ("u1", "clean"): "granted"}


async def test_a_row_that_was_locked_is_announced_soon(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that folds a user again holds all rows of that user, and does not notify us when it lets go."""
    looked = first_look(monkeypatch)
    await granted(engine)
    connection = await asyncpg.connect(engine.settings.database_url)
    try:
        async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
            stats = Watched()
            outbox_relay = OutboxRelay(store, broker, engine.settings, stats, now=wall_clock)
            async with anyio.create_task_group() as tasks:
                async with connection.transaction():
                    await connection.execute("SELECT FROM unlock WHERE achievement = 'clean' FOR UPDATE")
                    tasks.start_soon(outbox_relay.run)
                    await stats.reach("announced", 1)
                    await looked.wait()
                await stats.reach("announced", 2)
                outbox_relay.stop()
    finally:
        await connection.close()
    assert set((await engine.unlocks()).values()) == {"announced"}


async def test_what_could_not_be_announced_at_once_is_announced_soon(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaying, "LONGEST_NAP", 10 * PATIENCE)
    announce, away = Broker.announce, 0

    async def failing(broker: Broker, announcements: Sequence[Announcement]) -> Announced:
        nonlocal away
        away += 1
        if away == 1:
            raise BrokerAwayError("planted")
        return await announce(broker, announcements)

    monkeypatch.setattr(Broker, "announce", failing)
    async with engine.worker() as stats:
        await engine.publish([json.dumps([event(n) for n in range(3)]).encode()])
        await stats.reach("announced", 2)
    assert away > 1


async def test_what_a_commit_of_unknown_outcome_granted_is_announced(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker remembers what it decided: the next one has to look."""
    monkeypatch.setattr(relaying, "LONGEST_NAP", 10 * PATIENCE)
    run, lost = Session.run, 0

    async def losing(session: Session, name: str, **args: object) -> int:
        nonlocal lost
        touched = await run(session, name, **args)
        if name == "commit_fast":
            lost += 1
            raise UnavailableError("the connection was lost")
        return touched

    async with engine.worker() as stats:
        await engine.publish([event(0)])
        await stats.reach("events", 1)
        monkeypatch.setattr(Session, "run", losing)
        await engine.publish([json.dumps([event(1), event(2)]).encode()])
        await stats.reach("announced", 2)
    assert lost == 1
    assert set((await engine.unlocks()).values()) == {"announced"}


async def test_what_is_restored_is_not_announced_again(engine: Engine) -> None:
    await engine.publish([event(1), event(3)])
    await engine.drain()
    await engine.publish([event(2, "b.done")])
    await engine.drain()
    await engine.publish([event(0, "a.done"), event(-1)])
    stats = await engine.drain()
    assert stats.decisions["restored"] == 1
    # The broker would refuse it, for as long as it keeps the first; do not rely on that.
    assert (stats.announced, stats.repeated) == (1, 0)
