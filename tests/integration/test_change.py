"""Changes of rules as objects: who applied what, how far each is built, what is announced, and who goes on with it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
import pytest

from dsl.outcome import Subject
from tests.integration.engine import PATIENCE, Engine, event
from tests.integration.pipelines import sent
from worker.admin import rollout
from worker.admin.backfill import backfill
from worker.admin.changes import Change, NotNowError, announce_silent, cancel, change_of, changes, counts_of, pause
from worker.admin.lease import BuildEndedError, Limits, SupersededError
from worker.admin.manual_grant import grant_by_hand
from worker.admin.pending import NO_TERMS, NotPendingError, PolicyRefusedError
from worker.admin.rollout import BeginsEarlierError, StalePlanError, Terms, apply_rules
from worker.app import wall_clock
from worker.engine.change import Announced, Policy
from worker.engine.rule_set import RuleFile
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from typing import Any

    from worker.admin.rollout import Applied
    from worker.engine.pace import Headway

pytestmark = pytest.mark.anyio

EVENTS = "event a.done { n: int? >= 0, team: string? }\nevent b.done { team: string? }\nevent c.done {}\n"
X = 'achievement x { title "X" when count(event=a.done, >= 2) }\n'
Y = 'achievement y { title "Y" when count(event=a.done, >= 2, unless=c.done) }\n'
ONE = 'achievement one { title "1" when count(event=a.done, >= 1) }\n'
SLOW = 'achievement slow { title "S" when count(event=a.done, >= 1) settle 1h }\n'
TEAM = 'achievement team { title "T" scope team when count(event=a.done, >= 2) }\n'
WIDE = 'achievement wide { title "W" scope team when count(event=b.done, >= 2) }\n'
NONE = Policy(Announced.NONE)


@pytest.fixture
async def engine(migrated_url: str, nats_url: str) -> Engine:
    """An engine without rules."""
    return Engine(Settings(nats_url=nats_url, database_url=migrated_url, consumer=f"c{uuid4().hex}"))


async def applied(engine: Engine, text: str, terms: Terms = NO_TERMS, *, by: str = "ann") -> Applied:
    return await engine.apply(text, terms, by=by, accept=False)


async def the_change(engine: Engine, number: int = 0) -> Change:
    async with open_store(engine.settings.database_url) as store:
        return (await changes(store, limit=100))[number]


async def decided(engine: Engine) -> dict[tuple[str, str, str], int | None]:
    rows = await engine.rows("SELECT subject, achievement, decision, change_id FROM evaluation ORDER BY evaluation_id")
    return {(row["subject"], row["achievement"], row["decision"]): row["change_id"] for row in rows}


# -- the object --------------------------------------------------------------------------------------------------------


async def test_a_change_says_who_when_and_why(engine: Engine) -> None:
    first = await applied(engine, EVENTS + X, Terms("to begin with"))
    assert (first.epoch, first.change_id) == (1, 1)
    change = await the_change(engine)
    assert (change.state, change.epoch, change.epoch_before) == ("building", 1, 0)
    assert (change.applied_by, change.message, change.announce) == ("ann", "to begin with", "all")
    await engine.backfill()
    assert (await the_change(engine)).state == "done"
    again = await applied(engine, EVENTS + X)
    assert (again.changed, again.change_id) == (False, 1)
    second = await applied(engine, EVENTS + X + Y, by="bob")
    assert (second.epoch, second.change_id) == (2, 2)
    assert (await the_change(engine)).applied_by == "bob"
    (row,) = await engine.rows("SELECT rule_set.change_id, sources FROM rule_set WHERE epoch = 2")
    assert row["change_id"] == 2
    assert await engine.rows("SELECT FROM change WHERE sources IS NOT NULL") == []


async def test_a_new_change_takes_over_from_one_that_is_built(engine: Engine) -> None:
    await applied(engine, EVENTS + X + TEAM)
    await engine.backfill()
    await applied(engine, EVENTS + X + TEAM + WIDE)
    left = (await the_change(engine)).place
    third = await applied(engine, EVENTS + X, Terms(policy=NONE))
    assert third.took_over == "change 2 was building: this change does what it has left, with --announce none"
    change, before = await the_change(engine), await the_change(engine, 1)
    assert (change.state, before.state, before.ended_by) == ("building", "superseded", "ann")
    assert change.place.heard == left.heard == {"team": ["b.done"]}
    assert change.place.unheard
    await engine.backfill()
    assert (await the_change(engine)).state == "done"


async def test_what_a_change_has_not_built_is_built_by_the_next(engine: Engine) -> None:
    await applied(engine, EVENTS + X)
    await engine.backfill()
    await sent(engine, event(0, "b.done", user="u1"), event(0, "c.done", user="u2"))
    b = 'achievement b { title "B" when count(event=b.done, >= 1) }\n'
    await applied(engine, EVENTS + X + b)
    await applied(engine, EVENTS + X + b + b.replace("b {", "c {").replace("b.done", "c.done"))
    await engine.backfill()
    assert await engine.unlocks() == {("u1", "b"): "granted", ("u2", "c"): "granted"}


async def test_decisions_name_their_change_in_a_worker_as_in_the_build(engine: Engine) -> None:
    await applied(engine, EVENTS + X)
    await engine.backfill()
    await sent(engine, *(event(at, user=user) for user in ("u1", "u2") for at in (0, 1)))
    assert set((await decided(engine)).values()) == {None}
    third = 'achievement third { title "Z" when count(event=a.done, >= 3) }\n'
    await applied(engine, EVENTS + X + Y + third)
    # One is touched by an event, and also earns by it; the other one is not.
    await sent(engine, event(2, user="u1"))
    await engine.backfill()
    found = await decided(engine)
    assert [found[user, "y", "granted"] for user in ("u1", "u2")] == [2, 2]
    assert [found[user, "x", "granted"] for user in ("u1", "u2")] == [None, None]
    assert found["u1", "third", "granted"] is None
    async with open_store(engine.settings.database_url) as store:
        counts = await counts_of(store, 2)
    assert (counts.decisions, counts.granted, counts.waiting) == ({"granted": 2}, 2, 2)


async def test_what_a_change_takes_names_it_too(engine: Engine) -> None:
    await applied(engine, EVENTS + X)
    await engine.backfill()
    await sent(engine, event(0), event(1), event(0, user="u2"), event(1, user="u2"))
    await engine.drain()
    later = 'achievement x version 2 from 2026-01-01T00:00:00Z { title "X" when count(event=a.done, >= 9) }\n'
    await applied(engine, EVENTS + later)
    await sent(engine, event(2, user="u2"))
    await engine.backfill()
    found = await decided(engine)
    assert [found[user, "x", "contested"] for user in ("u1", "u2")] == [2, 2]
    await engine.drain()
    assert [one["change"] for one in await engine.corrections()] == [2, 2]


async def test_announcements_name_the_change(engine: Engine) -> None:
    await applied(engine, EVENTS + X)
    await sent(engine, event(0), event(1))
    await applied(engine, EVENTS + X + Y)
    await engine.backfill()
    await engine.drain()
    said = {one["achievement"]: one for one in await engine.announced()}
    assert (said["y"]["origin"], said["y"]["change"]) == ("backfill", 2)
    assert said["x"]["origin"] == "live"
    assert "change" not in said["x"]


# -- what is announced -------------------------------------------------------------------------------------------------


async def test_a_silent_change_announces_nothing(engine: Engine) -> None:
    await applied(engine, EVENTS + X)
    await engine.backfill()
    await sent(engine, *(event(at, user=user) for user in ("u1", "u2", "u3") for at in (0, 2)))
    await engine.drain()
    await applied(engine, EVENTS + X + Y, Terms(policy=NONE))
    await engine.publish([event(3, user="u1")])
    await engine.drain()  # lazily, by a worker
    await engine.backfill()
    await engine.drain()
    assert {one["achievement"] for one in await engine.announced()} == {"x"}
    status = await engine.unlocks()
    assert [status[user, "y"] for user in ("u1", "u2", "u3")] == ["silent"] * 3
    # Its changes are not announced either, and are no revisions.
    await sent(engine, event(1, "c.done", user="u2", id="late"))
    await engine.drain()
    assert (await engine.unlocks())["u2", "y"] == "contested"
    assert await engine.corrections() == []
    (row,) = await engine.rows("SELECT revision FROM unlock WHERE subject = 'u2' AND achievement = 'y'")
    assert row["revision"] == 1
    # What new events earn is announced.
    await sent(engine, event(3, user="u4"), event(4, user="u4"))
    await engine.drain()
    assert ("u4", "y") in {(one["subject"], one["achievement"]) for one in await engine.announced()}


async def test_what_was_silent_is_announced_if_an_operator_says_so(engine: Engine) -> None:
    await applied(engine, EVENTS + X)
    await engine.backfill()
    await sent(engine, *(event(at, user=user) for user in ("u1", "u2", "u3") for at in (0, 2)))
    await applied(engine, EVENTS + X + Y, Terms(policy=NONE))
    async with open_store(engine.settings.database_url) as store:
        with pytest.raises(NotNowError, match="change 2 is building"):
            await announce_silent(store, 2)
        await engine.backfill()
        await sent(engine, event(1, "c.done", user="u2", id="late"))
        assert (await counts_of(store, 2)).silent == 3
        rules = await load_deployed(store, engine.settings)
        subject = Subject("t1", "user", "u3")
        await grant_by_hand(store, rules, subject, "y", None, None, reason="asked", by="op", now=wall_clock())
        assert await announce_silent(store, 2) == 1
    await engine.drain()
    said = {one["subject"]: one for one in await engine.announced() if one["achievement"] == "y"}
    assert {name: (one["origin"], one["revision"]) for name, one in said.items()} == {
        "u1": ("backfill", 1),
        "u3": ("by_hand", 1),
    }
    assert await engine.corrections() == []
    assert (await engine.unlocks())["u2", "y"] == "contested"


async def test_only_what_was_earned_lately_is_announced(engine: Engine) -> None:
    await applied(engine, EVENTS + X)
    await engine.backfill()
    await sent(engine, event(0, user="u1"), event(10, user="u2"), event(20, user="u3"))
    since = 1_776_000_000_000_000 + 10 * 60_000_000
    await applied(engine, EVENTS + X + ONE, Terms(policy=Policy(Announced.SINCE, since)))
    await engine.backfill()
    await engine.drain()
    assert {one["subject"] for one in await engine.announced()} == {"u2", "u3"}
    assert (await engine.unlocks())["u1", "one"] == "silent"


async def test_what_settles_later_stays_silent(engine: Engine) -> None:
    await applied(engine, EVENTS + X)
    await engine.backfill()
    await sent(engine, event(0))
    # As if it had settled behind the change.
    await applied(engine, EVENTS + X + SLOW.replace("1h", "3000d"), Terms(policy=NONE))
    await engine.backfill()
    assert (await engine.unlocks())["u1", "slow"] == "settling"
    await engine.rows("UPDATE unlock SET settles_at = now() - interval '1 hour' WHERE achievement = 'slow'")
    await engine.drain()
    assert (await engine.unlocks())["u1", "slow"] == "silent"
    assert await engine.said() == []
    assert (await decided(engine))["u1", "slow", "granted"] == 2


async def test_a_change_is_not_silent_beside_workers_that_announce_everything(engine: Engine) -> None:
    await applied(engine, EVENTS + X)
    await engine.rows(
        "INSERT INTO worker (worker_id, host, release, started_at, seen_at, rules_epoch, messages, retries)"
        " VALUES (gen_random_uuid(), 'h', '0.1', now(), now(), 1, 0, 0)"
    )
    with pytest.raises(PolicyRefusedError, match=r"1 running workers are of an older release \(0\.1\)"):
        await applied(engine, EVENTS + X + Y, Terms(policy=NONE))
    assert (await applied(engine, EVENTS + X + Y)).epoch == 2


# -- what is refused ---------------------------------------------------------------------------------------------------


async def test_a_stale_plan_is_refused(engine: Engine) -> None:
    await applied(engine, EVENTS + X, Terms("first"))
    with pytest.raises(StalePlanError) as refused:
        await applied(engine, EVENTS + X + Y, Terms(epoch=0, plan="p"))
    assert "was made against epoch 0, and epoch 1 is in force, applied" in str(refused.value)
    assert "by ann: first; make a new one" in str(refused.value)
    await applied(engine, EVENTS + X + Y, Terms(epoch=1, plan="p"))
    assert (await the_change(engine)).plan == "p"
    # The same plan again: it was interrupted, or not.
    assert not (await applied(engine, EVENTS + X + Y, Terms(epoch=1, plan="p"))).changed


async def test_a_version_that_begins_before_one_in_force_is_refused(engine: Engine) -> None:
    second = X + X.replace("x {", "x version 2 from 2026-05-01T00:00:00Z {").replace(">= 2", ">= 3")
    await applied(engine, EVENTS + second)
    third = X + X.replace("x {", "x version 3 from 2026-04-01T00:00:00Z {").replace(">= 2", ">= 4")
    with pytest.raises(BeginsEarlierError, match="x version 3 begins before version 2, which is in force"):
        await applied(engine, EVENTS + third)
    replaced = third.replace("2026-04-01", "2026-05-01")
    assert (await applied(engine, EVENTS + replaced)).new == (("x", 3),)
    assert [change.state for change in [await the_change(engine, 0), await the_change(engine, 1)]] == [
        "building",
        "superseded",
    ]


async def test_a_dry_run_does_nothing(engine: Engine) -> None:
    await applied(engine, EVENTS + X)
    async with open_store(engine.settings.database_url) as store:
        files = [RuleFile("rules.ach", EVENTS + Y)]
        dry = await apply_rules(store, files, engine.settings, by="ann", now=wall_clock(), dry_run=True)
        assert (dry.epoch, dry.new, dry.retired) == (2, (("y", 1),), (("x", 1),))
        assert len(await changes(store, limit=9)) == 1
    assert len(await engine.rows("SELECT FROM rule_set")) == 1


async def test_the_second_of_two_waits_and_is_informed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await applied(engine, EVENTS + X)
    ready, go_on, said = anyio.Event(), anyio.Event(), list[str]()
    await_workers = rollout.await_workers

    async def slowly(*args: Any, **rest: Any) -> None:  # noqa: ANN401
        ready.set()
        await go_on.wait()
        await await_workers(*args, **rest)

    async def second() -> None:
        def hear(text: str) -> None:
            said.append(text)
            go_on.set()

        async with open_store(engine.settings.database_url) as store:
            files = [RuleFile("rules.ach", EVENTS + Y)]
            done = await apply_rules(store, files, engine.settings, by="bob", now=wall_clock(), said=hear)
        said.extend(done.meanwhile)
        assert done.epoch == 3

    monkeypatch.setattr(rollout, "await_workers", slowly)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(applied, engine, EVENTS + X + Y, Terms("friday"))
            await ready.wait()
            tasks.start_soon(second)
    assert said[0].startswith("ann is applying rules (")
    assert said[1].startswith("epoch 2 is in force, applied ")
    assert said[1].endswith(" by ann: friday")


async def test_a_pending_change_that_is_cancelled_does_not_come_into_force(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await applied(engine, EVENTS + X)

    async def cancelled(*_: Any, **__: Any) -> None:  # noqa: ANN401
        async with open_store(engine.settings.database_url) as store:
            await cancel(store, 2, by="op", now=wall_clock())

    monkeypatch.setattr(rollout, "await_workers", cancelled)
    with pytest.raises(NotPendingError, match="change 2 was cancelled before it came into force"):
        await applied(engine, EVENTS + X + Y)
    assert (await the_change(engine)).state == "cancelled"
    assert len(await engine.rows("SELECT FROM rule_set")) == 1


# -- building ----------------------------------------------------------------------------------------------------------


class StopError(Exception):
    """A process that ends in the middle."""


async def begun(engine: Engine, users: int = 8) -> None:
    """Apply rules, and let the build die behind its first piece."""
    await applied(engine, EVENTS + X)
    await engine.backfill()
    await sent(engine, *(event(0, user=f"u{at}") for at in range(users)))
    await applied(engine, EVENTS + X + ONE)

    def die() -> None:
        raise StopError

    async with open_store(engine.settings.database_url) as store:
        with pytest.raises(StopError):
            await backfill(store, engine.settings, now=wall_clock, granted=die, pause=0)


async def test_a_build_that_died_goes_on(engine: Engine) -> None:
    await begun(engine)
    assert (await the_change(engine)).state == "building"
    report = await engine.backfill()
    assert 0 < report.subjects < 8
    change = await the_change(engine)
    assert (change.state, change.subjects, change.cursor) == ("done", report.subjects, None)


async def test_a_worker_goes_on_with_a_build_that_was_left(engine: Engine) -> None:
    await begun(engine)
    await engine.rows("UPDATE change SET beat_at = beat_at - interval '1 minute' WHERE change_id = 2")
    async with engine.worker() as stats:
        await stats.reach("announced", 8)
        with anyio.fail_after(PATIENCE):
            while (await the_change(engine)).state != "done":  # noqa: ASYNC110 - the database has to be asked
                await anyio.sleep(0.05)
    assert set((await decided(engine)).values()) == {2}


async def test_a_worker_leaves_a_paused_change_alone(engine: Engine) -> None:
    await begun(engine)
    async with open_store(engine.settings.database_url) as store:
        assert (await pause(store, 2)).state == "paused"
        await engine.rows("UPDATE change SET beat_at = beat_at - interval '1 minute' WHERE change_id = 2")
        async with engine.worker():
            # It has looked by the time that it has loaded what is pending.
            await applied_pending(engine)
        assert (await change_of(store, 2)).state == "paused"
        await engine.backfill()
        assert (await change_of(store, 2)).state == "done"
        with pytest.raises(NotNowError, match="change 2 is done: only one that is building can be paused"):
            await pause(store, 2)


async def applied_pending(engine: Engine) -> None:
    """Return once a worker has loaded a change that is pending."""
    await engine.rows(
        "INSERT INTO change (state, epoch_before, hash, sources, begun_at, applied_by, message, announce, builder,"
        " beat_at) VALUES ('pending', 2, sha256(''), '[]', now(), 'x', '', 'all', '', now())"
    )
    with anyio.fail_after(PATIENCE):
        while not await engine.rows("SELECT FROM worker WHERE loaded_change > 2"):  # noqa: ASYNC110
            await anyio.sleep(0.05)
    await engine.rows("UPDATE change SET state = 'cancelled' WHERE state = 'pending'")


@pytest.mark.parametrize("what", ["paused", "cancelled", "superseded", "taken"])
async def test_a_build_ends_when_it_is_not_its_own_any_more(engine: Engine, what: str) -> None:
    await begun(engine)
    async with open_store(engine.settings.database_url) as store:
        begun_again = anyio.Event()

        limits = Limits(rate=1)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:

                async def end_it() -> None:
                    await begun_again.wait()
                    if what == "paused":
                        await pause(store, 2)
                    elif what == "cancelled":
                        await cancel(store, 2, by="op", now=wall_clock())
                    elif what == "superseded":
                        await applied(engine, EVENTS + Y)
                    else:
                        await engine.rows("UPDATE change SET builder = 'other:1:x' WHERE change_id = 2")

                tasks.start_soon(end_it)
                said = {
                    "paused": "change 2 was paused; `ach change resume 2` goes on with it",
                    "cancelled": "change 2 was cancelled by op; the rules stay in force",
                    "superseded": "other rules came into force",
                    "taken": "change 2 is built by other:1 now",
                }[what]
                with pytest.raises((BuildEndedError, SupersededError), match=said):
                    await backfill(
                        store, engine.settings, now=wall_clock, granted=begun_again.set, pause=0, limits=limits
                    )


async def test_a_build_gives_way_to_live_work(engine: Engine) -> None:
    await begun(engine)
    await engine.rows(
        "INSERT INTO worker (worker_id, host, release, started_at, seen_at, rules_epoch, messages, retries, pending)"
        " VALUES (gen_random_uuid(), 'h', '0.1', now(), now() + interval '1 day', 1, 0, 0, 11)"
    )
    waited: list[str] = []
    async with open_store(engine.settings.database_url) as store, anyio.create_task_group() as tasks:

        def watch(headway: Headway) -> None:
            if headway.waits_for and not waited:
                waited.append(headway.waits_for)
                tasks.start_soon(engine.rows, "UPDATE worker SET pending = 3")

        limits = Limits(max_lag=10)
        with anyio.fail_after(PATIENCE):
            await backfill(store, engine.settings, now=wall_clock, pause=0, limits=limits, watch=watch)
    assert waited == ["11 messages wait for workers, more than 10"]
    assert (await the_change(engine)).state == "done"


# -- workers and members -----------------------------------------------------------------------------------------------


async def test_workers_load_rules_before_they_are_in_force(engine: Engine) -> None:
    await applied(engine, EVENTS + X)
    async with engine.worker() as stats:
        await applied(engine, EVENTS + X + ONE)
        (row,) = await engine.rows("SELECT loaded_change FROM worker WHERE NOT stopped")
        assert row["loaded_change"] == 2
        await engine.publish([event(0)])
        await stats.reach("announced", 1)


async def test_events_that_come_before_the_switch_are_members(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await applied(engine, EVENTS + X + TEAM)
    await sent(engine, event(0, "b.done", team="red"))

    async def meanwhile(*_: Any, **__: Any) -> None:  # noqa: ANN401
        await sent(engine, event(1, "b.done", team="red"))

    monkeypatch.setattr(rollout, "await_workers", meanwhile)
    await applied(engine, EVENTS + X + TEAM + WIDE)
    assert len(await engine.rows("SELECT FROM event_subject WHERE subject = 'red'")) == 2
    await sent(engine, event(2, "b.done", team="red"))
    assert (await engine.unlocks())["red", "wide"] == "granted"
    await engine.backfill()
    assert (await decided(engine))["red", "wide", "granted"] == 2


async def test_members_that_the_switch_has_missed_are_added(engine: Engine) -> None:
    await applied(engine, EVENTS + X)
    await sent(engine, event(0, "b.done", team="red"), event(1, "b.done", team="red"), event(9, "b.done", team="blue"))
    await applied(engine, EVENTS + X + WIDE)
    # As if two had lain in a earlier page; the team was touched meanwhile, and folded without them.
    await engine.rows("UPDATE change SET cursor = jsonb_set(cursor, '{xid}', '\"3\"') WHERE change_id = 2")
    await engine.rows("DELETE FROM event_subject WHERE event_id IN ('b.done-0-u1', 'b.done-1-u1') AND subject = 'red'")
    await sent(engine, event(2, "b.done", team="red"))
    assert ("red", "wide") not in await engine.unlocks()
    await engine.backfill()
    assert (await engine.unlocks())["red", "wide"] == "granted"


async def test_members_that_no_scope_hears_go(engine: Engine) -> None:
    await applied(engine, EVENTS + TEAM + WIDE)
    await sent(
        engine, *(event(0, kind, user=team, team=team) for kind in ("a.done", "b.done") for team in ("red", "blue"))
    )
    await applied(engine, EVENTS + WIDE)
    assert len(await engine.rows("SELECT FROM event_subject")) == 4
    await engine.backfill()
    rows = await engine.rows("SELECT event_type FROM event_subject JOIN event USING (tenant_id, event_id)")
    assert [row["event_type"] for row in rows] == ["b.done"] * 2
    await applied(engine, EVENTS + X)
    await engine.backfill()
    assert await engine.rows("SELECT FROM event_subject") == []
    assert (await engine.backfill()).subjects == 0
