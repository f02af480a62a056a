from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

import anyio
import nats
import pytest
from nats.js.errors import NotFoundError

from tests.integration.engine import PATIENCE, Engine, event
from worker.admin.erasure import erase_user
from worker.admin.results import read_results
from worker.admin.revocation import revoke
from worker.app import wall_clock
from worker.broker.announce import Announced, Announcement
from worker.broker.streams import open_broker
from worker.engine import folding
from worker.engine.decoding import decode
from worker.engine.state_cache import StateCache
from worker.engine.stats import Stats
from worker.pipeline.pipeline import InForce, Pipeline
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Clock
from worker.store import open_store

if TYPE_CHECKING:
    from nats.js import JetStreamContext

    from worker.admin.built import Tally
    from worker.contract.message import Message
    from worker.engine.rule_set import Deployed

pytestmark = pytest.mark.anyio


async def test_unlock_is_granted_announced_and_written_down(engine: Engine) -> None:
    await engine.publish(event(n) for n in range(3))
    stats = await engine.drain()
    assert (stats.events, stats.duplicates, stats.unlocks, stats.announced) == (3, 0, 2, 2)
    assert await engine.unlocks() == {("u1", "three"): "announced", ("u1", "clean"): "announced"}
    said = {one["achievement"]: one for one in await engine.announced()}
    assert said["three"] == {
        "kind": "granted",
        "revision": 1,
        "status": "granted",
        "origin": "live",
        "by_hand": False,
        "title": {"und": "Three"},
        "about": None,
        "family": None,
        "final": True,
        "unlock_id": said["three"]["unlock_id"],
        "tenant_id": "t1",
        "scope": "user",
        "subject": "u1",
        "user_id": "u1",
        "achievement": "three",
        "tier": None,
        "occurrence": None,
        "version": 1,
        "earned_at": "2026-04-12T13:22:00.000000Z",
        "granted_at": said["three"]["granted_at"],
        "event_id": "a.done-2-u1",
        "reward": {"xp": 10},
    }
    decisions = await engine.rows("SELECT achievement, decision, final FROM evaluation ORDER BY 1")
    assert [tuple(row.values()) for row in decisions] == [("clean", "granted", False), ("three", "granted", True)]


async def test_copies_are_counted_once(engine: Engine) -> None:
    one = event(1, key="k")
    again = json.dumps({**dict(reversed(one.items())), "payload": {"key": "k"}}, indent=1).encode()
    await engine.publish([one, one, again])
    stats = await engine.drain()
    assert (stats.events, stats.duplicates, sum(stats.dead.values())) == (1, 2, 0)
    await engine.publish([again])
    assert (await engine.drain()).duplicates == 1


async def test_another_body_under_a_known_id_is_a_dead_letter(engine: Engine) -> None:
    one = event(1, key="k")
    other = {**one, "payload": {"key": "other"}}
    await engine.publish([one, other])
    stats = await engine.drain()
    assert (stats.events, stats.duplicates, stats.dead) == (1, 0, {"id_conflict": 1})
    await engine.publish([{**one, "user_id": "u2"}])
    assert (await engine.drain()).dead == {"id_conflict": 1}
    (row,) = await engine.rows("SELECT payload FROM event")
    assert row["payload"] == '{"key": "k"}'


async def test_ids_belong_to_their_tenant(engine: Engine) -> None:
    await engine.publish([event(1, tenant=f"t{n}", id="e") for n in range(8)])
    assert (await engine.drain()).events == 8
    assert len(await engine.rows("SELECT FROM event")) == 8


async def test_poison_never_blocks_its_batch(engine: Engine) -> None:
    good = [event(n) for n in range(3)]
    array = json.dumps([good[1], {**good[1], "user_id": ""}]).encode()
    poison = [
        b"",
        b"\xff",
        b"[" * 5000,
        b'{"event_id": 1}',
        b"[1, 2]",
        json.dumps({**good[0], "user_id": "\0"}).encode(),
    ]
    await engine.publish([good[0], *poison, array, good[2]])
    stats = await engine.drain()
    assert stats.events == 3
    assert sum(stats.dead.values()) == len(poison) + 2
    assert ("u1", "three") in await engine.unlocks()
    letters = await engine.rows(
        "SELECT reason, body, element, deliveries FROM dead_letter ORDER BY stream_seq, element"
    )
    assert [row["body"] for row in letters][:4] == poison[:4]
    assert letters[-1]["body"] == json.dumps({**good[1], "user_id": ""}).encode()
    assert letters[-1]["element"] == 1
    assert {row["deliveries"] for row in letters} == {1}


