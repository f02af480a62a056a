"""What operators say of unlocks, in every state: revoked, granted by hand, granted again."""

from __future__ import annotations

from typing import Any

import anyio
import asyncpg
import pytest

from dsl.outcome import Subject
from tests.integration.engine import PATIENCE, RULES, Engine, event
from tests.integration.pipelines import meanwhile, pipeline_on, send
from worker.admin.erasure import erase_user
from worker.admin.manual_grant import CannotGrantError, Granted, grant_by_hand
from worker.admin.results import read_results
from worker.admin.revocation import revoke
from worker.app import wall_clock
from worker.broker.streams import open_broker
from worker.contract.partition import partition_of
from worker.engine.reconcile import State
from worker.engine.stats import Stats
from worker.pipeline.fence import RulesMovedError
from worker.pipeline.outbox import OutboxRelay
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Clock
from worker.store import open_store

pytestmark = pytest.mark.anyio

U1 = Subject("t1", "user", "u1")
PAIR = """
event a.done {}
event b.done {}
achievement pair { title "Pair" when count(event=a.done, >= 2, unless=b.done) settle 1h reward { xp: 1 } }
"""


async def hand(
    engine: Engine,
    achievement: str = "clean",
    *,
    subject: Subject = U1,
    tier: str | None = None,
    occurrence: str | None = None,
    reason: str = "a prize",
) -> Granted:
    """Grant by hand, by the rules in force."""
    async with open_store(engine.settings.database_url) as store:
        rules = await load_deployed(store, engine.settings)
        return await grant_by_hand(
            store, rules, subject, achievement, tier, occurrence, reason=reason, by="ann", now=wall_clock()
        )


async def take_back(engine: Engine, achievement: str = "clean") -> None:
    """Revoke the only unlock of an achievement."""
    (row,) = await engine.rows("SELECT unlock_id FROM unlock WHERE achievement = $1", achievement)
    async with open_store(engine.settings.database_url) as store:
        assert await revoke(store, row["unlock_id"], now=wall_clock(), by="ann", reason="a cheat") is not None


async def relay(engine: Engine) -> int:
    """Announce all that waits; return how many were announced."""
    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        return await OutboxRelay(store, broker, engine.settings, Stats(), now=wall_clock).relay()


async def digested(engine: Engine) -> list[str]:
    """Return the achievements that a digest is of."""
    async with open_store(engine.settings.database_url) as store:
        stored = await read_results(store, await load_deployed(store, engine.settings), clock=wall_clock())
    return [unlock.achievement for unlock in stored.unlocks]


async def decided(engine: Engine, achievement: str = "clean") -> list[str]:
    """Return the decisions about an achievement, in order."""
    rows = await engine.rows(
        "SELECT decision FROM evaluation WHERE achievement = $1 ORDER BY evaluation_id", achievement
    )
    return [row["decision"] for row in rows]


async def only(engine: Engine, achievement: str = "clean") -> dict[str, Any]:
    """Return the only unlock of an achievement."""
    (row,) = await engine.rows("SELECT * FROM v_unlock WHERE achievement = $1", achievement)
    return row


# -- revoking -------------------------------------------------------------------------------------------------------


async def test_what_is_revoked_while_it_settles_stays_revoked(engine: Engine) -> None:
    engine = engine.with_settings(clock=Clock.STREAM)
    await engine.apply(PAIR)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0), event(2))
        assert await engine.unlocks() == {("u1", "pair"): "settling"}
        await take_back(engine, "pair")
        await send(pipeline, event(1, "b.done"))  # takes the evidence away
        assert await engine.unlocks() == {("u1", "pair"): "revoked"}
        await send(pipeline, event(3))  # and this one earns it anew
        await send(pipeline, event(200, user="u2"))
    assert await relay(engine) == 0
    assert await engine.unlocks() == {("u1", "pair"): "revoked"}
    assert await engine.announced() == []
    assert await decided(engine, "pair") == ["settling", "revoked"]
    async with open_store(engine.settings.database_url) as store, store.transaction() as session:
        assert await session.value(int, "next_settling") is None
        assert await session.value(bool, "outbox_is_empty", clock=wall_clock(), refused=[]) is True


async def test_what_is_revoked_before_it_is_announced_is_not(engine: Engine) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1), event(3))
    await take_back(engine)
    assert await relay(engine) == 0
    assert (await engine.unlocks(), await engine.announced()) == ({("u1", "clean"): "revoked"}, [])


