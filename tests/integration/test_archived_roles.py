"""Events that name several users, in the archive: nothing changes for any of them, and an erasure finds their names."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest

from dsl.outcome import Subject, digest, run
from tests.integration.engine import Engine, event, until_waiting
from tests.integration.pipelines import pipeline_on, send, sent
from tests.integration.test_archive import POINTS, archived, ledger, replayed, store_value
from tests.integration.test_archived_builds import rebuilt
from tests.integration.test_event_roles import CONTRACTS, NAMES, RULES, drawn, erase, like, nowhere
from tests.integration.test_plan import check as check_plan
from tests.integration.test_plan import counts
from worker.admin import archive as archiving
from worker.admin.results import read_results
from worker.admin.tombstone import lift_tombstone
from worker.app import wall_clock
from worker.engine.entries import Catalogue
from worker.engine.stats import Stats
from worker.mirror.once import Wanted, mirror_once
from worker.pipeline.archive import archived_of_types, events_of_pack
from worker.pipeline.ledger import event_of, events_of
from worker.pipeline.rules_in_force import load_deployed
from worker.store import open_store
from worker.view.export import export_person

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from worker.admin.packs import Made
    from worker.contract.pack import EventRow

pytestmark = pytest.mark.anyio

FAVOURITE: Final = 'achievement favourite { title "Favourite" when count(event=like as author, >= 3) }\n'
WORLD: Final = [
    like(1, "ann", "bob"),
    like(2, "cid", "bob"),
    like(3, "ann", "ann"),
    like(4, "cid", "ann"),
    event(5, "met", user="dan", crew=["ann", "cid", "ann"], team="red"),
    event(6, "met", user="ann", crew=["eve", "ann"], team="red"),
    like(7, "ann", "bob"),
    like(8, "cid", "eve"),
    # Theirs is the last event, which stays in the ledger.
    *(event(90, "seen", user=user, by=user) for user in ("ann", "cid", "dan")),
]
"""Eight events that can be archived, in three packs; neither bob nor eve has done anything."""


async def packs(engine: Engine) -> dict[str, list[tuple[str, Any]]]:
    """Return ids and payloads of what is archived, by who did it."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for row in await engine.rows("SELECT user_id, body FROM pack ORDER BY tenant_id, user_id, part"):
        for one in events_of_pack(row["body"]):
            found.setdefault(row["user_id"], []).append((one.event_id, json.loads(one.payload or "{}")))
    return found


async def nowhere_archived(engine: Engine, name: str) -> None:
    """Make sure that a name stands nowhere, packed or not."""
    await nowhere(engine, name)
    for user, events in (await packs(engine)).items():
        assert user != name
        assert not [one for one in events if f'"{name}"' in json.dumps(one[1])]


@pytest.fixture
async def world(engine: Engine) -> Engine:
    """An engine with rules that hear users in roles, and all that can be in the archive."""
    await engine.apply(RULES)
    async with pipeline_on(engine) as pipeline:
        assert await send(pipeline, *WORLD) == []
    assert (await archived(engine)).events == 8
    return engine


async def test_an_archived_event_stays_in_the_history_of_all_that_it_names(engine: Engine) -> None:
    await engine.apply(RULES)
    await sent(engine, *WORLD)
    before, had = await replayed(engine), await engine.unlocks()
    assert (await archived(engine)).events == 8
    assert {user: len(events) for user, events in (await packs(engine)).items()} == {"ann": 4, "cid": 3, "dan": 1}
    assert await ledger(engine) == ["seen-90-ann", "seen-90-cid", "seen-90-dan"]
    assert await engine.rows("SELECT FROM event_subject WHERE scope = 'user'") == []
    assert await replayed(engine) == before
    async with open_store(engine.settings.database_url) as store, store.transaction() as session:
        rules = await load_deployed(store, engine.settings)
        read = {
            name: [(one.id, one.type) for one in await events_of(session, rules, Subject("t1", "user", name))]
            for name in ("bob", "eve", "ann")
        }
    assert read["bob"] == [(f"like-{n}", "like as author") for n in ("1-ann", "2-cid", "7-ann")]
    assert read["eve"] == [("met-6-ann", "met as crew"), ("like-8-cid", "like as author")]
    assert [seen for _, seen in read["ann"]] == [
        *("like", "like as actor+author", "like as author", "met as crew", "met as actor+crew", "like"),
        "seen as actor+by",
    ]
    await engine.apply(RULES + FAVOURITE)
    await engine.backfill()
    assert (await engine.unlocks()).items() - had.items() == {(("bob", "favourite"), "granted")}
    await replayed(engine)