async def test_subjects_and_headers_of_any_bytes(engine: Engine) -> None:
    """The client library would end its reading loop on these, and on every redelivery again."""
    headers = [
        b"garbage",
        b"NATS/1.0",
        b"NATS/1.0\r\n",
        b"NATS/1.0\r\nA: \xff\r\nB\r\n: x\r\n\r\n",
        b"NATS/1.0 503\r\n\r\n",
        b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
        b"NATS/1.0 \xff\r\n\r\n",
    ]
    async with open_broker(engine.settings):  # for the stream to be there
        pass
    host, _, port = engine.settings.nats_url.removeprefix("nats://").partition(":")
    async with await anyio.connect_tcp(host, int(port)) as client:
        await client.send(b'CONNECT {"verbose": false, "headers": true}\r\nPUB events.\xff\xfe.x.y 4\r\nnope\r\n')
        for one in headers:
            await client.send(b"HPUB events.x %d %d\r\n%snope\r\n" % (len(one), len(one) + 4, one))
        await client.send(b"PING\r\n")
        answer = b""
        while b"PONG" not in answer:
            answer += await client.receive()
    with anyio.fail_after(10):
        stats = await engine.drain()
    assert stats.dead == {"malformed_json": 1 + len(headers)}
    subjects = await engine.rows("SELECT nats_subject FROM dead_letter ORDER BY stream_seq LIMIT 1")
    assert subjects[0]["nats_subject"] == r"events.\xff\xfe.x.y"


async def test_what_the_database_refuses_is_found_and_buried(engine: Engine) -> None:
    await engine.rows("ALTER TABLE event ADD CHECK (user_id <> 'poison')")
    await engine.publish(event(n, user="poison" if n == 7 else f"u{n % 2}") for n in range(20))
    stats = await engine.drain()
    assert (stats.events, stats.dead) == (19, {"refused": 1})
    (letter,) = await engine.rows("SELECT detail, body FROM dead_letter")
    assert "CheckViolation" in letter["detail"]
    assert json.loads(letter["body"])["user_id"] == "poison"


async def test_the_tenant_of_the_subject_is_the_tenant(engine: Engine) -> None:
    for subject in ("events.t2.u1.a.done", "events.t2.x", "events.t2", "events.raw.x", "events.t1.u2.a.done"):
        await engine.publish([event(1), json.dumps([event(2)]).encode()], subject=subject)
    assert (await engine.drain()).dead == {"tenant_mismatch": 8, "user_mismatch": 2}
    assert await engine.rows("SELECT FROM event") == []


@pytest.mark.parametrize("seed", range(4))
async def test_late_events_fold_as_if_they_had_been_in_time(engine: Engine, seed: int) -> None:
    types = ["a.done", "a.done", "b.done", "c.done"]
    dice = Random(seed)  # noqa: S311 - shuffling
    events = [event(n, dice.choice(types), user=f"u{dice.randrange(3)}") for n in range(60)]
    shuffled = [*events, *dice.sample(events, 20)]
    dice.shuffle(shuffled)
    await engine.publish(shuffled)
    stats = await engine.drain(batch_size=7)
    assert (stats.events, stats.duplicates) == (60, 20)
    assert stats.late > 0
    in_pieces = await books(engine)
    await engine.rows("DELETE FROM progress")
    await engine.rows("UPDATE partition SET generation = generation + 1, owner = ''")
    # Nothing of the ledger has changed, so folding it anew finds nothing to decide.
    report = await engine.backfill()
    assert report.subjects == 3
    assert sum(tally.granted + tally.amended + tally.contested for tally in report.tallies.values()) == 0
    assert await books(engine) == in_pieces


async def books(engine: Engine) -> list[object]:
    """Return the state of all subjects: the marks, all progress as a digest, and the supported unlocks."""
    async with open_store(engine.settings.database_url) as store:
        results = await read_results(store, await load_deployed(store, engine.settings))
    return [
        results.digest,
        await engine.rows("SELECT scope, subject, stamp, mark_at, mark_id FROM progress ORDER BY 1, 2"),
        await engine.rows(
            "SELECT subject, achievement, earned_at, event_id, version FROM unlock"
            " WHERE contested_at IS NULL ORDER BY 1, 2"
        ),
    ]


