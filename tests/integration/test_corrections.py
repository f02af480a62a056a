"""Corrections: whatever becomes of a granted unlock is announced, once each, in order, and says all there is to say."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import jsonschema
import pytest

from dsl.calendar import format_instant
from dsl.outcome import Subject
from tests.integration.engine import PATIENCE, RULES, Engine, event
from tests.integration.pipelines import pipeline_on, send
from worker.admin.erasure import erase_user
from worker.admin.manual_grant import grant_by_hand
from worker.admin.revocation import of_achievement, of_ids, revoke_all
from worker.app import wall_clock
from worker.broker.streams import Broker, BrokerAwayError, open_broker
from worker.engine.announcement import schema
from worker.engine.stats import Stats
from worker.pipeline import outbox as relaying
from worker.pipeline.dead_letters import list_letters, replay_letter
from worker.pipeline.outbox import OutboxRelay
from worker.pipeline.rules_in_force import load_deployed
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from worker.broker.announce import Announced, Announcement

pytestmark = pytest.mark.anyio

SLOW = RULES + 'achievement slow { title "Slow" when count(event=c.done, >= 1) settle 36500d }'


@asynccontextmanager
async def notifier_on(engine: Engine) -> AsyncGenerator[OutboxRelay]:
    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        await broker.ensure()
        yield OutboxRelay(store, broker, engine.settings, Stats(), now=wall_clock)


async def relay(engine: Engine) -> None:
    async with notifier_on(engine) as outbox_relay:
        await outbox_relay.relay()


async def revoke(engine: Engine, achievement: str = "clean") -> None:
    async with open_store(engine.settings.database_url) as store:
        found = await of_achievement(store, achievement, None, tenant=None, subject=None)
        ids = [one.unlock_id for one in found]
        assert await revoke_all(store, ids, now=wall_clock(), by="ann", reason="a cheat") == len(ids) > 0


async def by_hand(engine: Engine, achievement: str = "clean") -> None:
    async with open_store(engine.settings.database_url) as store:
        rules = await load_deployed(store, engine.settings)
        key = Subject("t1", "user", "u1"), achievement, None, None
        await grant_by_hand(store, rules, *key, reason="asked for", by="bob", now=wall_clock())


async def granted(engine: Engine) -> None:
    """Grant `clean` at the second minute."""
    await engine.apply()
    await engine.publish([event(0), event(2)])
    await engine.drain()


async def said_of(engine: Engine, achievement: str = "clean") -> list[dict[str, Any]]:
    """Return what is announced of one unlock, in order, once it is certain that it agrees with the table."""
    said = [one for one in await engine.said() if one["achievement"] == achievement]
    for one in said:
        jsonschema.Draft202012Validator(schema()).validate(one)
    assert [one["revision"] for one in said] == [*range(1, len(said) + 1)]
    assert await engine.rows("SELECT * FROM correction") == []
    rows = await engine.rows("SELECT * FROM unlock WHERE achievement = $1", achievement)
    for row in rows:
        last = said[-1]
        assert last["revision"] == row["revision"]
        earned_at = format_instant(int(row["earned_at"].timestamp() * 1_000_000))
        assert (last["version"], last["earned_at"]) == (row["version"], earned_at)
        revoked = row["revoked_at"] is not None
        contested = "contested" if row["contested_at"] is not None else "granted"
        assert last["status"] == ("revoked" if revoked else contested)
        assert (last["event_id"] or "", last["by_hand"], last["origin"]) == (
            row["event_id"],
            row["by_hand"],
            row["origin"],
        )
    return said


async def test_every_change_is_announced_in_order(engine: Engine) -> None:
    await granted(engine)
    for late in (event(1), event(0, "b.done", id="x"), event(1, "b.done", id="y"), event(4)):
        await engine.publish([late])
        await engine.drain()
    await revoke(engine)
    await relay(engine)
    await by_hand(engine)
    await relay(engine)
    said = await said_of(engine)
    kinds = ["granted", "amended", "amended", "contested", "restored", "revoked", "granted_by_hand"]
    assert [one["kind"] for one in said] == kinds
    amended, _, contested, restored, revoked, again = said[1:]
    assert amended["changed"]["event_id"] == {"from": "a.done-2-u1", "to": "a.done-1-u1"}
    assert contested["changed"] == {"status": {"from": "granted", "to": "contested"}}
    assert restored["changed"]["status"] == {"from": "contested", "to": "granted"}
    assert (revoked["actor"], revoked["reason"], revoked["reward_to_take_back"]) == ("ann", "a cheat", {})
    assert (again["actor"], again["reason"], again["final"]) == ("bob", "asked for", True)
    assert again["changed"]["status"] == {"from": "revoked", "to": "granted"}
    assert len({one["granted_at"] for one in said}) == 1


async def test_a_final_unlock_that_moves_is_announced(engine: Engine) -> None:
    await engine.apply()
    await engine.publish([event(2), event(3), event(4)])
    await engine.drain()
    await engine.publish([event(1)])
    await engine.drain()
    grant, amended = await said_of(engine, "three")
    assert (grant["final"], amended["kind"], amended["final"]) == (True, "amended", True)
    assert amended["changed"].keys() == {"earned_at", "event_id"}
    assert amended["reward"] == {"xp": 10}


async def test_what_settles_changes_in_silence(engine: Engine) -> None:
    await engine.apply(SLOW)
    await engine.publish([event(2, "c.done")])
    await engine.drain()
    await engine.publish([event(1, "c.done")])
    await engine.drain()
    await revoke(engine, "slow")
    await by_hand(engine, "slow")
    await relay(engine)
    (said,) = await said_of(engine, "slow")
    assert (said["kind"], said["origin"], said["by_hand"]) == ("granted", "by_hand", True)


async def test_what_is_not_announced_yet_is_announced_as_it_was_granted(engine: Engine) -> None:
    await engine.apply()
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0), event(2))
        await send(pipeline, event(1))
    await relay(engine)
    grant, amended = await said_of(engine)
    assert (grant["event_id"], amended["event_id"]) == ("a.done-2-u1", "a.done-1-u1")


async def test_what_was_revoked_before_it_was_announced_is_withheld(engine: Engine) -> None:
    await engine.apply()
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0), event(2))
    await revoke(engine)
    await relay(engine)
    assert [one["kind"] for one in await said_of(engine)] == ["withheld", "revoked"]
    await by_hand(engine)
    await relay(engine)
    assert [one["kind"] for one in await said_of(engine)] == ["withheld", "revoked", "granted_by_hand"]


async def test_no_grant_comes_behind_its_revocation(engine: Engine) -> None:
    """A worker has the grant in its hands while an operator revokes it, and another worker announces that."""
    await engine.apply()
    async with notifier_on(engine) as slow:
        async with pipeline_on(engine, on_committed=slow.committed) as pipeline:
            await send(pipeline, event(0), event(2))
        await revoke(engine)
        await relay(engine)
        slow.stop()
        await slow.run()
    assert [one["kind"] for one in await said_of(engine)] == ["withheld", "revoked"]


async def test_erased_users_are_announced(engine: Engine) -> None:
    await granted(engine)
    await engine.publish([event(3)])
    await engine.drain()
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1))
    async with open_store(engine.settings.database_url) as store:
        erased = await erase_user(store, engine.settings, "t1", "u1", by="ann", now=wall_clock())
        again = await erase_user(store, engine.settings, "t1", "u1", by="ann", now=wall_clock())
    assert (erased.unlocks, again.unlocks) == (2, 0)
    await relay(engine)
    _, amended, gone = await said_of(engine)
    assert (amended["kind"], amended["event_id"], gone["kind"], gone["actor"]) == ("amended", None, "erased", "ann")


async def test_what_was_erased_before_it_was_announced_is_withheld(engine: Engine) -> None:
    await engine.apply()
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0), event(2))
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "t1", "u1", by="ann", now=wall_clock())
    await relay(engine)
    assert [one["kind"] for one in await said_of(engine)] == ["withheld", "erased"]


async def test_a_correction_that_was_published_and_not_forgotten(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies between the two."""
    await granted(engine)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1))
    announce = Broker.announce

    async def dying(broker: Broker, announcements: Sequence[Announcement]) -> Announced:
        await announce(broker, announcements)
        raise BrokerAwayError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(Broker, "announce", dying)
        with pytest.raises(BrokerAwayError):
            await relay(engine)
    assert len(await engine.rows("SELECT * FROM correction")) == 1
    await relay(engine)
    assert [one["kind"] for one in await said_of(engine)] == ["granted", "amended"]


