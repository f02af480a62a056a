"""States that a change of rules leaves alone, and what is read of others: digests and grants are those of a replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.integration.engine import Engine, event
from tests.integration.pipelines import expect_replay, pipeline_on, send
from worker.admin.erasure import erase_user
from worker.admin.results import StaleError
from worker.app import wall_clock
from worker.engine import former
from worker.store import open_store

if TYPE_CHECKING:
    from typing import Any

pytestmark = pytest.mark.anyio

EVENTS: Final = """
event a.done { n: int? >= 0, team: string?, key: string? }
event b.done { team: string? }
event c.done {}
"""
TIERS: Final = """
achievement count {
  title "Count"
  tier low { when count(event=a.done, >= 2) }
  tier high { when count(event=a.done, >= 4) }
}
"""
HIGHEST: Final = TIERS.replace("tier high", "tier highest { when count(event=a.done, >= 40) }\n  tier high")
MIDDLE: Final = TIERS.replace("tier high", "tier middle { when count(event=a.done, >= 3) }\n  tier high")
SECOND: Final = """
achievement second version 1 { title "S" when count(event=a.done, >= 2) }
"""
RAISED: Final = (
    SECOND + 'achievement second version 2 from 2026-04-12T13:23:00Z { title "S" when count(event=a.done, >= 3) }\n'
)
B: Final = 'achievement b { title "B" when count(event=b.done, >= 2) }\n'
AFTER: Final = 'achievement then { title "A" after count.low when count(event=a.done, >= 1) }\n'
CREW: Final = 'achievement crew { title "C" scope team when count(event=a.done, >= 9) }\n'
TEAM: Final = 'achievement team { title "T" scope team when count(event=a.done, distinct=key, >= 2) }\n'


async def started(engine: Engine, rules: str) -> None:
    """Put rules into force under which everyone is up to date."""
    await engine.apply(rules)
    await engine.backfill()


async def sent(engine: Engine, *events: dict[str, Any]) -> list[dict[str, Any]]:
    async with pipeline_on(engine) as pipeline:
        for one in events:
            assert await send(pipeline, one) == []
    return list(events)


async def rows(engine: Engine) -> dict[str, tuple[str, str]]:
    """Return by subject which transaction has written its row of progress last, and its stamp."""
    found = await engine.rows("SELECT subject, xmin::text AS written, stamp FROM progress")
    return {row["subject"]: (row["written"], row["stamp"]) for row in found}


async def changed(engine: Engine, rules: str, events: list[dict[str, Any]]) -> set[str]:
    """Change the rules, and return the subjects whose rows were written for it."""
    before = await rows(engine)
    await engine.apply(rules)
    await engine.backfill()
    await expect_replay(engine, rules, events)
    after = await rows(engine)
    return {subject for subject in before.keys() | after.keys() if before.get(subject) != after.get(subject)}


def of(user: str, number: int, event_type: str = "a.done", start: int = 0) -> list[dict[str, Any]]:
    return [event(start + i, event_type, user=user) for i in range(number)]


async def test_a_tier_that_is_not_reached_changes_no_row(engine: Engine) -> None:
    await started(engine, EVENTS + TIERS)
    events = await sent(engine, *of("u1", 1), *of("u2", 5), *of("u3", 3, "c.done"))
    assert await changed(engine, EVENTS + HIGHEST, events) == set()
    assert (await engine.backfill()).subjects == 0


async def test_a_tier_within_a_version_is_allowed_and_another_bound_is_not(engine: Engine) -> None:
    await started(engine, EVENTS + TIERS)
    assert (await engine.apply(EVENTS + MIDDLE, accept=False)).changed_meaning == ()
    with pytest.raises(ValueError, match="changed meaning"):
        await engine.apply(EVENTS + MIDDLE.replace(">= 3", ">= 2"), accept=False)


async def test_a_tier_is_granted_to_those_who_reach_it(engine: Engine) -> None:
    await started(engine, EVENTS + TIERS)
    events = await sent(engine, *of("u1", 2), *of("u2", 5), *of("u3", 3))
    assert await changed(engine, EVENTS + MIDDLE, events) == {"u2", "u3"}
    (row,) = await engine.rows("SELECT event_id, origin FROM unlock WHERE tier = 'middle' AND subject = 'u2'")
    assert (row["event_id"], row["origin"]) == ("a.done-2-u2", "backfill")


async def test_what_is_new_is_built_for_those_who_have_events_of_it(engine: Engine) -> None:
    await started(engine, EVENTS + TIERS)
    events = await sent(engine, *of("u1", 3), *of("u2", 3, "b.done"), *of("u2", 2, start=9), *of("u3", 2, "b.done"))
    await engine.apply(EVENTS + TIERS + B)
    with pytest.raises(StaleError):
        await expect_replay(engine, EVENTS + TIERS + B, events)
    assert await changed(engine, EVENTS + TIERS + B + " ", events) == {"u2", "u3"}


async def test_a_raised_bound_contests_without_events_and_amends_with_them(engine: Engine) -> None:
    await started(engine, EVENTS + SECOND)
    events = await sent(engine, *of("u1", 2), *of("u2", 3), *of("u3", 2, start=2))
    # Of this one the state has seen both events; that of u3 has seen the first.
    async with pipeline_on(engine) as pipeline:
        assert await send(pipeline, *of("u4", 2, start=2)) == []
    events += of("u4", 2, start=2)
    # u1 has earned it before the second version, u2 too; u3 and u4 have not, nor enough since.
    assert await changed(engine, EVENTS + RAISED, events) == {"u3", "u4"}
    unlocks = await engine.unlocks()
    assert (unlocks["u3", "second"], unlocks["u4", "second"]) == ("contested", "contested")
    events += await sent(engine, *of("u3", 1, start=5))
    await expect_replay(engine, EVENTS + RAISED, events)


async def test_what_comes_after_something_contested_is_contested_too(engine: Engine) -> None:
    await started(engine, EVENTS + TIERS + AFTER)
    events = await sent(engine, *of("u1", 2), *of("u2", 5))
    rules = (
        EVENTS + TIERS.replace("count {", "count version 2 from 2026-01-01T00:00:00Z {").replace(">= 2", ">= 3") + AFTER
    )
    await changed(engine, rules, events)
    found = await engine.unlocks()
    assert (found["u1", "then"], found["u2", "then"]) == ("contested", "granted")


async def test_progress_is_measured_at_the_last_event_that_is_heard(engine: Engine) -> None:
    within = 'achievement w { title "W" when count(event=a.done, >= 3, within=10m) }\n'
    await started(engine, EVENTS + within + B)
    events = await sent(engine, *of("u1", 1, "b.done", start=30), *of("u1", 2), *of("u2", 2), *of("u3", 1, "b.done"))
    assert await changed(engine, EVENTS + within, events) == {"u1", "u3"}
    assert "u3" not in await rows(engine)


async def test_a_live_event_carries_its_subject(engine: Engine) -> None:
    await started(engine, EVENTS + TIERS)
    events = await sent(engine, *of("u1", 3), *of("u2", 1), *of("u2", 2, "b.done"))
    rules = EVENTS + MIDDLE + B
    async with pipeline_on(engine) as pipeline:
        events += [event(20, user="u1"), event(20, user="u2")]
        assert await send(pipeline, event(20, user="u1")) == []
        await engine.apply(rules)
        for one in (event(21, user="u1"), event(20, user="u2"), event(22, user="u1")):
            events += [one] if one not in events else []
            assert await send(pipeline, one) == []
    await engine.backfill()
    await expect_replay(engine, rules, events)
    origins = {row["subject"]: row["origin"] for row in await engine.rows("SELECT * FROM unlock WHERE tier = 'middle'")}
    assert origins == {"u1": "backfill"}


async def test_rules_that_come_back_have_missed_what_came_between(engine: Engine) -> None:
    await started(engine, EVENTS + TIERS + B)
    events = await sent(engine, *of("u1", 1, "b.done", start=50), *of("u1", 1))
    await engine.apply(EVENTS + TIERS)
    await engine.backfill()
    events += await sent(engine, *of("u1", 1, "b.done", start=30))
    await changed(engine, EVENTS + TIERS + B, events)
    assert (await engine.unlocks())["u1", "b"] == "granted"


async def test_an_unlock_of_rules_that_come_back_is_judged_again(engine: Engine) -> None:
    await started(engine, EVENTS + TIERS + SECOND)
    events = await sent(engine, *of("u1", 2))
    await engine.apply(EVENTS + TIERS)
    await engine.backfill()
    raised = SECOND.replace("version 1", "version 3 from 2026-01-01T00:00:00Z").replace(">= 2", ">= 9")
    await changed(engine, EVENTS + TIERS + raised, events)
    assert (await engine.unlocks())["u1", "second"] == "contested"


async def test_a_late_event_is_folded_from_a_checkpoint_of_before(engine: Engine) -> None:
    clean = 'achievement spotless { title "C" when count(event=a.done, >= 300, unless=b.done) }\n'
    await started(engine, EVENTS + clean)
    events = [event(i) for i in range(200)]
    async with pipeline_on(engine) as pipeline:
        assert await send(pipeline, *events) == []
        await engine.apply(EVENTS + clean + TIERS)
        await engine.backfill()
        for one in (event(300), event(150, "b.done"), event(301)):
            events.append(one)
            assert await send(pipeline, one) == []
    await expect_replay(engine, EVENTS + clean + TIERS, events)


async def test_a_team_without_its_erased_member_is_found_after_the_next_change(engine: Engine) -> None:
    await started(engine, EVENTS + TEAM)
    events = await sent(
        engine, event(0, user="u1", team="red", key="x"), event(1, user="u2", team="red", key="y"), event(2, user="u3")
    )
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "t1", "u1", by="test", now=wall_clock())
    events = [one for one in events if one["user_id"] != "u1"]
    await changed(engine, EVENTS + TEAM + CREW, events)
    assert (await engine.unlocks())["red", "team"] == "contested"


async def test_a_state_is_renewed_before_it_is_too_old_to_be_carried(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(former, "FORMER", 5)
    monkeypatch.setattr(former, "AGED", 3)
    await started(engine, EVENTS + TIERS)
    events = await sent(engine, *of("u1", 3))
    stamps = [(await rows(engine))["u1"][1]]
    for number in range(7):
        rules = EVENTS.replace("key: string?", f"key: string?, x{number}: int?") + TIERS
        await changed(engine, rules, events)
        stamps.append((await rows(engine))["u1"][1])
    assert [former.epoch_of(stamp) for stamp in stamps] == [2, 2, 2, 5, 5, 5, 8, 8]


async def test_a_tenant_is_brought_to_what_lies_behind_its_mark(engine: Engine) -> None:
    """Its readers put nothing on top of what is stored, unlike those of users."""
    of_tenant = 'achievement {} {{ title "T" scope tenant when count(event={}, >= {}) }}\n'
    one, more = of_tenant.format("one", "b.done", 9), of_tenant.format("other", "a.done", 2)
    await started(engine, EVENTS + one)
    events = await sent(engine, *of("u1", 1, "b.done"), *of("u1", 1, start=5))
    assert await changed(engine, EVENTS + one + more, events) == {"t1"}