async def test_contested_and_restored(engine: Engine) -> None:
    await engine.publish([event(1), event(3)])
    await engine.drain()
    assert await engine.unlocks() == {("u1", "clean"): "announced"}
    await engine.publish([event(2, "b.done")])
    stats = await engine.drain()
    assert (stats.late, stats.refolded, stats.decisions) == (1, 1, {"contested": 1})
    assert await engine.unlocks() == {("u1", "clean"): "contested"}
    await engine.publish([event(0)])
    assert (await engine.drain()).decisions == {"restored": 1, "granted": 1}
    assert await engine.unlocks() == {("u1", "clean"): "announced", ("u1", "three"): "announced"}
    # The announcement was made once; that it was in doubt meanwhile is in the books.
    assert [one["achievement"] for one in await engine.announced()] == ["clean", "three"]


async def test_contested_and_restored_by_a_later_event(engine: Engine) -> None:
    await engine.publish([event(1), event(3)])
    await engine.drain()
    await engine.publish([event(2, "b.done")])
    await engine.drain()
    await engine.publish([event(4)])
    assert (await engine.drain()).decisions == {"granted": 1, "restored": 1}
    (row,) = await engine.rows("SELECT event_id FROM unlock WHERE achievement = 'clean'")
    assert row["event_id"] == "a.done-4-u1"


async def test_late_evidence_moves_what_was_earned_and_not_what_was_granted(engine: Engine) -> None:
    await engine.publish(event(n) for n in (1, 2, 5))
    await engine.drain()
    query = "SELECT unlock_id, earned_at, granted_at, event_id FROM unlock WHERE achievement = 'three'"
    (before,) = await engine.rows(query)
    await engine.publish([event(3)])
    assert (await engine.drain()).decisions == {"amended": 1}
    (after,) = await engine.rows(query)
    assert after["event_id"] == "a.done-3-u1"
    assert after["earned_at"] < before["earned_at"]
    assert (after["unlock_id"], after["granted_at"]) == (before["unlock_id"], before["granted_at"])


async def test_settling_by_the_clock_of_the_stream(engine: Engine) -> None:
    await engine.publish([event(0, "c.done"), event(30, "c.done", user="u2")])
    await engine.drain(clock=Clock.STREAM)
    assert await engine.unlocks() == {("u1", "settled"): "settling", ("u2", "settled"): "settling"}
    assert await engine.announced() == []
    # One comes true an hour later; the other is taken back before it was announced.
    await engine.publish([event(-5, "c.done", user="u3"), event(59, "b.done", user="u2"), event(61, user="u4")])
    await engine.publish([event(30, "b.done", user="u2", id="early"), event(29, "b.done", user="u2", id="earlier")])
    stats = await engine.drain(clock=Clock.STREAM)
    assert stats.unlocks == 2
    unlocks = await engine.unlocks()
    assert unlocks[("u1", "settled")] == unlocks[("u3", "settled")] == "announced"
    assert len(await engine.announced()) == 2


async def test_what_settles_and_is_not_supported_is_withdrawn(engine: Engine) -> None:
    rules = """
    event a.done {}
    event b.done {}
    achievement pair { title "Pair" when count(event=a.done, >= 2, unless=b.done) settle 1h }
    """
    await engine.apply(rules)
    await engine.publish([event(0), event(2)])
    await engine.drain(clock=Clock.STREAM)
    assert await engine.unlocks() == {("u1", "pair"): "settling"}
    await engine.publish([event(1, "b.done")])
    assert (await engine.drain(clock=Clock.STREAM)).decisions == {"withdrawn": 1}
    assert await engine.unlocks() == {}


async def test_many_workers_are_slower_never_wrong(engine: Engine) -> None:
    dice = Random(1)  # noqa: S311 - shuffling
    events = [event(n, user=f"u{n % 20}") for n in range(400)]
    dice.shuffle(events)
    await engine.publish(events)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(lambda: engine.drain(batch_size=16))
    assert len(await engine.rows("SELECT FROM event")) == 400
    unlocks = await engine.unlocks()
    assert len(unlocks) == 40
    assert len({one["unlock_id"] for one in await engine.announced()}) == len(await engine.announced()) == 40
    thirds = await engine.rows("SELECT subject, event_id FROM unlock WHERE achievement = 'three'")
    assert {row["subject"]: row["event_id"] for row in thirds} == {f"u{n}": f"a.done-{n + 40}-u{n}" for n in range(20)}
    assert set(unlocks.values()) == {"announced"}


