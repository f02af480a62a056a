"""States folded again from the ledger are what they were, and whatever was not is reported and corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.engine import Engine, event
from tests.integration.test_ledger_replay import RULES, fold, history
from worker.admin import rebuild as rebuilding
from worker.admin import rebuild_target
from worker.admin.erasure import erase_user
from worker.admin.rebuild import Orders, Rebuilt, rebuild
from worker.admin.rebuild_target import Target, UnknownAchievementError
from worker.app import wall_clock
from worker.store import UnavailableError, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.outcome import Subject
    from worker.admin.folded_anew import Anew
    from worker.engine.rule_set import Deployed
    from worker.store import Store

pytestmark = pytest.mark.anyio

ALL = Target()
STATES = "SELECT tenant_id, scope, subject, stamp, state, mark_id FROM progress ORDER BY 1, 2, 3"
UNLOCKS = "SELECT * FROM unlock ORDER BY unlock_id"


async def run(engine: Engine, target: Target = ALL, *, anew: bool = False) -> Rebuilt:
    async with open_store(engine.settings.database_url) as store:
        return await rebuild(store, engine.settings, target, Orders("test", wall_clock, pause=0, anew=anew))


@pytest.fixture
async def played(engine: Engine) -> Engine:
    await engine.apply(RULES)
    await engine.publish(history(1, 300))
    await engine.drain(batch_size=60)
    return engine


async def test_what_stands_is_what_comes_out(played: Engine) -> None:
    before = await played.rows(UNLOCKS)
    found = await run(played)
    assert found.is_as_it_was, found.differences
    assert found.subjects == len(await played.rows("SELECT FROM progress")) > 20
    assert not found.went_on
    assert await played.rows(UNLOCKS) == before
    assert (await fold(played)).disagreements == []
    # Workers go on from what was saved.
    await played.publish([event(400, "b.done", user=f"u{n}", tenant="t0", id=f"late{n}") for n in range(4)])
    await played.drain()
    assert (await fold(played)).disagreements == []
    assert (await run(played)).is_as_it_was


async def test_whatever_differs_is_reported_and_corrected(played: Engine) -> None:
    rows = await played.rows("SELECT unlock_id, subject FROM unlock WHERE achievement = 'x' ORDER BY unlock_id LIMIT 4")
    gone, moved, contested, revoked = (row["unlock_id"] for row in rows)
    await played.rows("DELETE FROM unlock WHERE unlock_id = $1", gone)
    await played.rows("UPDATE unlock SET earned_at = earned_at - interval '1 s' WHERE unlock_id = $1", moved)
    await played.rows("UPDATE unlock SET contested_at = now() WHERE unlock_id = $1", contested)
    await played.rows("UPDATE unlock SET revoked_at = now() WHERE unlock_id = $1", revoked)
    await played.rows(
        "INSERT INTO unlock (tenant_id, scope, subject, achievement, unlock_id, version, earned_at, event_id,"
        " granted_at) VALUES ('t1', 'user', 'nowhere', 'slow', gen_random_uuid(), 1, now(), 'e0', now())"
    )
    (state,) = await played.rows("SELECT subject FROM progress WHERE scope = 'team' ORDER BY subject LIMIT 1")
    await played.rows(
        "UPDATE progress SET state = '[2,[[1,\"e\"]]]' WHERE scope = 'team' AND subject = $1", state["subject"]
    )
    found = await run(played)
    assert found.kinds == {"granted": 1, "amended": 1, "restored": 1, "contested": 1}
    assert found.states >= 1
    assert {one.kind for one in found.differences} == {"state", *found.kinds}
    assert {one.subject for one in found.differences if one.kind == "contested"} == {"nowhere"}
    again = await fold(played)
    assert {why.value for why in again.disagreed} <= {"revoked"}
    assert (await run(played)).is_as_it_was


async def test_a_tenant_or_a_user_leaves_all_others_alone(played: Engine) -> None:
    await played.rows("UPDATE progress SET state = '[2,[[1,\"e\"]]]'")
    found = await run(played, Target("t1", "u3"))
    assert (found.subjects, found.states) == (1, 1)
    assert await played.rows("SELECT FROM rebuild") == []
    found = await run(played, Target("t0"))
    assert {one.tenant_id for one in found.differences} == {"t0"}
    spoilt = await played.rows("SELECT DISTINCT tenant_id FROM progress WHERE state = '[2,[[1,\"e\"]]]'")
    assert [row["tenant_id"] for row in spoilt] == ["t1"]
    stranger = await run(played, Target("t1", "stranger"))
    assert stranger.is_as_it_was


async def test_of_an_achievement(played: Engine) -> None:
    found = await run(played, Target(achievement="team"))
    assert found.subjects == len(await played.rows("SELECT FROM progress WHERE scope = 'team'"))
    with pytest.raises(UnknownAchievementError, match="teem") as raised:
        await run(played, Target(achievement="teem"))
    assert raised.value.hint == "did you mean team?"


async def test_what_comes_between_snapshot_and_lock_counts(played: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Late events lie before what was folded, new ones behind it."""
    folded, beside = rebuilding.fold_without_lock, list[str]()
    # What is as it should be is not touched at all.
    await played.rows("UPDATE progress SET state = 'spoilt'")

    async def then_events(store: Store, rules: Deployed, piece: Sequence[Subject]) -> Anew:
        found = await folded(store, rules, piece)
        users = [subject for subject in piece if subject.scope == "user"][:2] if len(beside) < 6 else []
        n = len(beside)
        for subject in users:
            name = {"user": subject.subject, "tenant": subject.tenant_id}
            late = event(-n - 1, "b.done", id=f"before{n}{subject.subject}", **name)
            # The last of three earns something.
            behind = [
                event(960 + 3 * k, n=k, team="red1", id=f"behind{n}{k}{subject.subject}", **name) for k in range(3)
            ]
            # Every second user has no late event: theirs is caught up, not folded again.
            await played.publish([late, *behind] if len(beside) % 2 else behind)
            beside.append(subject.subject)
        if users:
            await played.drain()
        return found

    monkeypatch.setattr(rebuilding, "fold_without_lock", then_events)
    await run(played)
    assert len(beside) > 4
    assert (await fold(played)).disagreements == []
    monkeypatch.undo()
    assert (await run(played)).is_as_it_was