async def test_an_archived_id_is_a_duplicate_for_all_that_it_names(world: Engine) -> None:
    stats = Stats()
    async with pipeline_on(world, stats=stats) as pipeline:
        assert await send(pipeline, *WORLD) == []
        assert (stats.events, stats.duplicates) == (0, len(WORLD))
        other = like(1, "ann", "eve"), like(1, "cid", "bob", id="like-1-ann"), like(1, "bob", "cid", id="like-2-cid")
        letters = await send(pipeline, *other)
        assert [one.reason.value for one in letters] == ["id_conflict"] * 3
    assert len(await ledger(world)) == 3
    await replayed(world)


async def test_a_late_event_finds_what_others_did_in_the_archive(world: Engine) -> None:
    """Of a user without events of their own, on the long way and on the fast one."""
    await world.apply(RULES + FAVOURITE)
    await world.backfill()
    stats = Stats()
    async with pipeline_on(world, stats=stats) as pipeline:
        for n in (100, 102):
            await send(pipeline, like(n, "fay", "eve"), like(n + 1, "gus", "bob"))
        before = stats.long_ways["archived"]
        await send(
            pipeline, like(110, "fay", "gus"), like(0, "gus", "bob", id="never seen, and longer than all others")
        )
        assert stats.long_ways["archived"] == before + 1, stats.long_ways
    await replayed(world)
    await archived(world)
    await replayed(world)


async def test_a_user_that_only_the_archive_names_is_known(world: Engine) -> None:
    """Without a state, as rules begin to ask for a role: what comes next is folded with all that was."""
    await world.apply("event like { post: string, author: user }\n" + FAVOURITE)
    await world.rows("DELETE FROM progress")
    async with pipeline_on(world) as pipeline:
        await send(pipeline, like(50, "eve", "ann"))
        await send(pipeline, like(51, "dan", "bob"))
    assert (await world.unlocks())["bob", "favourite"] == "granted"
    await world.backfill()
    await replayed(world)


async def test_a_name_that_is_written_with_escapes_is_found(engine: Engine) -> None:
    """JSON may write any character as a number; the ledger keeps it as it was written."""
    await engine.apply(RULES)
    escaped = [json.dumps(like(n, "ann", "bob")).replace('"bob"', '"b\\u006fb"').encode() for n in (1, 2)]
    async with pipeline_on(engine) as pipeline:
        assert await send(pipeline, *escaped, event(90, "seen", user="ann", by="ann")) == []
    before = await replayed(engine)
    await archived(engine)
    assert await replayed(engine) == before
    assert (await erase(engine, "bob")).renamed == 2
    assert [said["author"][:8] for _, said in (await packs(engine))["ann"]] == ["~erased~"] * 2


async def test_what_the_state_of_a_named_user_has_not_seen_stays(engine: Engine) -> None:
    """Workers save the state of a user once in some events, and read the others from the ledger."""
    await engine.apply(RULES)
    async with pipeline_on(engine) as pipeline:
        for n in range(5):
            await send(pipeline, like(n, "ann", "bob"), like(n, "cid", "ann"))
        await send(pipeline, like(50, "ann", "dan"), like(51, "cid", "dan"))
    query = """
        SELECT count(*) AS n FROM progress JOIN event_subject AS member USING (tenant_id, scope, subject)
        WHERE occurred_at > mark_at AND subject = 'bob'
    """
    (row,) = await engine.rows(query)
    assert row["n"] > 1
    before = await replayed(engine)
    assert (await archived(engine)).events > 1
    (left,) = await engine.rows(query)
    assert left == row
    assert await replayed(engine) == before


async def test_a_plan_over_archived_roles_says_what_an_apply_decides(world: Engine) -> None:
    seen = await check_plan(world, RULES + FAVOURITE)
    assert counts(seen) == {"favourite granted": 1}
    less = RULES.replace("achievement known {", "achievement known version 2 from 2026-04-01T00:00:00Z {")
    seen = await check_plan(world, less.replace("distinct=actor, >= 2", "distinct=post, >= 1") + FAVOURITE)
    assert counts(seen)["known granted"] == 1
    await replayed(world)