async def test_a_batch_that_was_committed_and_not_acknowledged(engine: Engine) -> None:
    await engine.publish(event(n) for n in range(3))
    await commit_and_die(engine)
    # Committed, not announced, not acknowledged: the next worker finds it all.
    assert set((await engine.unlocks()).values()) == {"granted"}
    stats = await engine.drain()
    assert (stats.events, stats.duplicates, stats.announced) == (0, 3, 2)
    assert (await engine.drain()).messages == 0
    assert len(await engine.announced()) == 2


async def commit_and_die(engine: Engine) -> None:
    settings = engine.settings
    async with open_store(settings.database_url) as store, open_broker(settings) as broker:
        await broker.subscribe()
        rules = await load_deployed(store, settings)

        async def load() -> Deployed:
            return rules

        async def waiting() -> None:
            pass

        messages: list[Message] = []
        while len(messages) < 3:
            messages += await broker.next_batch() or []
        pipeline = Pipeline(
            store,
            settings,
            StateCache("dies", 10),
            Stats(),
            in_force=InForce(load),
            now=wall_clock,
            stopping=lambda: False,
        )
        await pipeline.commit(decode(messages, rules, now=wall_clock()), waiting=waiting)
        # A worker that dies gives nothing back; here the broker need not wait for its patience to end.
        broker.give_back(messages)


async def test_an_announcement_whose_mark_was_lost_is_not_made_twice(engine: Engine) -> None:
    await engine.publish(event(n) for n in range(3))
    await engine.drain()
    await engine.rows("UPDATE unlock SET published_at = NULL")
    stats = await engine.drain()
    assert (stats.announced, stats.repeated) == (0, 2)
    assert len(await engine.announced()) == 2


async def test_the_broker_refuses_a_second_announcement_for_ever(engine: Engine) -> None:
    async with open_broker(engine.settings) as broker:
        first = Announcement("unlocks.t.u.a.1", b"{}", "one")
        announced = await broker.announce([first, Announcement("unlocks.t.u.a.2", b"{}", "three")])
        assert announced == Announced({"one": True, "three": True}, {})
        # Another id, as if the duplicate window had been forgotten.
        assert await broker.announce([first._replace(id="two"), first]) == Announced({"two": False, "one": False}, {})
        assert await broker.announce([]) == Announced({}, {})


async def test_erased_users_stay_out(engine: Engine) -> None:
    await engine.apply(BUSY + 'achievement three { title "Three" when count(event=a.done, >= 3) }')
    events = [event(n, user="u1" if n < 4 else "u2", team="red") for n in range(8)]
    broken = [{**events[0], "occurred_at": ""}, {**events[5], "occurred_at": ""}]
    async with engine.worker() as stats:
        await engine.publish([*events, *broken])
        await stats.reach("events", 8)
        async with open_store(engine.settings.database_url) as store:
            erased = await erase_user(store, engine.settings, "t1", "u1", by="test", now=wall_clock())
        assert (erased.events, erased.dead_letters) == (4, 1)
        assert {subject.scope for subject in erased.shared} == {"tenant", "team"}
        # The same stream again: what is remembered in memory is void, and the tombstone holds.
        await engine.publish([*events, event(8, user="u2", team="red")])
        await stats.reach("events", 9)
    assert (stats.erased, stats.duplicates) == (4, 4)
    assert {row["user_id"] for row in await engine.rows("SELECT user_id FROM event")} == {"u2"}
    unlocks = await engine.unlocks()
    assert {subject for subject, _ in unlocks} == {"u2", "red"}
    assert unlocks["red", "team_run"] == "contested"
    assert not await engine.rows("SELECT FROM evaluation WHERE subject = 'u1'")


async def test_an_operators_word_is_the_last(engine: Engine) -> None:
    await engine.publish([event(1), event(3)])
    await engine.drain()
    (row,) = await engine.rows("SELECT unlock_id FROM unlock")
    async with open_store(engine.settings.database_url) as store:
        revoked = await revoke(store, row["unlock_id"], now=wall_clock())
        assert revoked is not None
        assert revoked.achievement == "clean"
        assert await revoke(store, row["unlock_id"], now=wall_clock()) is None
    await engine.publish([event(0)])
    await engine.drain()
    assert (await engine.unlocks())["u1", "clean"] == "revoked"
    decisions = await engine.rows("SELECT decision FROM evaluation WHERE achievement = 'clean' ORDER BY evaluation_id")
    assert [one["decision"] for one in decisions] == ["granted", "revoked"]


