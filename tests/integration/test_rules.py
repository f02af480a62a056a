from __future__ import annotations

from functools import partial
from uuid import uuid4

import pytest

from tests.integration.engine import Engine, event
from worker.admin.rollout import MeaningChangedError
from worker.app import wall_clock
from worker.engine.rule_set import RulesRefusedError
from worker.engine.stats import Stats
from worker.pipeline.minute_book import MinuteBook
from worker.pipeline.pipeline import InForce
from worker.pipeline.rules_in_force import load_deployed
from worker.pipeline.standby import Standby
from worker.store import open_store

pytestmark = pytest.mark.anyio

EVENTS = """
event a.done { key: string?, team: string? }
event b.done {}
event c.done {}
"""
THREE = 'achievement three { title "Three" when count(event=a.done, >= 3) }\n'
TWO_B = 'achievement two_b { title "Two" when count(event=b.done, >= 2) }\n'
TEAM = 'achievement team_of_three { title "Team" scope team when count(event=a.done, >= 3) }\n'
ALL = 'achievement busy { title "Busy" scope tenant when count(event=a.done, >= 4) }\n'


async def test_the_same_files_change_nothing(engine: Engine) -> None:
    first = await engine.apply(EVENTS + THREE)
    again = await engine.apply(EVENTS + THREE)
    assert (first.epoch, again.epoch, again.changed) == (2, 2, False)


async def test_files_with_errors_are_refused(engine: Engine) -> None:
    with pytest.raises(RulesRefusedError, match="three"):
        await engine.apply(THREE)
    assert len(await engine.rows("SELECT FROM rule_set")) == 1


async def test_a_changed_meaning_needs_a_new_version(engine: Engine) -> None:
    await engine.apply(EVENTS + THREE)
    with pytest.raises(MeaningChangedError, match="three version 1"):
        await engine.apply(EVENTS + THREE.replace(">= 3", ">= 4"))
    words = THREE.replace('"Three"', '"Drei"').replace("{ title", "{\n  # a comment\n  title")
    assert (await engine.apply(EVENTS + words)).changed
    (row,) = await engine.rows("SELECT source, epoch FROM rule_version WHERE achievement = 'three'")
    assert "Drei" in row["source"]


async def test_retired_versions_are_kept(engine: Engine) -> None:
    await engine.publish(event(n) for n in range(3))
    await engine.drain()
    applied = await engine.apply(EVENTS + TWO_B)
    assert set(applied.retired) == {("three", 1), ("clean", 1), ("settled", 1)}
    await engine.backfill()
    await engine.publish([event(-1)])
    await engine.drain()
    assert (await engine.unlocks())[("u1", "three")] == "announced"
    # What they granted cannot be earned under another meaning either.
    with pytest.raises(MeaningChangedError):
        await engine.apply(EVENTS + THREE.replace(">= 3", ">= 4"))


async def test_new_rules_while_a_worker_runs(engine: Engine) -> None:
    async with engine.worker() as stats:
        await engine.publish([event(0, "b.done"), *(event(n, "b.done", user="u2") for n in range(2))])
        await stats.reach("events", 3)
        assert (await engine.apply(EVENTS + THREE + TWO_B)).new == (("two_b", 1),)
        # Touched by the next event, without a backfill.
        await engine.publish([event(1, "b.done")])
        await stats.reach("unlocks", 1)
        assert set(await engine.unlocks()) == {("u1", "two_b")}
        report = await engine.backfill()
        assert report.tallies[("two_b", 1)].granted == 1
    await engine.drain()
    assert await engine.unlocks() == {("u1", "two_b"): "announced", ("u2", "two_b"): "announced"}
    assert (await engine.backfill()).subjects == 0


async def test_a_worker_without_events_follows_the_rules_in_force(engine: Engine) -> None:
    first = (await engine.apply(EVENTS + THREE)).epoch
    async with open_store(engine.settings.database_url) as store:
        in_force = InForce(partial(load_deployed, store, engine.settings))
        await in_force.reload()
        standby = Standby(store, lag=_no_lag)
        book = MinuteBook(store, Stats(), standby, worker_id=uuid4(), in_force=in_force, now=wall_clock)
        standby.on_move(lambda: None)
        await engine.apply(EVENTS + THREE + TWO_B)
        for said in (first, first + 1):
            await book.write()
            assert in_force.epoch == first + 1
            assert await engine.rows("SELECT rules_epoch FROM worker") == [{"rules_epoch": said}]


async def _no_lag() -> int:
    return 0


async def test_a_plan_that_comes_back_has_missed_nothing(engine: Engine) -> None:
    await engine.apply(EVENTS + TWO_B)
    await engine.publish([event(0, "b.done")])
    await engine.drain()
    await engine.apply(EVENTS + THREE)
    await engine.publish([event(1, "b.done")])
    await engine.drain()
    await engine.apply(EVENTS + TWO_B)
    await engine.publish([event(2, "b.done", user="other")])
    await engine.drain()
    await engine.backfill()
    await engine.drain()
    assert (await engine.unlocks())[("u1", "two_b")] == "announced"


async def test_before_the_first_rules_everything_is_recorded(engine: Engine) -> None:
    await engine.apply("")
    await engine.publish(event(n) for n in range(3))
    assert (await engine.drain()).events == 3
    await engine.apply(EVENTS + THREE)
    assert (await engine.backfill()).tallies[("three", 1)].granted == 1


async def test_scopes_of_fields_and_tenants(engine: Engine) -> None:
    await engine.apply(EVENTS + TEAM + ALL)
    await engine.publish(event(n, user=f"u{n}", team="red" if n % 2 else "blue") for n in range(6))
    await engine.drain(batch_size=2)
    earned = {("red", "team_of_three"), ("blue", "team_of_three"), ("t1", "busy")}
    assert set(await engine.unlocks()) == earned
    # A late event moves the team's third.
    await engine.publish([event(0, user="new", team="red", id="late")])
    assert (await engine.drain()).decisions == {"amended": 2}
    (row,) = await engine.rows("SELECT event_id FROM unlock WHERE subject = 'red'")
    assert row["event_id"] == "a.done-3-u3"


async def test_a_field_scope_that_comes_after_the_events(engine: Engine) -> None:
    await engine.publish(event(n, user=f"u{n}", team="red") for n in range(4))
    await engine.publish([event(9, user="u9"), event(10, user="u10", team="x" * 600)])
    await engine.drain()
    await engine.apply(EVENTS + TEAM)
    assert (await engine.backfill()).tallies[("team_of_three", 1)].granted == 1
    assert len(await engine.rows("SELECT FROM event_subject")) == 4
    await engine.apply(EVENTS + THREE)
    await engine.backfill()
    assert await engine.rows("SELECT FROM event_subject") == []


async def test_a_subject_too_long_for_a_key_is_a_dead_letter(engine: Engine) -> None:
    await engine.apply(EVENTS + TEAM)
    await engine.publish([event(1, team="x" * 600), event(2, team="x")])
    stats = await engine.drain()
    assert (stats.events, stats.dead) == (1, {"contract": 1})


async def test_a_tightened_contract_does_not_rewrite_history(engine: Engine) -> None:
    await engine.apply("event a.done {}\n" + THREE)
    await engine.publish([event(n, team=n) for n in range(3)])
    await engine.drain()
    await engine.apply("event a.done { team: string }\n" + THREE)
    assert (await engine.backfill()).subjects == 0
    assert list(await engine.unlocks()) == [("u1", "three")]
    await engine.publish([event(4, team=4)])
    assert (await engine.drain()).dead == {"contract": 1}