async def test_a_rebuild_reads_archived_roles(world: Engine) -> None:
    before = await replayed(world)
    found = await rebuilt(world)
    assert found.is_as_it_was, found.differences
    await world.rows("UPDATE progress SET state = 'spoilt'")
    await world.rows("DELETE FROM unlock WHERE achievement IN ('known', 'team')")
    found = await rebuilt(world)
    assert found.kinds == {"granted": 3}
    assert await replayed(world) == before


async def test_a_string_becomes_a_user_over_an_archive(engine: Engine) -> None:
    before = RULES.partition("\n\n")[0].replace("author: user", "author: string")
    texts = before + '\nachievement likes { title "Likes" when count(event=like, >= 1) }\n'
    await engine.apply(texts)
    await sent(engine, *WORLD)
    await archived(engine)
    named = "SELECT subject, user_id FROM packed_member WHERE scope = 'user' AND subject = 'bob' ORDER BY 2"
    assert await engine.rows(named) == []
    await engine.apply(RULES)
    await engine.backfill()
    assert [row["user_id"] for row in await engine.rows(named)] == ["ann", "cid"]
    assert (await engine.unlocks())["bob", "known"] == "granted"
    await replayed(engine)


async def test_readers_of_a_named_user_see_archived_events(engine: Engine, tmp_path: Path) -> None:
    await engine.apply(RULES)
    await sent(engine, *WORLD)
    settings, person = engine.settings, Subject("t1", "user", "bob")
    async with open_store(settings.database_url) as store:
        catalogue = Catalogue(await load_deployed(store, settings))

        async def document() -> dict[str, Any]:
            said: list[str] = []
            await export_person(store, settings, catalogue, person, now=1, write=said.append)
            return json.loads("".join(said))

        before = await document()
        assert [one["event_id"] for one in before["named_in"]] == ["like-1-ann", "like-2-cid", "like-7-ann"]
        await mirror_once(store, settings, Wanted(tmp_path / "early"))
        await archived(engine)
        assert await document() == before
        await erase(engine, "ann")
        for name in ("early", "late"):
            ran = await mirror_once(store, settings, Wanted(tmp_path / name))
            # One of her own concerned no one else, and neither did her last one.
            assert ran.manifest.rows("event") == len(WORLD) - 2


async def check(engine: Engine) -> None:
    """Compare what the worker has with a fold in memory of all that ledger and archive have."""
    async with open_store(engine.settings.database_url) as store:
        rules = await load_deployed(store, engine.settings)
        async with store.transaction() as session:
            types = [*rules.rules.events]
            found = {row[1]: event_of(rules, *row) for row in await session.rows(_row, "events_of_types", types=types)}
            hot = len(found)
            async for page in archived_of_types(session, types):
                found.update({row[1]: event_of(rules, *row) for row in page})
        stored = await read_results(store, rules)
        exact = await store_value(store, "exact_events")
    assert hot < len(found) == exact
    expected = run(rules.program, [*found.values()])
    assert stored.unlocks == expected.unlocks
    assert stored.states.keys() == expected.states.keys()
    assert stored.digest == digest(rules.program, expected.unlocks, expected.states)


def _row(*row: *EventRow) -> EventRow:
    return row


@pytest.mark.parametrize("seed", range(2))
async def test_drawn_batches_between_archives(engine: Engine, seed: int) -> None:
    """Late events, copies, workers that take turns, rules that change; with the second seed also erasures."""
    dice = Random(seed)  # noqa: S311 - no secret
    await engine.apply(RULES)

    gone: list[str] = []
    async with pipeline_on(engine) as one, pipeline_on(engine, owner="another") as two:
        had: list[dict[str, Any]] = []
        for turn in range(8):
            batch = [drawn(dice, len(had) + n) for n in range(dice.randrange(1, 16))]
            had += batch
            copies = dice.sample(had, min(len(had), dice.choice((0, 1, 3))))
            assert await send(dice.choice((one, one, two)), *batch, *copies) == []
            if turn % 2:
                await archived(engine)
            if turn == 4:
                await engine.apply(RULES + FAVOURITE)
            if seed and turn in {3, 6}:
                gone.append(NAMES[len(gone)])
                await erase(engine, gone[-1])
        await engine.backfill()
        for name in gone:
            await nowhere_archived(engine, name)
        await check(engine)
        assert await send(one, *had) == []
    await archived(engine)
    await check(engine)
    await replayed(engine)