async def test_the_books_tell_who_revoked_it_and_why(engine: Engine) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1), event(3))
    await take_back(engine)
    rows = await engine.rows("SELECT actor, reason FROM evaluation ORDER BY evaluation_id")
    assert [tuple(row.values()) for row in rows] == [(None, None), ("ann", "a cheat")]


GUARDED: dict[str, tuple[str, dict[str, object]]] = {
    "withdraw_unlocks": ("unlock_ids", {}),
    "contest_unlocks": ("contested.unlock_id", {"contested.change_id": [None], "now": wall_clock()}),
    "amend_unlocks": (
        "amended.unlock_id",
        {
            "amended.version": [9],
            "amended.earned_at": [wall_clock()],
            "amended.event_id": ["x"],
            "amended.settles_at": [None],
            "amended.change_id": [None],
            "now": wall_clock(),
        },
    ),
}
"""Statements that move unlocks: the name of the ids, and the other arguments."""


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize("clock", Clock)  # by that of the stream it still settles
async def test_no_statement_moves_what_was_revoked(engine: Engine, name: str, clock: Clock) -> None:
    """A decision follows from an earlier look, and an operator may come between."""
    engine = engine.with_settings(clock=clock)
    await engine.apply(PAIR)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0), event(2))
    await take_back(engine, "pair")
    before = await only(engine, "pair")
    async with open_store(engine.settings.database_url) as store, store.transaction() as session:
        ids, others = GUARDED[name]
        assert await session.run(name, **{ids: [before["unlock_id"]]}, **others) == 0
    assert await only(engine, "pair") == before


async def test_no_statement_contests_or_deletes_what_was_granted_by_hand(engine: Engine) -> None:
    made = await hand(engine)
    async with open_store(engine.settings.database_url) as store, store.transaction() as session:
        contested = {"contested.unlock_id": [made.unlock_id], "contested.change_id": [None]}
        assert await session.run("contest_unlocks", **contested, now=wall_clock()) == 0
        assert await session.run("withdraw_unlocks", unlock_ids=[made.unlock_id]) == 0


# -- granting by hand ------------------------------------------------------------------------------------------------


async def test_granted_without_any_event(engine: Engine) -> None:
    made = await hand(engine, "three")
    assert (made.new, made.restored) == (True, False)
    row = await only(engine, "three")
    assert (row["unlock_id"], row["status"], row["event_id"], row["by_hand"]) == (made.unlock_id, "granted", "", True)
    assert row["earned_at"] == row["granted_at"]
    assert row["reward"] == '{"xp": 10}'
    assert await relay(engine) == 1
    (said,) = await engine.announced()
    assert (said["achievement"], said["event_id"], said["reward"], said["version"]) == ("three", None, {"xp": 10}, 1)
    assert await digested(engine) == []
    (note,) = await engine.rows("SELECT decision, final, event_id, actor, reason FROM evaluation")
    assert tuple(note.values()) == ("granted_by_hand", True, "", "ann", "a prize")
    # Once more changes nothing.
    assert await hand(engine, "three") == Granted(made.unlock_id, State.BY_HAND)
    assert await relay(engine) == 0
    assert await decided(engine, "three") == ["granted_by_hand"]


async def test_evidence_comes_and_goes_and_the_grant_stays(engine: Engine) -> None:
    made = await hand(engine)
    await relay(engine)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1), event(3))
        row = await only(engine)
        assert (row["event_id"], row["status"], row["by_hand"]) == ("a.done-3-u1", "announced", True)
        assert await digested(engine) == ["clean"]
        await send(pipeline, event(2, "b.done"))  # late: what is not granted by hand is contested
        row = await only(engine)
        assert (row["event_id"], row["status"], row["unlock_id"]) == ("", "announced", made.unlock_id)
        assert row["earned_at"] == row["granted_at"]
        assert await digested(engine) == []
        await send(pipeline, event(4))
        assert (await only(engine))["event_id"] == "a.done-4-u1"
    assert await decided(engine) == ["granted_by_hand", "amended", "amended", "amended"]
    assert await relay(engine) == 1  # `three`, which four events earn
    assert sorted(one["achievement"] for one in await engine.announced()) == ["clean", "three"]


async def test_what_settles_is_granted_at_once(engine: Engine) -> None:
    await engine.apply(PAIR)
    engine = engine.with_settings(clock=Clock.STREAM)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0), event(2))
        assert await relay(engine) == 0
        assert (await hand(engine, "pair")).before is State.SETTLING
        assert await relay(engine) == 1
        assert await only(engine, "pair") | {"status": "announced", "event_id": "a.done-2-u1"} == await only(
            engine, "pair"
        )
        # By the clock of the stream the events do not support it yet.
        async with open_store(engine.settings.database_url) as store:
            assert (await read_results(store, await load_deployed(store, engine.settings))).unlocks == []
        await send(pipeline, event(1, "b.done"), event(100, user="u2"))
    assert await relay(engine) == 0
    assert await engine.unlocks() == {("u1", "pair"): "announced"}
    assert await decided(engine, "pair") == ["settling", "granted_by_hand", "amended"]