async def test_stopping_leaves_nothing_half_done(engine: Engine) -> None:
    await engine.publish(event(n, user=f"u{n % 50}") for n in range(600))
    async with engine.worker(batch_size=20) as stats:
        await stats.reach("batches", 3)
    done = stats.events
    assert done < 600
    assert len(await engine.rows("SELECT FROM event")) == done
    rest = await engine.drain()
    # What was committed was acknowledged too, and what was not came again without waiting.
    assert (rest.events, rest.duplicates) == (600 - done, 0)
    assert set((await engine.unlocks()).values()) == {"announced"}


async def test_a_lone_event_does_not_wait_for_company(engine: Engine) -> None:
    async with engine.worker(batch_size=500) as stats:
        await engine.publish([event(0)])
        with anyio.fail_after(5):
            await stats.reach("events", 1)
        assert stats.commit_seconds.sum < 5


async def test_a_lost_consumer_and_a_lost_stream_are_made_again(engine: Engine) -> None:
    client = await nats.connect(engine.settings.nats_url)
    try:
        jetstream = client.jetstream()
        async with engine.worker() as stats:
            await engine.publish([event(0)])
            await stats.reach("events", 1)
            await jetstream.delete_consumer(engine.settings.input_stream, engine.settings.consumer)
            await engine.publish([event(1)])
            await stats.reach("events", 2)
            await jetstream.delete_stream(engine.settings.input_stream)
            # The worker makes them again, and nothing else does so at the same moment.
            await until_made(jetstream, engine)
            await engine.publish([event(2)])
            await stats.reach("events", 3)
            await stats.reach("announced", 2)
    finally:
        await client.close()


async def until_made(jetstream: JetStreamContext, engine: Engine) -> None:
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                await jetstream.consumer_info(engine.settings.input_stream, engine.settings.consumer)
            except NotFoundError:
                await anyio.sleep(0.05)
            else:
                return


async def test_arrays_of_any_length(engine: Engine) -> None:
    arrays = [[event(n, user=f"u{n % 7}") for n in range(at, at + 1500)] for at in (0, 1500, 3000, 4500)]
    await engine.publish(json.dumps([*array, {}]).encode() for array in arrays)
    stats = await engine.drain()
    assert (stats.messages, stats.events, stats.dead) == (4, 6000, {"invalid_event": 4})
    assert stats.batches > 1


async def test_large_messages_come_in_small_batches(engine: Engine) -> None:
    await engine.publish(event(n, key="x" * 900_000) for n in range(40))
    stats = await engine.drain()
    assert stats.events == 40
    assert stats.batches >= 9


@pytest.mark.parametrize("seed", range(3))
async def test_late_events_of_a_busy_subject(engine: Engine, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are a matter of speed alone, wherever the late event falls among them."""
    monkeypatch.setattr(folding, "CHECKPOINT_EVERY", 5)
    monkeypatch.setattr(folding, "CHECKPOINTS_KEPT", 3)
    await engine.apply(BUSY)
    dice = Random(seed)  # noqa: S311 - shuffling
    events = [event(n, dice.choice(["a.done", "a.done", "a.done", "b.done"]), team="red") for n in range(150)]
    # Most are a little late, some are very late.
    arriving = sorted(events, key=lambda one: one["occurred_at"])
    order = {one["event_id"]: n + dice.choice([0, 0, 1, 3, 10, 40, 140]) for n, one in enumerate(arriving)}
    arriving.sort(key=lambda one: order[one["event_id"]])
    await engine.publish(arriving)
    stats = await engine.drain(batch_size=3)
    assert stats.refolded > 20
    assert len(await engine.rows("SELECT FROM checkpoint")) <= 9
    in_pieces = await books(engine)
    await engine.rows("DELETE FROM progress")
    await engine.rows("DELETE FROM checkpoint")
    report = await engine.backfill()
    assert {kind for tally in report.tallies.values() for kind in _changed(tally)} == set()
    assert await books(engine) == in_pieces


BUSY = """
event a.done { team: string? }
event b.done { team: string? }
achievement tens { title "Tens" when count(event=a.done, >= 10) repeat each }
achievement run { title "Run" when count(event=a.done, >= 6, unless=b.done) }
achievement hours { title "Hours" when count(event=a.done, >= 20) repeat every hour }
achievement team_run { title "Team" scope team when count(event=a.done, >= 7, unless=b.done) }
achievement tenant_tens { title "Tenant" scope tenant when count(event=a.done, >= 10) repeat each }
"""


def _changed(tally: Tally) -> list[str]:
    return [kind for kind in tally.__struct_fields__ if kind != "unchanged" and getattr(tally, kind)]
