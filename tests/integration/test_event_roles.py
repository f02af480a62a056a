"""Events that name users beside the one who did them: memberships, both ways of a batch, changes of contracts."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest

from dsl.outcome import digest, run
from tests.integration.engine import Engine, event
from tests.integration.pipelines import pipeline_on, send
from worker.admin.erasure import Erased, erase_user
from worker.admin.results import read_results
from worker.app import wall_clock
from worker.engine.stats import Stats
from worker.pipeline.ledger import event_of
from worker.pipeline.rules_in_force import load_deployed
from worker.store import open_store

if TYPE_CHECKING:
    from dsl.event import Event
    from worker.pipeline.ledger import EventRow

pytestmark = pytest.mark.anyio

CONTRACTS: Final = """
event like { post: string, author: user }
event met { crew: [user], team: string? }
event seen { by: user once per by }
"""
ACHIEVEMENTS: Final = """
achievement liked { title "Liked" when count(event=like as author, >= 2) }
achievement known { title "Known" when count(event=like as author, distinct=actor, >= 2) }
achievement both { title "Both" when all(count(event=like as author, >= 1), count(event=like, >= 1)) }
achievement crew { title "Crew" when sequence([met as crew, like]) repeat each }
achievement noticed { title "Noticed" when count(event=seen as by, >= 2) }
achievement team { title "Team" scope team when count(event=met, distinct=crew, >= 3) }
"""
RULES: Final = CONTRACTS + ACHIEVEMENTS
NAMES: Final = ("ann", "bob", "cid", "dan", "eve")


def like(number: int, user: str, author: str, *, tenant: str = "t1", id: str | None = None) -> dict[str, Any]:  # noqa: A002
    return event(number, "like", user=user, tenant=tenant, id=id, post="p", author=author)


def drawn(dice: Random, number: int) -> dict[str, Any]:
    """Draw an event of one of the contracts; its id says `number`."""
    at, user = dice.randrange(200), dice.choice(NAMES)
    match dice.choice(("like", "like", "like", "met", "seen")):
        case "met":
            crew = [dice.choice(NAMES) for _ in range(dice.randrange(4))]
            return event(at, "met", user=user, id=f"e{number}", crew=crew, team=dice.choice(("red", "blue")))
        case "seen":
            return event(at, "seen", user=user, id=f"e{number}", by=dice.choice(NAMES))
        case _:
            return like(at, user, dice.choice(NAMES), id=f"e{number}")


async def check(engine: Engine) -> None:
    """Compare what the worker has with a fold of all events in memory."""
    async with open_store(engine.settings.database_url) as store:
        rules = await load_deployed(store, engine.settings)
        async with store.transaction() as session:

            def shape(*row: *EventRow) -> Event:
                return event_of(rules, *row)

            events = await session.rows(shape, "events_of_types", types=[*rules.rules.events])
        stored = await read_results(store, rules)
    expected = run(rules.program, events)
    assert stored.unlocks == expected.unlocks
    assert stored.states.keys() == expected.states.keys()
    assert stored.digest == digest(rules.program, expected.unlocks, expected.states)


async def members(engine: Engine) -> list[tuple[str, str]]:
    rows = await engine.rows("SELECT event_id, subject FROM event_subject WHERE scope = 'user' ORDER BY 1, 2")
    return [(row["event_id"], row["subject"]) for row in rows]


async def erase(engine: Engine, user: str, tenant: str = "t1") -> Erased:
    async with open_store(engine.settings.database_url) as store:
        return await erase_user(store, engine.settings, tenant, user, by="test", now=wall_clock())


async def test_an_event_counts_for_all_that_it_names(engine: Engine) -> None:
    await engine.apply(RULES)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, like(1, "ann", "bob"), like(2, "cid", "bob"), like(3, "bob", "bob"))
        await send(pipeline, event(4, "met", user="ann", crew=["bob", "bob", "ann", "dan"], team="red"))
        await send(pipeline, like(5, "dan", "ann"), like(1, "ann", "bob"))
    assert await members(engine) == [
        ("like-1-ann", "bob"), ("like-2-cid", "bob"), ("like-5-dan", "ann"), ("met-4-ann", "bob"), ("met-4-ann", "dan"),
    ]  # fmt: skip
    found = await engine.unlocks()
    assert found == {
        ("bob", "liked"): "granted",
        ("bob", "known"): "granted",
        ("bob", "both"): "granted",
        ("ann", "both"): "granted",
        ("dan", "crew.1"): "granted",
        ("red", "team"): "granted",
    }
    await check(engine)


async def test_users_that_we_know_need_one_statement(engine: Engine, statements: list[str]) -> None:
    await engine.apply(RULES)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, like(1, "ann", "bob"), like(2, "bob", "cid"), like(3, "cid", "ann"))
        statements.clear()
        await send(pipeline, like(4, "ann", "bob"), like(5, "bob", "cid"), like(6, "cid", "cid"))
        await send(pipeline, like(7, "cid", "ann"))
    assert statements == ["commit_fast_with_members", "commit_fast_with_members"]
    assert len(await members(engine)) == 6
    await check(engine)


async def test_events_that_name_who_takes_the_long_way(engine: Engine, statements: list[str]) -> None:
    await engine.apply(RULES)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, like(1, "ann", "bob"), like(2, "cid", "dan"), like(3, "dan", "cid"))
        statements.clear()
        copy = like(2, "cid", "dan")
        await send(pipeline, copy, like(4, "ann", "bob"), like(5, "bob", "ann"), like(6, "ann", "dan"))
    assert statements.count("commit_fast_with_members") == 1
    assert "insert_event_subjects" in statements
    await check(engine)


async def test_a_late_event_moves_what_it_names(engine: Engine) -> None:
    await engine.apply(RULES)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, like(5, "ann", "bob"), event(6, "met", user="ann", crew=["cid"]))
        await send(pipeline, like(9, "cid", "bob"), like(8, "cid", "ann"))
        await send(pipeline, like(1, "dan", "bob"), event(7, "met", user="dan", crew=["cid", "ann"]))
        await send(pipeline, like(3, "ann", "cid"))
        await check(engine)
    async with pipeline_on(engine, owner="another") as pipeline:
        await send(pipeline, like(2, "bob", "cid"), like(4, "dan", "cid"), like(20, "ann", "cid"))
    await check(engine)


async def test_a_state_that_lags_is_read_with_events_that_name_its_user(engine: Engine) -> None:
    await engine.apply(RULES + 'achievement adored { title "Adored" when count(event=like as author, >= 5) }\n')
    async with pipeline_on(engine) as pipeline:
        for number in range(1, 5):
            await send(pipeline, like(number, "ann", "bob"))
    (row,) = await engine.rows("SELECT mark_id FROM progress WHERE subject = 'bob'")
    assert row["mark_id"] != "like-4-ann"
    async with pipeline_on(engine, owner="another") as pipeline:
        await send(pipeline, like(5, "cid", "bob"))
    assert (await engine.unlocks())["bob", "adored"] == "granted"
    await check(engine)


@pytest.mark.parametrize("seed", range(3))
async def test_drawn_batches(engine: Engine, seed: int) -> None:
    """Late ones, copies, and workers that take turns."""
    dice = Random(seed)  # noqa: S311 - no secret
    await engine.apply(RULES)

    sent: list[dict[str, Any]] = []
    async with pipeline_on(engine) as one, pipeline_on(engine, owner="another") as two:
        for _ in range(12):
            batch = [drawn(dice, len(sent) + n) for n in range(dice.randrange(1, 12))]
            sent += batch
            copies = dice.sample(sent, min(len(sent), dice.choice((0, 0, 1, 3))))
            await send(dice.choice((one, one, two)), *batch, *copies)
        if seed:
            await erase(engine, "ann")
            for start in range(0, len(sent), 20):
                await send(dice.choice((one, two)), *sent[start : start + 20])
            await send(one, *(drawn(dice, len(sent) + n) for n in range(20)))
    if not seed:
        await check(engine)
    else:
        assert (await engine.backfill()).subjects >= 0
        await check(engine)
        await nowhere(engine, "ann")


async def test_a_string_becomes_a_user(engine: Engine) -> None:
    before = CONTRACTS.replace("author: user", "author: string")
    await engine.apply(before + 'achievement likes { title "Likes" when count(event=like, >= 1) }\n')
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, like(1, "ann", "bob"), like(2, "cid", "bob"), like(3, "bob", "ann"))
    assert await members(engine) == []
    await engine.apply(RULES)
    await engine.backfill()
    assert [user for _, user in await members(engine)] == ["bob", "bob", "ann"]
    assert (await engine.unlocks())["bob", "known"] == "granted"
    await check(engine)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, like(4, "ann", "cid"), like(5, "dan", "cid"))
    await check(engine)
    await engine.apply(before + 'achievement likes { title "Likes" when count(event=like, >= 1) }\n')
    await engine.backfill()
    assert await members(engine) == []
    await check(engine)


async def test_names_stay_within_a_tenant(engine: Engine) -> None:
    await engine.apply(RULES)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, like(1, "ann", "bob"), like(2, "cid", "bob"))
        await send(pipeline, like(3, "ann", "bob", tenant="t2"), like(4, "bob", "ann", tenant="t2"))
    rows = await engine.rows("SELECT tenant_id, subject FROM unlock WHERE achievement = 'liked'")
    assert [tuple(row.values()) for row in rows] == [("t1", "bob")]
    await erase(engine, "bob")
    kept = await engine.rows("SELECT user_id, payload FROM event WHERE tenant_id = 't2' ORDER BY occurred_at")
    assert [(row["user_id"], json.loads(row["payload"])["author"]) for row in kept] == [("ann", "bob"), ("bob", "ann")]


# -- erasure -----------------------------------------------------------------------------------------------------------


async def nowhere(engine: Engine, name: str) -> None:
    """Make sure that a name stands in no table but that of tombstones, and in no index of who has what."""
    tables = await engine.rows(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    for table in sorted({row["relname"] for row in tables} - {"erasure", "lifted_erasure", "rule_set", "correction"}):
        rows = await engine.rows(f'SELECT t::text AS text FROM "{table}" AS t')  # noqa: S608 - our own tables
        assert not [row["text"] for row in rows if f'"{name}"' in row["text"] or f",{name}," in row["text"]], table


async def test_events_that_concern_others_stay_under_a_pseudonym(engine: Engine) -> None:
    await engine.apply(RULES)
    sent = [
        like(1, "ann", "bob"),
        like(2, "cid", "bob"),
        like(3, "ann", "ann"),
        like(4, "cid", "ann"),
        event(5, "met", user="dan", crew=["ann", "cid", "ann"], team="red"),
        event(6, "met", user="ann", crew=["eve", "ann"], team="red"),
    ]
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, *sent)
        before = await engine.unlocks()
        assert before["bob", "known"] == before["red", "team"] == "granted"
        erased = await erase(engine, "ann")
        assert (erased.events, erased.renamed) == (1, 4)
        rows = await engine.rows("SELECT event_id, user_id, payload FROM event ORDER BY occurred_at")
        assert [row["event_id"] for row in rows] == [f"{one['event_id']}" for one in sent if one != sent[2]]
        (pseudonym,) = {row["user_id"] for row in rows} - {"cid", "dan"}
        assert pseudonym.startswith("~erased~")
        assert json.loads(rows[3]["payload"])["crew"] == [pseudonym, "cid", pseudonym]
        await nowhere(engine, "ann")
        # What is delivered again is known, and what comes later finds the same name.
        stats = Stats()
        async with pipeline_on(engine, stats=stats) as other:
            assert await send(other, *sent) == []
            assert (stats.events, stats.duplicates, stats.erased) == (0, 5, 1)
            assert await send(other, like(8, "eve", "ann"), like(9, "ann", "eve"), like(10, "ann", "ann")) == []
        assert (stats.events, stats.erased) == (2, 2)
        later = await engine.rows("SELECT user_id, payload FROM event WHERE event_id IN ('like-8-eve', 'like-9-ann')")
        assert {row["user_id"] for row in later} == {"eve", pseudonym}
        await nowhere(engine, "ann")
    after = await engine.unlocks()
    assert {key: status for key, status in before.items() if key[0] != "ann"}.items() <= after.items()
    await engine.backfill()
    await check(engine)
    # The others follow: then the events concern no one who is left.
    for user in ("bob", "cid", "dan", "eve"):
        await erase(engine, user)
    for table in ("event", "event_subject", "renamed_event"):
        assert await engine.rows(f"SELECT FROM {table} WHERE tenant_id = 't1'") == [], table


async def test_no_one_may_pose_as_an_erased_user(engine: Engine) -> None:
    await engine.apply(RULES)
    async with pipeline_on(engine) as pipeline:
        letters = await send(
            pipeline, like(1, "~erased~1", "bob"), like(2, "ann", "~erased~2"), event(3, "other", user="~erased~3"),
            event(4, "met", user="ann", crew=["bob", "~erased~4"]),
        )  # fmt: skip
    assert [letter.detail.partition(":")[0] for letter in letters] == [
        "user_id", "payload.author", "user_id", "payload.crew",
    ]  # fmt: skip
    assert await engine.rows("SELECT FROM event") == []


@pytest.mark.parametrize("author", ["", "x" * 513, 5, None, ["bob"]])
async def test_what_names_no_user_breaks_the_contract(engine: Engine, author: object) -> None:
    await engine.apply(RULES)
    async with pipeline_on(engine) as pipeline:
        letters = await send(pipeline, event(1, "like", user="ann", post="p", author=author))
        letters += await send(pipeline, event(2, "met", user="ann", crew=["u"] * 101))
    assert [letter.reason.value for letter in letters] == ["contract", "contract"]