async def test_pseudonyms_have_no_history_where_no_rule_asks_for_roles(world: Engine) -> None:
    """Contracts name users still, and what the erased one did lies in ledger and archive under another name."""
    await erase(world, "ann")
    await sent(world, like(97, "ann", "bob"), like(98, "ann", "bob"))
    text = CONTRACTS + 'achievement likes { title "Likes" when count(event=like, >= 2) }\n'
    seen = await check_plan(world, text)
    assert counts(seen) == {"likes granted": 1}
    await replayed(world)
    assert {name for name, _ in await world.unlocks()} & {"cid"} == {"cid"}
    assert not any(name.startswith("~erased~") for name, _ in await world.unlocks())


# -- erasure -----------------------------------------------------------------------------------------------------------


async def test_an_erasure_takes_a_name_out_of_packs(world: Engine) -> None:
    before = await world.unlocks()
    erased = await erase(world, "ann")
    assert (erased.events, erased.renamed) == (2, 5)
    assert {(one.scope, one.subject) for one in erased.shared} == {
        ("tenant", "t1"), ("team", "red"), *(("user", name) for name in ("bob", "cid", "dan", "eve")),
    }  # fmt: skip
    found = await packs(world)
    (pseudonym,) = found.keys() - {"cid", "dan"}
    assert pseudonym.startswith("~erased~")
    assert found[pseudonym] == [
        ("like-1-ann", {"post": "p", "author": "bob"}),
        ("met-6-ann", {"crew": ["eve", pseudonym], "team": "red"}),
        ("like-7-ann", {"post": "p", "author": "bob"}),
    ]
    assert dict(found["cid"])["like-4-cid"] == {"post": "p", "author": pseudonym}
    assert dict(found["dan"])["met-5-dan"]["crew"] == [pseudonym, "cid", pseudonym]
    await nowhere_archived(world, "ann")
    (row,) = await world.rows("SELECT sum(octet_length(hashes)) / 5 AS ids FROM packed_id")
    assert row["ids"] == 7
    await world.backfill()
    after = await world.unlocks()
    assert {key: status for key, status in before.items() if key[0] != "ann"}.items() <= after.items()
    await replayed(world)
    # What is delivered again is known, and what comes later finds the same name.
    stats = Stats()
    async with pipeline_on(world, stats=stats) as pipeline:
        assert await send(pipeline, *WORLD) == []
        assert (stats.events, stats.duplicates, stats.erased) == (0, len(WORLD) - 2, 2)
        assert await send(pipeline, like(95, "ann", "bob"), like(96, "ann", "bob")) == []
        letters = await send(pipeline, event(99, "seen", user="cid", by="dan", id="like-7-ann"))
        assert [one.reason.value for one in letters] == ["id_conflict"]
    await archived(world)
    assert [name for name, _ in (await packs(world))[pseudonym]][3:] == ["like-95-ann"]
    await replayed(world)
    # The others follow: then the events concern no one who is left.
    for user in ("bob", "cid", "dan", "eve"):
        await erase(world, user)
        await nowhere_archived(world, user)
    for table in ("event", "event_subject", "renamed_event", "pack", "packed_member"):
        assert await world.rows(f"SELECT FROM {table}") == [], table
    (row,) = await world.rows("SELECT sum(octet_length(hashes)) / 5 AS ids FROM packed_id")
    assert row["ids"] == 0


async def test_a_user_that_is_erased_twice_has_one_pseudonym_and_its_packs(world: Engine) -> None:
    await erase(world, "ann")
    await world.drain()
    async with open_store(world.settings.database_url) as store:
        await lift_tombstone(store, "t1", "ann", by="test", reason="back again", now=wall_clock())
    again = like(200, "ann", "bob"), like(201, "ann", "cid"), event(300, "seen", user="ann", by="ann")
    await sent(world, *again)
    await archived(world)
    assert [name for name, _ in (await packs(world))["ann"]] == ["like-200-ann", "like-201-ann"]
    await erase(world, "ann")
    (pseudonym,) = {user for user in await packs(world) if user.startswith("~erased~")}
    assert len((await packs(world))[pseudonym]) == 5
    await nowhere_archived(world, "ann")
    stats = Stats()
    async with pipeline_on(world, stats=stats) as pipeline:
        assert await send(pipeline, *WORLD, *again) == []
        assert stats.duplicates == len(WORLD) - 2 + 2
        await send(pipeline, like(400, "ann", "dan"), like(401, "ann", "dan"))
    # Packs of two numbers are there by now: none is merged with another.
    await archived(world)
    async with pipeline_on(world, stats=stats) as pipeline:
        before = stats.duplicates
        assert await send(pipeline, *WORLD, *again, like(400, "ann", "dan"), like(401, "ann", "dan")) == []
        assert stats.duplicates == before + len(WORLD) + 2
    await world.backfill()
    await replayed(world)


