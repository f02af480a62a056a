"""A version that begins in the future is judged when the clock is there: for every subject, without an event, once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from dsl.calendar import format_instant
from tests.integration.engine import Engine, event
from tests.integration.pipelines import pipeline_on, send, sent
from worker.admin.moments import MomentLostError, Moments
from worker.admin.preview import Asked, preview
from worker.admin.results import read_results
from worker.app import wall_clock
from worker.engine.preview import Coming
from worker.engine.replay import replay
from worker.engine.rule_set import RuleFile, read_rules
from worker.pipeline.rules_in_force import load_deployed
from worker.pipeline.standby import Standby
from worker.settings import Clock
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from worker.store import Store

pytestmark = pytest.mark.anyio

HOUR = 3_600_000_000
BEGIN = wall_clock() // HOUR * HOUR + 2 * HOUR
"""When version 2 begins."""
RULES = f"""
event a.done {{ team: string? }}
achievement five {{ title "Five" when count(event=a.done, >= 5) }}
achievement five version 2 from {format_instant(BEGIN)} {{ title "Three" when count(event=a.done, >= 3) }}
achievement next {{ title "Next" when count(event=a.done, >= 999) }}
achievement next version 2 from {format_instant(BEGIN)} {{ title "Next" when count(event=a.done, >= 1) after five }}
achievement crew {{ title "Crew" scope team when count(event=a.done, >= 999) }}
achievement crew version 2 from {format_instant(BEGIN)} {{ title "Crew" scope team when count(event=a.done, >= 4) }}
"""
USERS = 30


def load() -> list[dict[str, object]]:
    """Return five events of some users and three or two of the others, some for a team."""
    numbers = {f"u{n:02}": (3, 5, 2)[n % 3] for n in range(USERS)}
    return [event(n, user=user, team="red") for user, count in numbers.items() for n in range(count)]


EARNED = {f"u{n:02}" for n in range(USERS) if n % 3 == 0}


@pytest.fixture
async def store(engine: Engine) -> AsyncGenerator[Store]:
    async with open_store(engine.settings.database_url) as found:
        yield found


async def no_lag() -> int:
    return 0


def moments(engine: Engine, store: Store, at: int = BEGIN, granted: Callable[[], None] = lambda: None) -> Moments:
    """Return what a worker looks for moments with, whose clock stands still."""
    return Moments(store, engine.settings, Standby(store, lag=no_lag), now=lambda: at, granted=granted)


async def earned(engine: Engine) -> dict[tuple[str, str], tuple[int, int, str, str]]:
    rows = await engine.rows(
        "SELECT subject, achievement, version, earned_at, event_id, origin FROM unlock ORDER BY subject, achievement"
    )
    return {
        (row["subject"], row["achievement"]): (
            row["version"],
            int(row["earned_at"].timestamp() * 1_000_000),
            row["event_id"],
            row["origin"],
        )
        for row in rows
    }


AT_BEGIN = (2, BEGIN, "", "backfill")


async def test_who_qualifies_earns_it_when_the_clock_is_there(engine: Engine, store: Store) -> None:
    await engine.apply(RULES)
    await sent(engine, *load())
    before = await earned(engine)
    assert {subject for subject, _ in before} == {f"u{n:02}" for n in range(USERS) if n % 3 == 1}
    assert not await moments(engine, store, BEGIN - 1).look()
    assert await moments(engine, store).look()
    after = await earned(engine)
    assert {key: row for key, row in after.items() if row == AT_BEGIN} == {
        **{(user, name): AT_BEGIN for user in EARNED for name in ("five", "next")},
        **{(f"u{n:02}", "next"): AT_BEGIN for n in range(USERS) if n % 3 == 1},
        ("red", "crew"): AT_BEGIN,
    }
    assert {key: row for key, row in after.items() if row != AT_BEGIN} == before
    # Once, and a second time later; then it is done.
    assert not await moments(engine, store).look()
    assert await moments(engine, store, BEGIN + HOUR).look()
    assert not await moments(engine, store, BEGIN + 24 * HOUR).look()
    assert await earned(engine) == after
    [row] = await engine.rows("SELECT looks, subjects, ended_at FROM moment WHERE ended_at IS NOT NULL")
    assert (row["looks"], row["subjects"]) == (2, len(EARNED) + USERS // 3 + 1)


async def test_a_live_batch_behind_the_moment_finds_it_passed(engine: Engine, store: Store) -> None:
    """A late event that moves what was earned at the moment, and one behind it that changes nothing."""
    await engine.apply(RULES)
    await sent(engine, *load())
    assert await moments(engine, store).look()
    before = await earned(engine)
    async with pipeline_on(engine) as pipeline:
        late = [event(10 + n, user="u00") for n in range(2)]
        assert await send(pipeline, *late) == []
    after = await earned(engine)
    assert after["u00", "five"] == (1, 1_776_000_000_000_000 + 11 * 60_000_000, "a.done-11-u00", "backfill")
    assert {key: row for key, row in after.items() if key != ("u00", "five")} == {
        key: row for key, row in before.items() if key != ("u00", "five")
    }
    kinds = await engine.rows("SELECT decision FROM evaluation WHERE subject = 'u00' AND achievement = 'five'")
    assert [row["decision"] for row in kinds] == ["granted", "amended"]


async def test_an_operator_who_grants_it_first_keeps_the_word(engine: Engine, store: Store) -> None:
    await engine.apply(RULES)
    await sent(engine, *load())
    await engine.rows(
        "INSERT INTO unlock (tenant_id, scope, subject, achievement, unlock_id, version, earned_at, event_id,"
        " granted_at, by_hand, origin) SELECT 't1', 'user', 'u02', 'five', gen_random_uuid(), 1, now(), '', now(),"
        " true, 'by_hand'"
    )
    assert await moments(engine, store).look()
    assert (await earned(engine))["u02", "five"][3] == "by_hand"


async def test_several_workers_earn_it_once(engine: Engine, store: Store) -> None:
    await engine.apply(RULES)
    await sent(engine, *load())
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(moments(engine, store).look)
    kinds = await engine.rows("SELECT subject, achievement FROM evaluation WHERE event_id = ''")
    assert len(kinds) == len({tuple(row.values()) for row in kinds}) == 2 * len(EARNED) + USERS // 3 + 1


async def test_another_worker_goes_on_where_one_has_died(engine: Engine, store: Store) -> None:
    await engine.apply(RULES)
    await sent(engine, *load())

    class Killed(Exception):  # noqa: N818
        pass

    def kill() -> None:
        raise Killed

    with pytest.raises(Killed):
        await moments(engine, store, granted=kill).look()
    some = len(await earned(engine))
    assert not await moments(engine, store).look()  # it may be alive
    await engine.rows("UPDATE moment SET beat_at = beat_at - interval '1 minute'")
    assert await moments(engine, store).look()
    assert len(await earned(engine)) > some
    assert {user for (user, name), row in (await earned(engine)).items() if (name, row) == ("five", AT_BEGIN)} == EARNED


async def test_a_worker_that_was_taken_over_stops(engine: Engine, store: Store) -> None:
    await engine.apply(RULES)
    await sent(engine, *load())
    taken = 0

    async def take_over() -> None:
        while not taken:
            await anyio.lowlevel.checkpoint()
        await engine.rows("UPDATE moment SET builder = 'another' WHERE ended_at IS NULL")

    def note() -> None:
        nonlocal taken
        taken += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take_over)
        with pytest.raises(MomentLostError):
            await moments(engine, store, granted=note).look()


async def test_a_worker_looks_by_itself_and_announces(engine: Engine) -> None:
    """By the clock of the stream, which the last event of another user has brought to the moment."""
    streamed = engine.with_settings(clock=Clock.STREAM)
    text = RULES.replace(format_instant(BEGIN), "2026-04-13T00:00:00Z")
    await streamed.apply(text)
    await streamed.publish([*load(), event(2000, user="last")])
    await streamed.drain()
    announced = {(one["subject"], one["achievement"]): one for one in await streamed.announced()}
    one = announced["u00", "five"]
    said = (one["version"], one["earned_at"], one["event_id"], one["origin"])
    assert said == (2, "2026-04-13T00:00:00.000000Z", None, "backfill")
    assert {user for user, name in announced if name == "five"} == EARNED | {f"u{n:02}" for n in range(1, USERS, 3)}
    assert ("red", "crew") in announced
    async with open_store(streamed.settings.database_url) as store:
        rules = await load_deployed(store, streamed.settings)
        stored = await read_results(store, rules)
    bodies = [json.dumps(one).encode() for one in (*load(), event(2000, user="last"))]
    made = read_rules([RuleFile("rules.ach", text)])
    assert made.program is not None
    assert stored.digest == replay(made.rules, made.program, bodies, now=wall_clock(), skew=0)[0].digest


async def test_a_plan_says_how_many_would_earn_it(engine: Engine, store: Store) -> None:
    """Of a version that is to begin, and of one that has begun: these gain it at once."""
    first = "\n".join(line for line in RULES.splitlines() if "version 2" not in line)
    await engine.apply(first)
    await sent(engine, *load())
    rules = read_rules([RuleFile("rules.ach", RULES)])
    found = await preview(store, engine.settings, Asked(rules), now=wall_clock())
    at = format_instant(BEGIN)
    # Those who have earned `five` by version 1 earn `next` then, too.
    assert found.coming == [
        Coming("crew", None, 2, at, 1),
        Coming("five", None, 2, at, len(EARNED)),
        Coming("next", None, 2, at, len(EARNED) + USERS // 3),
    ]
    assert found.gained == 0
    past = read_rules([RuleFile("rules.ach", RULES.replace(at, "2026-04-14T00:00:00Z"))])
    found = await preview(store, engine.settings, Asked(past), now=wall_clock())
    assert (found.coming, found.gained) == ([], 1 + 2 * len(EARNED) + USERS // 3)
    await engine.apply(RULES.replace(at, "2026-04-14T00:00:00Z"))
    await engine.backfill()
    rows = await engine.rows("SELECT earned_at, event_id, origin, change_id FROM unlock WHERE event_id = ''")
    assert len(rows) == found.gained
    assert {(format_instant(int(row["earned_at"].timestamp() * 1_000_000)), row["origin"]) for row in rows} == {
        ("2026-04-14T00:00:00.000000Z", "backfill")
    }
    assert all(row["change_id"] is not None for row in rows)
    assert not await moments(engine, store).look()