async def test_what_was_earned_is_contested_no_more(engine: Engine) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1), event(3))
        await relay(engine)
        before = await only(engine)
        assert (await hand(engine)).before is State.GRANTED
        assert await only(engine) == before | {"by_hand": True}
        await send(pipeline, event(2, "b.done"))
    assert await engine.unlocks() == {("u1", "clean"): "announced"}


async def test_what_is_contested_is_granted(engine: Engine) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1), event(3))
        await relay(engine)
        await send(pipeline, event(2, "b.done"))
        assert (await hand(engine)).before is State.CONTESTED
    row = await only(engine)
    assert (row["status"], row["event_id"], row["contested_at"]) == ("announced", "", None)
    assert await relay(engine) == 0


@pytest.mark.parametrize("supported", [False, True])
async def test_what_was_revoked_is_granted_again(engine: Engine, *, supported: bool) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1), event(3))
        await relay(engine)
        granted_at = (await only(engine))["granted_at"]
        await take_back(engine)
        # Whatever happens to it meanwhile does not reach the row.
        await send(pipeline, *([event(2)] if supported else [event(2, "b.done")]))
        made = await hand(engine)
        assert (made.new, made.restored) == (False, True)
        row = await only(engine)
        assert (row["status"], row["revoked_at"], row["granted_at"]) == ("announced", None, granted_at)
        assert row["event_id"] == ("a.done-2-u1" if supported else "")
        assert ("clean" in await digested(engine)) is supported
        # The last word is the last.
        await take_back(engine)
        assert (await only(engine))["status"] == "revoked"
        await send(pipeline, event(0), event(-1))
    assert (await only(engine))["status"] == "revoked"
    assert [one["achievement"] for one in await engine.announced()].count("clean") == 1


async def test_revoked_and_never_announced_and_granted_again(engine: Engine) -> None:
    await hand(engine)
    await take_back(engine)
    await hand(engine)
    assert await relay(engine) == 1
    assert await decided(engine) == ["granted_by_hand", "revoked", "granted_by_hand"]


async def test_a_worker_that_knows_the_user_learns_of_it(engine: Engine) -> None:
    """The express way takes for granted what it has read, and an operator comes between."""
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(1))
        await hand(engine)
        await send(pipeline, event(3))
        assert (await only(engine))["event_id"] == "a.done-3-u1"
    assert stats.decisions["amended"] == 1


async def test_an_operator_grants_between_reading_and_committing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(10), event(20), event(30))
        await take_back(engine)
        meanwhile(monkeypatch, "pasts_of_users", lambda: hand(engine))
        await send(pipeline, event(5))
    assert stats.overtaken == 1
    assert (await only(engine))["event_id"] == "a.done-10-u1"


async def test_a_grant_waits_for_the_partition(engine: Engine) -> None:
    connection = await asyncpg.connect(engine.settings.database_url)
    done = anyio.Event()

    async def work() -> None:
        await hand(engine)
        done.set()

    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    try:
        async with anyio.create_task_group() as tasks, connection.transaction():
            query = "SELECT FROM partition WHERE partition_id = $1 FOR UPDATE"
            await connection.execute(query, partition_of(*U1))
            tasks.start_soon(work)
            with anyio.fail_after(PATIENCE):
                while not await engine.rows(waiting) and not done.is_set():  # noqa: ASYNC110 - it has to be asked
                    await anyio.sleep(0.01)
            assert not done.is_set()
    finally:
        await connection.close()
    assert (await only(engine))["status"] == "granted"


async def test_it_counts_for_nothing_else(engine: Engine) -> None:
    await engine.apply(RULES + 'achievement then { title "Then" when count(event=c.done, >= 1) after clean }\n')
    await hand(engine)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1, "c.done"))
    assert ("u1", "then") not in await engine.unlocks()


async def test_a_running_worker_announces_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.pipeline.outbox.LONGEST_NAP", 0.05)
    async with engine.worker() as stats:
        await hand(engine)
        await stats.reach("announced", 1)
    assert (await only(engine))["status"] == "announced"


# -- what cannot be granted ------------------------------------------------------------------------------------------

