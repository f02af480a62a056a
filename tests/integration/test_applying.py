"""Rules that change: what is refused, what may be accepted, and what becomes of subjects that are heard no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dsl.compile import USER
from dsl.outcome import Subject
from tests.integration.engine import Engine, event
from tests.integration.pipelines import expect_replay, pipeline_on, send
from worker.admin import rollout as applying
from worker.admin.erasure import erase_user
from worker.admin.results import StaleError, Stored, read_named, read_results
from worker.admin.rollout import MeaningChangedError
from worker.app import wall_clock
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Clock
from worker.store import open_store

if TYPE_CHECKING:
    from typing import Any

    from dsl.outcome import Unlock
    from dsl.progress import State

pytestmark = pytest.mark.anyio

EVENTS = "event a.done { n: int? >= 0, team: string? }\nevent b.done {}\nevent c.done {}\n"
X = 'achievement x { title "X" when count(event=a.done, >= 2) }\n'
Y = 'achievement y { title "Y" when count(event=b.done, >= 2) }\n'
BIG = 'achievement big { title "B" when sum(event=a.done, of=n, >= 8) }\n'
TEAM = 'achievement team { title "T" scope team when count(event=a.done, >= 2) }\n'
ALL = 'achievement all { title "A" scope tenant when count(event=a.done, >= 2) }\n'
SETTLING = 'achievement slow { title "S" when count(event=b.done, >= 1, unless=c.done) settle 30d }\n'


async def results(engine: Engine) -> Stored:
    async with open_store(engine.settings.database_url) as store:
        return await read_results(store, await load_deployed(store, engine.settings))


async def of_subject(engine: Engine, name: str) -> dict[Subject, State]:
    async with open_store(engine.settings.database_url) as store:
        return (await read_named(store, await load_deployed(store, engine.settings), "t1", name)).states


def kept(unlocks: list[Unlock]) -> list[tuple[str, str, int]]:
    return [(one.subject, one.achievement, one.version) for one in unlocks]


async def sent(engine: Engine, *events: dict[str, Any]) -> list[dict[str, Any]]:
    async with pipeline_on(engine) as pipeline:
        assert await send(pipeline, *events) == []
    return list(events)


# -- the meaning ------------------------------------------------------------------------------------------------------


async def test_a_contract_that_changes_what_is_deployed_is_refused(engine: Engine) -> None:
    await engine.apply(EVENTS + BIG)
    tightened = EVENTS.replace("int? >= 0", "int? >= 5") + BIG
    with pytest.raises(MeaningChangedError) as refused:
        await engine.apply(tightened, accept=False)
    assert str(refused.value) == (
        "changed meaning under an unchanged version: "
        "big version 1 (event a.done: n was `int >= 0`, is `int >= 5`); "
        "deploy it as a new version, or accept the change (`ach apply --accept-contracts`)"
    )
    assert len(await engine.rows("SELECT FROM rule_set")) == 2


async def test_a_contract_that_changes_nothing_that_is_read_is_taken(engine: Engine) -> None:
    await engine.apply(EVENTS + X)
    applied = await engine.apply(EVENTS.replace("int? >= 0", "decimal >= 5") + X, accept=False)
    assert (applied.changed, applied.changed_meaning) == (True, ())


async def test_a_changed_contract_is_accepted_and_everyone_judged_anew(engine: Engine) -> None:
    await engine.apply(EVENTS + BIG)
    await sent(engine, *(event(i, user=user, n=[3, 4, 3][i]) for user in ("u1", "u2") for i in range(3)))
    tightened = EVENTS.replace("int? >= 0", "int? >= 5") + BIG
    (changed,) = (await engine.apply(tightened)).changed_meaning
    assert (changed.achievement, changed.version, changed.own) == ("big", 1, False)
    report = await engine.backfill()
    assert (report.subjects, report.tallies["big", 1].contested) == (2, 2)
    await engine.rows("DELETE FROM progress")
    await engine.rows("DELETE FROM checkpoint")
    assert (await engine.backfill()).tallies == {}
    assert (await results(engine)).unlocks == []
    # It is on record: the same again is no change, and the old one is.
    assert (await engine.apply(tightened + Y, accept=False)).changed_meaning == ()
    with pytest.raises(MeaningChangedError, match="n was `int >= 5`, is `int >= 0`"):
        await engine.apply(EVENTS + BIG, accept=False)


async def test_a_late_event_after_a_change_finds_the_same_as_a_backfill(engine: Engine) -> None:
    await engine.apply(EVENTS + BIG)
    events = await sent(engine, *(event(i, n=[3, 4, 3][i]) for i in range(3)))
    tightened = EVENTS.replace("int? >= 0", "int? >= 3") + BIG
    await engine.apply(tightened)
    # Touched, and not by a backfill.
    events += await sent(engine, event(-5, n=5))
    await expect_replay(engine, tightened, events)
    assert (await engine.backfill()).subjects == 0


async def test_its_own_text_is_never_accepted(engine: Engine) -> None:
    await engine.apply(EVENTS + BIG)
    other = EVENTS.replace("int? >= 0", "int? >= 5") + BIG.replace(">= 8", ">= 9")
    with pytest.raises(
        MeaningChangedError, match=r"big version 1 \(its own text has changed\); deploy it as a new version$"
    ):
        await engine.apply(other, accept=True)


async def test_what_was_retired_comes_back_as_it_was(engine: Engine) -> None:
    await engine.apply(EVENTS + BIG)
    tightened = EVENTS.replace("int? >= 0", "int? >= 5")
    await engine.apply(tightened + X, accept=False)
    with pytest.raises(MeaningChangedError, match="n was `int >= 0`, is `int >= 5`"):
        await engine.apply(tightened + BIG, accept=False)
    assert (await engine.apply(EVENTS + BIG, accept=False)).changed_meaning == ()


async def test_copies_are_judged_by_the_rules_in_force(engine: Engine) -> None:
    rules = "event a.done { key: string? }\n" + X
    await engine.apply(rules)
    events = await sent(engine, *(event(i, key="k") for i in range(3)))
    once = rules.replace("key: string?", "key: string? once per key")
    with pytest.raises(MeaningChangedError, match="once per was `none`, is `key`"):
        await engine.apply(once, accept=False)
    await engine.apply(once)
    assert (await engine.backfill()).tallies["x", 1].contested == 1
    await expect_replay(engine, once, events)


# -- what an earlier release has deployed -----------------------------------------------------------------------------

FORGET_DECLARATIONS = "UPDATE rule_version SET declarations = NULL"
OTHER_FINGERPRINTS = (
    "UPDATE aggregate SET fingerprint = md5(fingerprint)",
    "UPDATE progress SET stamp = md5(split_part(stamp, '@', 1)) || '@' || split_part(stamp, '@', 2)",
    "UPDATE checkpoint SET stamp = md5(split_part(stamp, '@', 1)) || '@' || split_part(stamp, '@', 2)",
)


async def by_an_earlier_release(engine: Engine) -> None:
    """Leave the database as a release has that knew no declarations, and gave plans other fingerprints."""
    for statement in (FORGET_DECLARATIONS, *OTHER_FINGERPRINTS):
        await engine.rows(statement)


async def test_an_upgrade_refuses_no_unchanged_files(engine: Engine) -> None:
    await engine.apply(EVENTS + BIG)
    await by_an_earlier_release(engine)
    assert not (await engine.apply(EVENTS + BIG, accept=False)).changed
    assert (await engine.apply(EVENTS + BIG + Y, accept=False)).changed_meaning == ()
    assert await engine.rows("SELECT FROM rule_version WHERE declarations IS NULL AND retired_at IS NULL") == []


async def test_an_upgrade_knows_what_was_deployed_before(engine: Engine) -> None:
    await engine.apply(EVENTS + BIG)
    await engine.apply(EVENTS + BIG + X)
    await engine.apply(EVENTS + X)
    await by_an_earlier_release(engine)
    tightened = EVENTS.replace("int? >= 0", "int? >= 5")
    # One in force, and one that had been retired: each by the files that it was last in force with.
    with pytest.raises(MeaningChangedError, match=r"big version 1 \(event a.done: n was `int >= 0`, is `int >= 5`\)"):
        await engine.apply(tightened + BIG + X, accept=False)
    assert (await engine.apply(EVENTS + BIG + X, accept=False)).changed_meaning == ()


async def test_an_upgrade_folds_everyone_once(engine: Engine) -> None:
    await engine.apply(EVENTS + X + TEAM)
    events = await sent(engine, *(event(i, user=user, team="red") for user in ("u1", "u2", "u3") for i in range(2)))
    await by_an_earlier_release(engine)
    # Without anything applied anew: one is touched, the others are not.
    events += await sent(engine, event(5, user="u1"))
    with pytest.raises(StaleError, match="3 subjects"):
        await results(engine)
    # Users u2 and u3, and the team.
    assert (await engine.backfill()).subjects == 3
    await expect_replay(engine, EVENTS + X + TEAM, events)
    # The plan is known by now, and words alone have no one folded again.
    await engine.apply(EVENTS + X.replace('"X"', '"Words"') + TEAM, accept=False)
    assert (await engine.backfill()).subjects == 0
    assert {row["status"] for row in await engine.rows("SELECT status FROM aggregate WHERE scope = 'team'")} == {"live"}


async def test_an_upgrade_back_and_forth(engine: Engine) -> None:
    """A plan that is known under its fingerprint of today already, and retired."""
    await engine.apply(EVENTS + X)
    await engine.backfill()
    (row,) = await engine.rows("SELECT fingerprint, epoch FROM aggregate WHERE status = 'live'")
    await by_an_earlier_release(engine)
    await engine.rows(
        "INSERT INTO aggregate (scope, fingerprint, types, epoch, status, changed_at) "
        "VALUES ('user', $1, '{a.done}', 1, 'retired', now())",
        row["fingerprint"],
    )
    await engine.backfill()
    rows = await engine.rows("SELECT fingerprint, epoch FROM aggregate WHERE status = 'live'")
    assert rows == [{"fingerprint": row["fingerprint"], "epoch": row["epoch"]}]


async def test_another_operator_applies_meanwhile(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was worked out under other rules than those in force is worked out again."""
    await engine.apply(EVENTS + BIG)
    await by_an_earlier_release(engine)
    remember, times = applying._remember, 0  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    async def slowly(*args: Any) -> Any:  # noqa: ANN401
        nonlocal times
        past = await remember(*args)
        times += 1
        if times == 1:
            monkeypatch.setattr(applying, "_remember", remember)
            await engine.apply(EVENTS + BIG + X)
            await by_an_earlier_release(engine)
            monkeypatch.setattr(applying, "_remember", slowly)
        return past

    monkeypatch.setattr(applying, "_remember", slowly)
    applied = await engine.apply(EVENTS + BIG + X + Y, accept=False)
    assert (times, applied.new) == (2, (("y", 1),))