async def test_other_rules_come_into_force_meanwhile(played: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    folded, times = rebuilding.fold_without_lock, 0

    async def then_rules(store: Store, rules: Deployed, piece: Sequence[Subject]) -> Anew:
        nonlocal times
        found = await folded(store, rules, piece)
        times += 1
        if times == 2:
            await played.apply(RULES + 'achievement more { title "M" when count(event=a.done, >= 2) }\n')
        return found

    monkeypatch.setattr(rebuilding, "fold_without_lock", then_rules)
    await run(played)
    monkeypatch.undo()
    await played.backfill()
    assert (await fold(played)).disagreements == []


async def test_an_interrupted_rebuild_goes_on(played: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild_target, "PAGE", 5)
    folded, times = rebuilding.fold_without_lock, 0

    async def interrupted(store: Store, rules: Deployed, piece: Sequence[Subject]) -> Anew:
        nonlocal times
        times += 1
        if times == 12:
            raise KeyboardInterrupt
        return await folded(store, rules, piece)

    monkeypatch.setattr(rebuilding, "fold_without_lock", interrupted)
    with pytest.raises(KeyboardInterrupt):
        await run(played)
    (place,) = await played.rows("SELECT * FROM rebuild")
    assert place["ended_at"] is None
    assert place["subjects"]
    monkeypatch.setattr(rebuilding, "fold_without_lock", folded)
    found = await run(played)
    assert found.went_on
    assert found.subjects == len(await played.rows("SELECT FROM progress"))
    (place,) = await played.rows("SELECT * FROM rebuild")
    assert (place["after_scope"], place["after_subject"]) == ("", "")
    assert not (await run(played)).went_on


async def test_a_rebuild_that_another_operator_has_begun_stays_open(
    played: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folded = rebuilding.fold_without_lock
    begin = """
        INSERT INTO rebuild (begun_at, begun_by)
        SELECT now(), 'another' WHERE NOT EXISTS (SELECT FROM rebuild WHERE begun_by = 'another')
        """

    async def beside(store: Store, rules: Deployed, piece: Sequence[Subject]) -> Anew:
        await played.rows(begin)
        return await folded(store, rules, piece)

    monkeypatch.setattr(rebuilding, "fold_without_lock", beside)
    assert not (await run(played)).went_on
    rows = await played.rows("SELECT begun_by, ended_at IS NULL AS open FROM rebuild ORDER BY rebuild_id")
    assert [(row["begun_by"], row["open"]) for row in rows] == [("test", False), ("another", True)]


async def test_a_last_commit_that_is_not_answered_again_and_again(
    played: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has ended the rebuild; what differed is said all the same."""
    await played.rows("UPDATE progress SET state = '[2,[[1,\"e\"]]]' WHERE tenant_id = 't1'")
    tries, end = list[int](), rebuilding.end_of

    async def unanswered(store: Store, **ended: object) -> None:
        await end(store, **ended)
        tries.append(1)
        if len(tries) < 4:
            raise UnavailableError("connection lost")

    monkeypatch.setattr(rebuilding, "end_of", unanswered)
    found = await run(played)
    assert found.states > 0
    assert len(tries) == 4
    assert [row["ended"] for row in await played.rows("SELECT ended_at IS NOT NULL AS ended FROM rebuild")] == [True]
    assert (await run(played)).is_as_it_was


async def test_no_name_of_an_erased_user_stays(played: Engine) -> None:
    await played.rows(
        "INSERT INTO rebuild (begun_at, begun_by, after_scope, after_tenant, after_subject)"
        " VALUES (now(), 'test', 'user', 't1', 'u3')"
    )
    async with open_store(played.settings.database_url) as store:
        await erase_user(store, played.settings, "t1", "u3", by="test", now=wall_clock())
    (place,) = await played.rows("SELECT after_tenant, after_subject FROM rebuild")
    assert place == {"after_tenant": "", "after_subject": ""}
    await played.backfill()
    found = await run(played)
    assert found.went_on
    assert found.is_as_it_was, found.differences
    assert await played.rows("SELECT FROM progress WHERE subject = 'u3' AND tenant_id = 't1'") == []


async def test_checkpoints_are_made_anew(played: Engine) -> None:
    """A checkpoint that others have spoilt would spoil what a late event makes of it."""
    many = [event(n, "b.done", user="busy", tenant="t0", id=f"busy{n:04}") for n in range(1000, 1140)]
    await played.publish(many)
    await played.drain()
    assert await played.rows("UPDATE checkpoint SET state = '[2,[]]' WHERE subject = 'busy' RETURNING 1")
    assert (await run(played, Target("t0", "busy"))).states == 1
    assert await played.rows("SELECT FROM checkpoint WHERE subject = 'busy' AND state <> '[2,[]]'")
    assert await played.rows("SELECT FROM checkpoint WHERE subject = 'busy' AND state = '[2,[]]'") == []
    assert (await run(played)).is_as_it_was


async def test_what_is_right_is_neither_locked_nor_written(played: Engine) -> None:
    rows = "SELECT generation, owner FROM partition ORDER BY partition_id"
    before = await played.rows(rows), await played.rows("SELECT xmin FROM progress ORDER BY tenant_id, scope, subject")
    assert (await run(played)).is_as_it_was
    after = await played.rows(rows), await played.rows("SELECT xmin FROM progress ORDER BY tenant_id, scope, subject")
    assert after == before