MANY = """
event a.done { team: string? }
achievement ladder {
  title "Ladder"
  tier low { title "Low" when count(event=a.done, >= 2) }
  tier high { title "High" when count(event=a.done, >= 3) }
}
achievement each { title "Each" when count(event=a.done, >= 2) repeat each }
achievement weekly { title "Weekly" when count(event=a.done, >= 2) repeat every week }
achievement hourly { title "Hourly" when count(event=a.done, >= 2) repeat every hour }
achievement crew { title "Crew" scope team when count(event=a.done, >= 2) }
achievement firm { title "Firm" scope tenant when count(event=a.done, >= 2) }
achievement late version 1 from 2999-01-01T00:00:00Z { title "Late" when count(event=a.done, >= 2) }
"""


@pytest.mark.parametrize(
    ("name", "occurrence", "scope", "said"),
    [
        ("leader", None, "user", "no achievement leader.*ladder"),
        ("ladder", None, "user", "has tiers.*ladder.low, ladder.high"),
        ("ladder.hihg", None, "user", "no tier of ladder hihg.*high"),
        ("ladder.low", "1", "user", "does not repeat"),
        ("each", None, "user", "--occurrence 1"),
        ("each", "01", "user", "--occurrence 1"),
        ("each", "0", "user", "--occurrence 1"),
        ("each", "x", "user", "--occurrence 1"),
        ("each", "1" * 10, "user", "--occurrence 1"),
        ("weekly", None, "user", "every week.*-W"),
        ("weekly", "2026-04-13", "user", "every week.*-W"),
        ("weekly", "2026-W54", "user", "every week.*-W"),
        ("hourly", "2026-04-13T24", "user", "every hour"),
        ("crew", None, "user", "--scope team"),
        ("firm", None, "tenant", "the subject is t1 itself"),
        ("late", None, "user", "in effect now"),
    ],
)
async def test_what_the_rules_do_not_have(
    engine: Engine, name: str, occurrence: str | None, scope: str, said: str
) -> None:
    await engine.apply(MANY)
    achievement, _, tier = name.partition(".")
    with pytest.raises(CannotGrantError) as refused:
        await hand(engine, achievement, subject=Subject("t1", scope, "u1"), tier=tier or None, occurrence=occurrence)
    text = f"{refused.value} {refused.value.hint or ''}"
    assert all(part in text for part in said.split(".*")), text
    assert await engine.rows("SELECT FROM unlock") == []


@pytest.mark.parametrize("name", ["", "x" * 513, "a\0b", "\ud800"])
async def test_names_that_no_subject_has(engine: Engine, name: str) -> None:
    for subject in (Subject("t1", "user", name), Subject(name, "user", "u1")):
        with pytest.raises(CannotGrantError):
            await hand(engine, subject=subject)


async def test_what_the_rules_have(engine: Engine) -> None:
    await engine.apply(MANY)
    await hand(engine, "ladder", tier="high")
    await hand(engine, "each", occurrence="7")
    await hand(engine, "weekly", occurrence="2026-W53")
    await hand(engine, "hourly", occurrence="2026-04-13T09")
    await hand(engine, "crew", subject=Subject("t1", "team", "red"))
    await hand(engine, "firm", subject=Subject("t1", "tenant", "t1"))
    assert set(await engine.unlocks()) == {
        ("u1", "ladder.high"),
        ("u1", "each.7"),
        ("u1", "weekly.2026-W53"),
        ("u1", "hourly.2026-04-13T09"),
        ("red", "crew"),
        ("t1", "firm"),
    }


async def test_the_version_is_the_one_in_effect(engine: Engine) -> None:
    newer = 'achievement three version 2 from 2026-01-01T00:00:00Z { title "3" when count(event=a.done, >= 4) }\n'
    await engine.apply(RULES + newer)
    await hand(engine, "three")
    row = await only(engine, "three")
    assert (row["version"], row["reward"]) == (2, "{}")


async def test_a_reason_is_needed(engine: Engine) -> None:
    with pytest.raises(CannotGrantError, match="reason"):
        await hand(engine, reason=" ")


async def test_an_erased_user_gets_nothing(engine: Engine) -> None:
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "t1", "u1", by="test", now=wall_clock())
    with pytest.raises(CannotGrantError, match="erased"):
        await hand(engine)


async def test_rules_that_are_no_longer_in_force(engine: Engine) -> None:
    async with open_store(engine.settings.database_url) as store:
        rules = await load_deployed(store, engine.settings)
        await engine.apply(MANY)
        with pytest.raises(RulesMovedError):
            await grant_by_hand(store, rules, U1, "clean", None, None, reason="r", by="ann", now=wall_clock())
    assert await engine.rows("SELECT FROM unlock") == []