# -- subjects that are heard no more ----------------------------------------------------------------------------------


async def test_who_is_heard_no_more_is_visited_once(engine: Engine) -> None:
    await engine.apply(EVENTS + X + Y)
    events = await sent(
        engine,
        event(0),
        event(1),
        event(0, "b.done", user="u2"),
        event(1, "b.done", user="u2"),
        event(2, "c.done", user="u3"),
    )
    await engine.apply(EVENTS + Y)
    with pytest.raises(StaleError, match="run `ach backfill`"):
        await results(engine)
    assert (await engine.backfill()).subjects == 1
    assert (await engine.backfill()).subjects == 0
    await expect_replay(engine, EVENTS + Y, events)
    stored = await results(engine)
    assert kept(stored.retired) == [("u1", "x", 1)]
    assert (await engine.unlocks())["u1", "x"] == "granted"
    assert [row["subject"] for row in await engine.rows("SELECT subject FROM progress")] == ["u2"]
    # They are shown at the beginning of everything; who is known nowhere is not.
    for user in ("u1", "u3"):
        (state,) = (await of_subject(engine, user)).values()
        assert state.mark is None
    assert await of_subject(engine, "u9") == {}


async def test_who_has_not_been_folded_is_not_shown_at_the_beginning(engine: Engine) -> None:
    await engine.apply(EVENTS + Y)
    await sent(engine, event(0), event(1))
    await engine.apply(EVENTS + X)
    with pytest.raises(StaleError):
        await of_subject(engine, "u1")
    await engine.backfill()
    assert list(await of_subject(engine, "u1")) == [Subject("t1", USER, "u1")]


