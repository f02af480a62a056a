"""The archive: events leave the ledger, and nothing that anyone asks of them changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dsl.outcome import Subject, canonical_order
from tests.integration.engine import RULES, Engine, event
from tests.integration.pipelines import pipeline_on, send, sent
from worker.admin.archive import Archived, Asked, archive
from worker.admin.erasure import erase_user
from worker.admin.ledger_replay import Part, replay_ledger
from worker.admin.results import read_digest
from worker.app import wall_clock
from worker.console.books import latest_events
from worker.contract.pack import MOST
from worker.distribution import release
from worker.engine.agreement import Why
from worker.engine.entries import Catalogue
from worker.engine.stats import Stats
from worker.mirror.once import Wanted, mirror_once
from worker.pipeline.ledger import events_of
from worker.pipeline.rules_in_force import load_deployed
from worker.store import open_store
from worker.view.export import export_person

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.store import Store

pytestmark = pytest.mark.anyio

TEAM = 'achievement team { title "Team" scope team when count(event=a.done, >= 3) }\n'
TENANT = 'achievement crowd { title "Crowd" scope tenant when count(event=a.done, >= 5) }\n'
MORE = 'achievement twelve { title "Twelve" when count(event=a.done, >= 12) }\n'
ONE = 'achievement three { title "Three" when count(event=a.done, >= 3) reward { xp: 10 } }\n'
FEW = 'achievement few { title "Few" when count(event=b.done, >= 2) }\n'


async def archived(engine: Engine, reached: Callable[[str], None] = lambda _: None) -> Archived:
    """Archive all that can be."""
    async with open_store(engine.settings.database_url) as store:
        done, now = Archived(), wall_clock()
        await archive(store, Asked(now + 1, now, release()), done, reached=reached)
        return done


async def replayed(engine: Engine) -> str:
    """Return the digest of all history, which has to be what production says."""
    async with open_store(engine.settings.database_url) as store:
        rules = await load_deployed(store, engine.settings)
        (found,) = await replay_ledger(store, rules, Part())
        assert [one for one in found.disagreements if one.why is not Why.RETIRED] == []
        assert found.digest == (await read_digest(store, rules)).digest
        return found.digest


async def ledger(engine: Engine) -> list[str]:
    return [row["event_id"] for row in await engine.rows("SELECT event_id FROM event ORDER BY event_id")]


async def granted(engine: Engine) -> list[tuple[str, str]]:
    rows = await engine.rows(
        "SELECT subject, achievement FROM unlock WHERE contested_at IS NULL AND granted_at IS NOT NULL ORDER BY 1, 2"
    )
    return [(row["subject"], row["achievement"]) for row in rows]


def many(user: str, number: int, first: int = 0, **said: object) -> list[dict[str, Any]]:
    return [event(n, user=user, **said) for n in range(first, first + number)]  # type: ignore[arg-type]


async def test_old_events_leave_the_ledger_but_for_the_last_of_each_user(engine: Engine) -> None:
    await sent(engine, *many("u1", 9), *many("u2", 3))
    before = await replayed(engine)
    done = await archived(engine)
    rows = await engine.rows("SELECT user_id, part, events FROM pack ORDER BY user_id")
    assert [tuple(row.values()) for row in rows] == [("u1", 1, 8), ("u2", 1, 2)]
    assert done.events == 10
    assert await ledger(engine) == ["a.done-2-u2", "a.done-8-u1"]
    assert await replayed(engine) == before
    assert (await archived(engine)).events == 0
    (row,) = await engine.rows("SELECT compatible_from = number AS barred FROM schema_migration WHERE name = 'archive'")
    assert row["barred"]


async def test_an_old_id_that_comes_again_is_a_duplicate_and_with_another_body_a_dead_letter(engine: Engine) -> None:
    old = many("u1", 9)
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, *old)
        await archived(engine)
        assert await send(pipeline, *old) == []
        assert stats.duplicates == 9
        # By now the partition is ours again, and the fast path is open: another user, later than all that is known.
        await send(pipeline, event(100), event(101, user="u2"))
        fast = stats.overtaken
        letters = await send(pipeline, event(200, id=old[3]["event_id"]), event(201, user="u2", id=old[4]["event_id"]))
        assert stats.overtaken == fast + 1
        assert {one.reason.value for one in letters} == {"id_conflict"}
        assert len(letters) == 2
        assert await send(pipeline, event(202), event(203, user="u2")) == []
    assert stats.long_ways["archived"] == 1
    assert len(await ledger(engine)) == 1 + 4
    await replayed(engine)


async def test_tenants_do_not_share_an_archive(engine: Engine) -> None:
    """The same ids, the same names of users and teams: another tenant has none of that history, and no duplicate."""
    await engine.apply(RULES + TEAM)
    await sent(engine, *many("u1", 4, team="red"))
    await archived(engine)
    async with pipeline_on(engine) as pipeline:
        theirs = event(0, tenant="t2", team="red"), event(1, tenant="t2", team="red"), event(9, "c.done", tenant="t2")
        assert await send(pipeline, *theirs) == []
    assert len(await ledger(engine)) == 1 + 3
    await archived(engine)
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "t2", "u1", by="test", now=wall_clock())
    rows = await engine.rows("SELECT tenant_id, events FROM pack")
    assert [tuple(row.values()) for row in rows] == [("t1", 3)]
    await engine.backfill()
    found = await engine.rows("SELECT DISTINCT tenant_id FROM unlock WHERE contested_at IS NULL")
    assert [row["tenant_id"] for row in found] == ["t1"]
    assert ("red", "team") in await granted(engine)
    await replayed(engine)


async def test_ids_that_grow_are_never_looked_up(engine: Engine) -> None:
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, *(event(n, id=f"{n:05}") for n in range(9)))
        await archived(engine)
        await send(pipeline, event(10, id="00010"))
        overtaken = stats.overtaken
        await send(pipeline, event(11, id="00011"), event(12, id="00012"))
        assert stats.overtaken == overtaken
    (row,) = await engine.rows("SELECT reach::text FROM archive")
    assert row["reach"] == '{"5": "00007"}'


async def test_a_late_event_folds_archived_history_again(engine: Engine) -> None:
    await sent(engine, event(10), event(12), event(30, "c.done"), event(40, "c.done"))
    assert await granted(engine) == [("u1", "clean"), ("u1", "settled")]
    await archived(engine)
    await sent(engine, event(11, "b.done"))
    assert await granted(engine) == [("u1", "settled")]
    await sent(engine, event(1), event(2))
    await replayed(engine)
    await archived(engine)
    await replayed(engine)


async def test_a_late_event_on_the_fast_path_reads_the_archive(engine: Engine) -> None:
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, event(10), event(12), event(30, "c.done"), event(40, "c.done"))
        await archived(engine)
        await send(pipeline, event(50, "c.done"))
        fast = stats.long_ways["archived"]
        await send(pipeline, event(11, "b.done", id="never seen, and longer than all others"))
        assert stats.long_ways["archived"] == fast + 1
    assert await granted(engine) == [("u1", "settled")]
    await replayed(engine)


async def test_what_a_state_has_not_seen_stays(engine: Engine) -> None:
    """Workers save the state of a user once in some events; readers fold the others on top, from the ledger."""
    async with pipeline_on(engine) as pipeline:
        for n in range(5):
            await send(pipeline, event(n, "c.done"))
        await send(pipeline, event(9))
    (row,) = await engine.rows("SELECT count(*) AS n FROM progress JOIN event ON occurred_at > mark_at")
    assert row["n"] > 1
    before = await replayed(engine)
    await archived(engine)
    (left,) = await engine.rows("SELECT count(*) AS n FROM progress JOIN event ON occurred_at > mark_at")
    assert left == row
    assert await replayed(engine) == before


async def test_users_whose_types_no_rule_hears_stay_known(engine: Engine) -> None:
    await engine.apply(RULES + "event d.done {}\n")
    await sent(engine, *many("u1", 3, event_type="d.done"))
    await archived(engine)
    assert await ledger(engine) == ["d.done-2-u1"]


async def test_new_rules_read_archived_history_of_users_teams_and_tenants(engine: Engine) -> None:
    await sent(
        engine,
        *many("u1", 12),
        *many("u2", 4, team="red"),
        event(50, "b.done"),
        event(51, "b.done"),
        event(60, "c.done"),
    )
    await archived(engine)
    await engine.apply(RULES + MORE + FEW + TEAM + TENANT)
    await engine.backfill()
    assert {("u1", "twelve"), ("u1", "few"), ("red", "team"), ("t1", "crowd")} <= {*await granted(engine)}
    await replayed(engine)
    await sent(engine, event(70, user="u3", team="red"), event(0, user="u9", team="red"))
    await archived(engine)
    await replayed(engine)


async def test_members_of_teams_are_found_when_their_events_are_archived(engine: Engine) -> None:
    await engine.apply(RULES + TEAM)
    await sent(
        engine, *many("u1", 2, team="red"), event(9, "b.done"), event(4, user="u2", team="red"), event(5, user="u2")
    )
    await archived(engine)
    assert await engine.rows("SELECT FROM event_subject") == []
    await sent(engine, event(3, user="u3", team="red"))
    await replayed(engine)
    assert ("red", "team") in await granted(engine)


async def test_erasing_a_user_erases_the_archive(engine: Engine) -> None:
    await engine.apply(RULES + TEAM + TENANT)
    await sent(engine, *many("u1", 6, team="red"), *many("u2", 3, team="red"))
    await archived(engine)
    async with open_store(engine.settings.database_url) as store:
        gone = await erase_user(store, engine.settings, "t1", "u1", by="test", now=wall_clock())
    assert gone.events == 6
    assert {(one.scope, one.subject) for one in gone.shared} == {("tenant", "t1"), ("team", "red")}
    assert {
        row["user_id"] for row in await engine.rows("SELECT user_id FROM pack UNION SELECT user_id FROM packed_member")
    } == {"u2"}
    (row,) = await engine.rows("SELECT sum(octet_length(hashes)) / 5 AS ids FROM packed_id")
    assert row["ids"] == 2
    await engine.backfill()
    await replayed(engine)
    # Another user may have the id now; the first one stays out.
    async with pipeline_on(engine) as pipeline:
        assert await send(pipeline, event(0), event(40, user="u2", id="a.done-1-u1")) == []
    assert "a.done-1-u1" in await ledger(engine)


POINTS = ["packed", "found", "fenced", "moved"]


async def test_an_archive_that_dies_anywhere_is_finished_by_the_next_one(engine: Engine) -> None:
    for n, point in enumerate(POINTS):
        user, other = f"u{n}", f"o{n}"
        await sent(engine, *many(user, 6), *many(other, 3))
        before = await replayed(engine)

        def die(reached: str, point: str = point) -> None:
            if reached == point:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await archived(engine, die)
        assert await replayed(engine) == before
        async with pipeline_on(engine) as pipeline:
            letters = await send(pipeline, *many(user, 6), event(90, user="late", id=f"a.done-2-{user}"))
        assert [one.reason.value for one in letters] == ["id_conflict"]
        await archived(engine)
        assert len(await ledger(engine)) == 2 * (n + 1)
        (row,) = await engine.rows("SELECT sum(events) AS n, (SELECT count(*) FROM packing) AS left FROM pack")
        assert (row["n"], row["left"]) == (7 * (n + 1), 0)
        assert await replayed(engine) == before


async def test_an_event_that_comes_between_two_steps_is_not_taken_twice(engine: Engine) -> None:
    """A worker has looked before the ids were in their place, and commits behind that."""
    old = many("u1", 6)
    stats = Stats()
    async with pipeline_on(engine, stats=stats) as pipeline:
        await send(pipeline, *old, event(1, user="u2"))
        await send(pipeline, event(2, user="u2"))
        assert not stats.long_ways["partition_moved"]
        await archived(engine)
        # What it remembers is of before: the fence has moved under it.
        letters = await send(pipeline, event(50, user="u2", id=old[0]["event_id"]), event(51, user="u2"))
        assert [one.reason.value for one in letters] == ["id_conflict"]
    assert stats.long_ways["partition_moved"] + stats.long_ways["not_worth_it"] >= 1
    await replayed(engine)


async def test_a_busy_user_has_many_packs_and_late_events_in_later_ones(engine: Engine) -> None:
    await engine.apply(RULES + MORE + FEW)
    number = 2 * MOST + 10
    await sent(engine, *many("u1", number, 1000))
    await archived(engine)
    await sent(engine, *many("u1", 700, 100), event(5, "b.done"), event(6, "b.done"), event(9000, "c.done"))
    await archived(engine)
    rows = await engine.rows("SELECT part, events, first_at FROM pack ORDER BY part")
    assert [row["part"] for row in rows] == [1, 2, 3, 4]
    assert all(row["events"] <= MOST for row in rows)
    assert ("u1", "few") in await granted(engine)
    await replayed(engine)
    async with open_store(engine.settings.database_url) as store, store.transaction() as session:
        rules = await load_deployed(store, engine.settings)
        read = await events_of(session, rules, Subject("t1", "user", "u1"))
    assert [one.id for one in read] == [one.id for one in sorted(read, key=canonical_order)]
    assert len({one.id for one in read}) == len(read) == number + 700 + 3
    await engine.apply(RULES + MORE)
    await engine.backfill()
    async with pipeline_on(engine) as pipeline:
        assert await send(pipeline, *many("u1", 20, 995)) == []
    assert len(await ledger(engine)) == 1 + 5
    await replayed(engine)


async def test_readers_of_one_user_see_archived_events(engine: Engine, tmp_path: Path) -> None:
    odd = event(3, "b.done") | {"occurred_at": "2026-04-12T15:23:00.000+02:00", "source": "app", "payload": {"x": 1.50}}
    await sent(engine, *many("u1", 3), odd, event(9, "c.done"))
    settings = engine.settings
    async with open_store(settings.database_url) as store:
        catalogue = Catalogue(await load_deployed(store, settings))
        person = Subject("t1", "user", "u1")

        async def document() -> dict[str, Any]:
            said: list[str] = []
            await export_person(store, settings, catalogue, person, now=1, write=said.append)
            return json.loads("".join(said))

        before = await document(), await latest_events(store, "t1", "u1")
        await mirror_once(store, settings, Wanted(tmp_path / "early"))
        await archived(engine)
        assert (await document(), await latest_events(store, "t1", "u1")) == before
        for name in ("early", "late"):
            ran = await mirror_once(store, settings, Wanted(tmp_path / name))
            assert ran.manifest.rows("event") == 5
        exact = await store_value(store, "exact_events")
        assert exact == 5


async def store_value(store: Store, query: str) -> int:
    async with store.transaction() as session:
        return await session.value(int, query) or 0


async def test_rules_that_hear_less_measure_at_an_archived_event(engine: Engine) -> None:
    """The mark of a carried state is the last event that rules still hear, and that one is archived."""
    await sent(engine, *many("u1", 4), event(20, "c.done"), event(21, "c.done"))
    await archived(engine)
    await sent(engine, event(1, id="late"))
    await engine.apply("event a.done { key: string?, team: string? }\n" + ONE)
    await engine.backfill()
    assert [row["mark_id"] for row in await engine.rows("SELECT mark_id FROM progress")] == ["a.done-3-u1"]
    await replayed(engine)