async def test_packs_of_another_number_are_not_merged(world: Engine) -> None:
    """An erasure between packing and moving gives a pseudonym packs of a number that the waiting ones do not have."""
    await erase(world, "ann")
    (row,) = await world.rows("SELECT user_id, number FROM pack WHERE user_id LIKE '~%'")
    await sent(world, like(200, "ann", "bob"), like(201, "ann", "cid"))

    def die(reached: str) -> None:
        if reached == "packed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await archived(world, die)
    await world.rows("UPDATE pack SET number = 77 WHERE user_id = $1", row["user_id"])
    await archived(world)
    rows = await world.rows("SELECT number, events FROM pack WHERE user_id = $1 ORDER BY part", row["user_id"])
    assert [tuple(one.values()) for one in rows] == [(77, 3), (row["number"], 1)]


async def test_tenants_do_not_share_names_in_an_archive(world: Engine) -> None:
    theirs = [one | {"tenant_id": "t2"} for one in WORLD]
    await sent(world, *theirs)
    await archived(world)
    await erase(world, "ann")
    rows = await world.rows("SELECT tenant_id, user_id FROM pack WHERE tenant_id = 't2' ORDER BY 2")
    assert [row["user_id"] for row in rows] == ["ann", "cid", "dan"]
    rows = await world.rows("SELECT body FROM pack WHERE tenant_id = 't2'")
    said = [one.payload or "" for row in rows for one in events_of_pack(row["body"])]
    assert any('"ann"' in payload for payload in said)
    assert not any("~erased~" in payload for payload in said)
    await world.backfill()
    await replayed(world)


@pytest.mark.parametrize("erasing", [False, True])
async def test_an_archive_of_roles_that_dies_anywhere_is_finished(engine: Engine, erasing: bool) -> None:
    """Also where a user is erased whose events are packed and not moved yet."""
    await engine.apply(RULES)
    for n, point in enumerate(POINTS):
        ann, bob, cid = (f"{name}{n}" for name in ("ann", "bob", "cid"))
        batch = [like(1, ann, bob), like(2, cid, bob), like(3, cid, ann), like(4, ann, ann)]
        batch += [event(90, "seen", user=user, by=user) for user in (ann, cid)]
        await sent(engine, *batch)

        def die(reached: str, point: str = point) -> None:
            if reached == point:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await archived(engine, die)
        if erasing:
            await erase(engine, ann)
            await engine.backfill()
            await nowhere_archived(engine, ann)
        before = await replayed(engine)
        stats = Stats()
        async with pipeline_on(engine, stats=stats) as pipeline:
            letters = await send(pipeline, *batch, like(1, "late", bob, id=f"like-2-{cid}"))
            assert stats.duplicates == len(batch) - 2 * erasing
        assert [one.reason.value for one in letters] == ["id_conflict"]
        assert await replayed(engine) == before
        await archived(engine)
        assert await engine.rows("SELECT FROM packing") == []
        assert await replayed(engine) == before
        if erasing:
            await nowhere_archived(engine, ann)


async def test_an_erasure_waits_for_events_that_are_being_packed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run has read is a pack when the erasure looks: else the name would come back with it."""
    await engine.apply(RULES)
    await sent(engine, *WORLD)
    packed = archiving.packs_due
    async with anyio.create_task_group() as tasks:

        async def then_erased(*args: Any) -> AsyncIterator[Made]:  # noqa: ANN401
            async for pack in packed(*args):
                yield pack
            monkeypatch.undo()
            tasks.start_soon(erase, engine, "ann")
            await until_waiting(engine)

        monkeypatch.setattr(archiving, "packs_due", then_erased)
        await archived(engine)
    await nowhere_archived(engine, "ann")
    assert await engine.rows("SELECT FROM packing") == []
    await engine.backfill()
    await replayed(engine)