async def test_checkpoints_of_users_no_rule_hears_go(engine: Engine) -> None:
    await engine.apply(EVENTS + X.replace(">= 2", ">= 900"))
    await sent(engine, *(event(i) for i in range(200)))
    assert len(await engine.rows("SELECT FROM checkpoint")) > 1
    await engine.rows("DELETE FROM progress")
    await engine.apply(EVENTS + Y)
    assert (await engine.backfill()).subjects == 1
    assert await engine.rows("SELECT FROM checkpoint") == []
    assert (await engine.backfill()).subjects == 0


async def test_a_version_that_is_dropped_while_another_stays(engine: Engine) -> None:
    await engine.apply(EVENTS + 'achievement x { title "X" when count(event=a.done, >= 1) }\n')
    events = await sent(engine, event(0), event(0, user="u2"), event(100, "b.done", user="u2"), event(0, user="u3"))
    second = 'achievement x version 2 from 2026-01-01T00:00:00Z { title "X" when count(event=b.done, >= 1) }\n'
    assert (await engine.apply(EVENTS + second)).retired[-1] == ("x", 1)
    report = await engine.backfill()
    assert (report.tallies["x", 1].contested, report.tallies["x", 2].amended) == (2, 1)
    stored = await results(engine)
    assert (kept(stored.unlocks), kept(stored.contested)) == ([("u2", "x", 2)], [("u1", "x", 1), ("u3", "x", 1)])
    await expect_replay(engine, EVENTS + second, events)
    assert (await engine.backfill()).subjects == 0


