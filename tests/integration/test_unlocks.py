"""Unlocks as events, with real servers: what late data moves, what other rules take, and what no event can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.integration.engine import Engine, event
from tests.integration.pipelines import expect_replay, pipeline_on, send, sent
from tests.integration.test_plan import decided, planned
from worker.engine.preview import Status
from worker.store import open_store

if TYPE_CHECKING:
    from typing import Any

pytestmark = pytest.mark.anyio

EVENTS: Final = "event a.done { n: int? >= 0, team: string? }\nevent b.done {}\nevent c.done {}\n"
ONE: Final = 'achievement one { title "1" family red when count(event=c.done, >= 1) reward { xp: 10 } }\n'
CLEAN: Final = (
    'achievement clean { title "C" family red when count(event=a.done, >= 2, unless=b.done) reward { xp: 20 } }\n'
)
BOTH: Final = 'achievement both { title "B" when count(event=unlocks where family = "red", >= 2) }\n'
LEVEL: Final = """achievement level {
  title "L"
  when sum(event=unlocks, of=reward.xp)
  tier one >= 10 {}
  tier two >= 30 {}
}
"""
TOP: Final = 'achievement top { title "T" when count(event=unlocks where achievement = "level", >= 2) }\n'
RULES: Final = EVENTS + ONE + CLEAN + BOTH + LEVEL + TOP


def kinds(said: list[dict[str, Any]], achievement: str, tier: str | None = None) -> list[str]:
    return [one["kind"] for one in said if (one["achievement"], one["tier"]) == (achievement, tier)]


async def test_late_data_gives_takes_and_gives_back_what_counts_unlocks(engine: Engine) -> None:
    await engine.apply(RULES)
    events = [event(0), event(5, "c.done"), event(9)]
    late = [event(4, "b.done", id="x"), event(6, id="y"), event(1, id="z")]
    await engine.publish(events)
    await engine.drain()
    await expect_replay(engine, RULES, events)
    for one in late:
        await engine.publish([one])
        await engine.drain()
    await expect_replay(engine, RULES, [*events, *late])
    said = await engine.said()
    # Taken by an event in between, and given back by another one behind it; then nothing is as late as it was.
    for achievement, tier in (("clean", None), ("both", None), ("level", "two"), ("top", None)):
        found = kinds(said, achievement, tier)
        assert found[:3] == ["granted", "contested", "restored"], (achievement, found)
        assert found[3:] in (["amended"], [])
    # Now `clean` comes before what gave the first points.
    assert kinds(said, "level", "one") == ["granted", "amended"]
    earned = {(one["achievement"], one["tier"]): one["event_id"] for one in said}
    assert earned["both", None] == earned["top", None] == earned["level", "two"]


async def test_what_is_counted_is_of_the_subject_alone(engine: Engine) -> None:
    """Neither another tenant's unlocks count, nor an event that calls itself one."""
    await engine.apply(RULES)
    false: dict[str, Any] = {"achievement": "clean", "family": "red", "reward.xp": 999}
    events = [
        event(1, "c.done"),
        *(event(2 + number, tenant="t2") for number in range(2)),
        *(event(2 + number, user="u2") for number in range(2)),
    ]
    async with pipeline_on(engine) as pipeline:
        assert await send(pipeline, *events) == []
        letters = await send(pipeline, event(5, "unlocks", **false), event(6, "unlocks:1.0", **false))
    assert {letter.reason for letter in letters} <= {"undeclared_type", "unknown_type", "type"}
    rows = await engine.rows("SELECT achievement FROM unlock WHERE subject = 'u1' AND tenant_id = 't1'")
    assert {row["achievement"] for row in rows} == {"one", "level"}


async def test_the_plan_says_what_a_retired_achievement_takes_with_it(engine: Engine) -> None:
    await engine.apply(RULES)
    await sent(engine, event(0), event(5, "c.done"), event(9))
    await engine.backfill()
    # One that is new, and counted as well, is not to blame.
    text = RULES.replace(CLEAN, 'achievement more { title "M" family red when count(event=b.done, >= 9) }\n')
    async with open_store(engine.settings.database_url) as store:
        seen, foreseen = await planned(store, engine, text)
        done = await decided(store, engine, text)
    assert foreseen == done
    [retired] = [one for one in seen.achievements if one.status is Status.RETIRED]
    assert (retired.achievement, retired.kept) == ("clean", 1)
    lost = {(effect.achievement, effect.tier, effect.decision) for effect in retired.consequences}
    assert lost == {("both", None, "contested"), ("level", "two", "contested"), ("top", None, "contested")}


async def test_a_reward_that_is_counted_may_change_in_place(engine: Engine) -> None:
    await engine.apply(RULES)
    await sent(engine, event(5, "c.done"))
    await engine.backfill()
    text = RULES.replace("xp: 10", "xp: 40")
    async with open_store(engine.settings.database_url) as store:
        seen, foreseen = await planned(store, engine, text)
        assert seen.refused == []
        assert foreseen == await decided(store, engine, text)
    [cause] = seen.achievements
    assert (cause.achievement, cause.status) == ("one", Status.UNCHANGED)
    granted = {(effect.achievement, effect.tier, effect.decision) for effect in cause.consequences}
    assert granted == {("level", "two", "granted"), ("top", None, "granted")}