async def test_what_the_broker_refuses_holds_back_its_own_unlock_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.apply()
    await engine.publish([event(n, user=user) for user in ("u1", "u2") for n in (0, 2)])
    await engine.drain()
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1), event(1, user="u2"))
    await revoke(engine)
    announce = Broker.announce

    async def choosy(broker: Broker, announcements: Sequence[Announcement]) -> Announced:
        wrong = {one.id: "too large" for one in announcements if b'"u1"' in one.body and b'"clean"' in one.body}
        said = await announce(broker, [one for one in announcements if one.id not in wrong])
        return said._replace(refused=wrong)

    with monkeypatch.context() as patched:
        patched.setattr(Broker, "announce", choosy)
        async with notifier_on(engine) as outbox_relay:
            await outbox_relay.relay()
            assert outbox_relay.refused == 1
            assert await outbox_relay.is_empty()
    assert [(one["subject"], one["kind"]) for one in await engine.corrections()] == [
        ("u2", "amended"),
        ("u2", "revoked"),
    ]
    await relay(engine)
    assert [one["kind"] for one in await engine.corrections() if one["subject"] == "u1"] == ["amended", "revoked"]


async def test_a_correction_waits_for_the_grant(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker refuses that, a drain ends all the same; then both go, in order, without being called."""
    await engine.apply()
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0), event(2))
        await send(pipeline, event(0, "b.done", id="x"))
    announce = Broker.announce

    async def choosy(broker: Broker, announcements: Sequence[Announcement]) -> Announced:
        wrong = {one.id: "too large" for one in announcements if b'"kind":"granted"' in one.body}
        said = await announce(broker, [one for one in announcements if one.id not in wrong])
        return said._replace(refused=wrong)

    async with notifier_on(engine) as outbox_relay:
        with monkeypatch.context() as patched:
            patched.setattr(Broker, "announce", choosy)
            await outbox_relay.relay()
            assert await outbox_relay.is_empty()
        assert await engine.said() == []
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(outbox_relay.run)
                while len(await engine.said()) < 2:
                    await anyio.lowlevel.checkpoint()
                outbox_relay.stop()
    assert [one["kind"] for one in await said_of(engine)] == ["granted", "contested"]


async def test_a_drain_ends_when_corrections_are_announced(engine: Engine) -> None:
    await granted(engine)
    await revoke(engine)
    async with notifier_on(engine) as outbox_relay:
        assert not await outbox_relay.is_empty()
    await engine.drain()
    assert [one["kind"] for one in await said_of(engine)] == ["granted", "revoked"]


async def test_a_worker_announces_corrections_while_it_works(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "LONGEST_NAP", 10 * PATIENCE)
    await granted(engine)
    async with engine.worker() as stats:
        await engine.publish([event(1)])
        await stats.reach("corrected", 1)
    assert [one["kind"] for one in await said_of(engine)] == ["granted", "amended"]


# -- origins -----------------------------------------------------------------------------------------------------------


async def test_origins(engine: Engine) -> None:
    await engine.apply(RULES)
    await engine.publish([event(0), event(1), event(2, "c.done")])
    await engine.drain()
    await engine.apply(RULES + 'achievement old { title "Old" when count(event=a.done, >= 2) }')
    await engine.backfill()
    await by_hand(engine, "three")
    await relay(engine)
    origins = {one["achievement"]: one["origin"] for one in await engine.announced()}
    assert origins == {"clean": "live", "settled": "live", "old": "backfill", "three": "by_hand"}


async def test_what_waits_to_settle_is_settled(engine: Engine) -> None:
    await engine.apply(SLOW)
    await engine.publish([event(1, "c.done")])
    await engine.drain()
    await engine.rows(
        "UPDATE unlock SET settles_at = now() - interval '1s', earned_at = now() - interval '1h' WHERE "
        "achievement = 'slow'"
    )
    await relay(engine)
    assert {one["achievement"]: one["origin"] for one in await engine.announced()} == {
        "settled": "live",
        "slow": "settled",
    }


async def test_what_other_rules_find_when_the_user_comes_is_a_backfill(engine: Engine) -> None:
    await engine.apply(RULES)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0), event(1))
        await engine.apply(RULES + 'achievement old { title "Old" when count(event=a.done, >= 2) }')
        await send(pipeline, event(2))
    rows = await engine.rows("SELECT achievement, origin FROM unlock ORDER BY 1")
    assert [tuple(row.values()) for row in rows] == [("clean", "live"), ("old", "backfill"), ("three", "live")]


@pytest.mark.parametrize("whole", [False, True])
async def test_what_a_dead_letter_earns_is_replayed(engine: Engine, *, whole: bool) -> None:
    await engine.apply('event z.done { n: int }\nachievement z { title "Z" when count(event=z.done, >= 1) }')
    await engine.publish([event(1, "z.done", n="broken")])
    await engine.drain()
    await engine.apply('event z.done { n: string }\nachievement z { title "Z" when count(event=z.done, >= 1) }')
    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        (letter,) = await list_letters(store)
        await replay_letter(store, broker, letter, now=wall_clock())
    if whole:  # with others in one batch
        await engine.publish([event(n, "z.done", user=f"u{n}", n="fine") for n in range(2, 5)])
    await engine.drain()
    origins = {one["subject"]: one["origin"] for one in await engine.announced()}
    assert origins == {"u1": "replayed"} | (dict.fromkeys(("u2", "u3", "u4"), "live") if whole else {})


# -- revoking many -----------------------------------------------------------------------------------------------------


async def test_many_are_revoked_by_achievement(engine: Engine) -> None:
    await engine.apply()
    await engine.publish([event(n, user=user) for user in ("u1", "u2") for n in range(3)])
    await engine.drain()
    async with open_store(engine.settings.database_url) as store:
        everywhere = {"tenant": None, "subject": None}
        assert len(await of_achievement(store, "clean", None, **everywhere)) == 2
        assert await of_achievement(store, "clean", "gold", **everywhere) == []
        assert await of_achievement(store, "clean", None, tenant="t2", subject=None) == []
        (one,) = await of_achievement(store, "clean", None, tenant="t1", subject="u2")
        now = wall_clock()
        assert await revoke_all(store, [one.unlock_id], now=now, by="ann", reason="a cheat") == 1
        # A command does it again where a commit was not answered.
        assert await revoke_all(store, [one.unlock_id], now=now, by="ann", reason="a cheat") == 1
        assert await revoke_all(store, [one.unlock_id], now=wall_clock(), by="ann", reason="a cheat") == 0
        assert await of_ids(store, [one.unlock_id]) == []
    rows = await engine.rows("SELECT subject, actor, reason FROM evaluation WHERE decision = 'revoked'")
    assert [tuple(row.values()) for row in rows] == [("u2", "ann", "a cheat")]


async def test_no_refold_undoes_a_revocation(engine: Engine) -> None:
    await granted(engine)
    await revoke(engine)
    await engine.publish([event(1), event(0, "b.done", id="undone")])
    await engine.drain()
    assert [one["kind"] for one in await said_of(engine)] == ["granted", "revoked"]