async def test_a_team_and_a_tenant_without_events_keep_nothing(engine: Engine) -> None:
    await engine.apply(EVENTS + TEAM + ALL)
    await sent(engine, *(event(i, team="red") for i in range(3)), event(0, team="blue", tenant="t2"))
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "t1", "u1", by="test", now=wall_clock())
    assert (await engine.backfill()).subjects == 2
    assert set((await engine.unlocks()).values()) == {"contested"}
    stored = await results(engine)
    assert (stored.unlocks, len(stored.contested)) == ([], 2)
    assert (await engine.backfill()).subjects == 0


async def test_what_settles_for_a_team_without_events_is_withdrawn(engine: Engine) -> None:
    slow = TEAM.replace("}", "settle 3650d }")
    await engine.apply(EVENTS + slow)
    await sent(engine, *(event(i, team="red") for i in range(3)))
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "t1", "u1", by="test", now=wall_clock())
    assert (await engine.backfill()).tallies["team", 1].withdrawn == 1
    assert await engine.unlocks() == {}


async def test_what_was_revoked_is_not_visited_again(engine: Engine) -> None:
    await engine.apply(EVENTS + TEAM)
    await sent(engine, *(event(i, team="red") for i in range(3)))
    await engine.rows("UPDATE unlock SET revoked_at = now()")
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "t1", "u1", by="test", now=wall_clock())
    assert (await engine.backfill()).subjects == 1
    assert (await engine.backfill()).subjects == 0
    assert await engine.unlocks() == {("red", "team"): "revoked"}


async def test_a_scope_that_no_plan_has_any_more_leaves_nothing(engine: Engine) -> None:
    await engine.apply(EVENTS + X + TEAM)
    await sent(engine, *(event(i, team=f"team {i % 3}") for i in range(200)))
    assert len(await engine.rows("SELECT FROM checkpoint WHERE scope = 'team'")) > 1
    await engine.apply(EVENTS + X)
    assert (await engine.backfill()).subjects == 0
    assert {row["scope"] for row in await engine.rows("SELECT scope FROM progress")} == {"user"}
    assert {row["scope"] for row in await engine.rows("SELECT scope FROM checkpoint")} == {"user"}
    assert kept((await results(engine)).retired) == [(f"team {i}", "team", 1) for i in range(3)]
    await engine.apply(EVENTS + X + TEAM)
    assert (await engine.backfill()).tallies["team", 1].unchanged == 3


# -- what had not settled ---------------------------------------------------------------------------------------------


async def test_what_has_not_settled_is_withdrawn_with_its_rule(engine: Engine) -> None:
    streamed = engine.with_settings(clock=Clock.STREAM)
    await streamed.apply(EVENTS + SETTLING + X)
    day = 24 * 60
    await sent(
        streamed,
        event(0, "b.done"),
        event(2 * day, "b.done", user="u2"),
        event(3 * day, "b.done", user="u3"),
    )
    await sent(streamed, event(31 * day, user="u4"))  # by now one has settled, and the outbox has not seen it
    await engine.rows("UPDATE unlock SET revoked_at = now() WHERE subject = 'u3'")
    applied = await streamed.apply(EVENTS + X)
    # What has settled by the clock counts as granted, and what was revoked stays so.
    assert applied.withdrawn == 1
    assert {subject for subject, _ in await engine.unlocks()} == {"u1", "u3"}
    rows = await engine.rows("SELECT subject, decision, final FROM evaluation WHERE decision = 'withdrawn'")
    assert rows == [{"subject": "u2", "decision": "withdrawn", "final": False}]
    await streamed.apply(EVENTS + SETTLING + X)
    await streamed.backfill()
    assert {subject for subject, _ in await engine.unlocks()} == {"u1", "u2", "u3"}


async def test_what_has_not_settled_stays_with_a_rule_that_stays(engine: Engine) -> None:
    await engine.apply(EVENTS + SETTLING.replace("30d", "3650d"))
    await sent(engine, event(0, "b.done"))
    assert (await engine.apply(EVENTS + SETTLING.replace("30d", "3650d") + X)).withdrawn == 0
    assert await engine.unlocks() == {("u1", "slow"): "settling"}


async def test_a_tier_that_leaves_takes_what_has_not_settled(engine: Engine) -> None:
    low = "tier low { when count(event=b.done, >= 1, unless=c.done) }"
    high = "tier high { when count(event=b.done, >= 2, unless=c.done) }"
    both = f'achievement t {{ title "T" settle 3650d {low} {high} }}\n'
    await engine.apply(EVENTS + both)
    await sent(engine, event(0, "b.done"), event(1, "b.done"))
    second = f'achievement t version 2 from 2020-01-01T00:00:00Z {{ title "T" settle 3650d {low} }}\n'
    assert (await engine.apply(EVENTS + second)).withdrawn == 1
    await engine.backfill()
    assert await engine.unlocks() == {("u1", "t.low"): "settling"}
