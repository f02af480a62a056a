"""The archive below whatever folds history again: sweeps of a backfill, rebuilds, and names of a journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.engine import RULES, Engine, event
from tests.integration.pipelines import sent
from tests.integration.test_archive import FEW, MORE, TEAM, TENANT, archived, granted, many, replayed
from worker.admin import rebuild as rebuilding
from worker.admin import sweep
from worker.admin.piece import Pieces
from worker.admin.rebuild import Orders, Rebuilt, rebuild
from worker.admin.rebuild_target import Target
from worker.app import wall_clock
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.outcome import Subject
    from worker.admin.ahead import Ahead
    from worker.admin.folded_anew import Anew
    from worker.engine.rule_set import Deployed
    from worker.store import Store

pytestmark = pytest.mark.anyio


async def rebuilt(engine: Engine) -> Rebuilt:
    async with open_store(engine.settings.database_url) as store:
        return await rebuild(store, engine.settings, Target(), Orders("test", wall_clock, pause=0))


async def test_a_sweep_reads_the_archive_with_the_ledger(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of most users no rule has heard before, and half of what the new rules hear is archived."""
    for name, number in (("SLICE_EVENTS", 20), ("GROWTH", 2), ("CHUNK_USERS", 5), ("LONG", 8)):
        monkeypatch.setattr(sweep, name, number)
    moved: list[Subject] = []
    add = Pieces.add

    async def noted(self: Pieces, ahead: Mapping[Subject, Ahead]) -> None:
        await add(self, ahead)
        moved.extend(one for one in ahead if one.scope == "user")

    users = [f"u{n}" for n in range(20)]
    await engine.apply("event a.done { key: string?, team: string? }\nevent b.done {}\nevent c.done {}\n")
    old = [event(0, "b.done", user=user, tenant=tenant) for user in users for tenant in ("t1", "t2")]
    await sent(engine, *old, *many("busy", 14), *(event(2, user=user) for user in users))
    await archived(engine)
    await sent(engine, *(event(5, "b.done", user=user) for user in users))
    await engine.apply(RULES + FEW + MORE)
    monkeypatch.setattr(Pieces, "add", noted)
    await engine.backfill()
    assert len(moved) > len(users)
    assert await granted(engine) == sorted(
        [*((user, "few") for user in users), ("busy", "clean"), *[("busy", one) for one in ("three", "twelve")]]
    )
    await replayed(engine)


async def test_a_rebuild_reads_the_archive(engine: Engine) -> None:
    await engine.apply(RULES + TEAM + TENANT)
    await sent(engine, *many("u1", 9, team="red"), *many("u2", 4, team="red"), event(50, "c.done"))
    before = await replayed(engine)
    await archived(engine)
    found = await rebuilt(engine)
    assert found.is_as_it_was, found.differences
    await engine.rows("UPDATE progress SET state = 'spoilt'")
    await engine.rows("DELETE FROM unlock WHERE achievement IN ('three', 'team', 'crowd')")
    found = await rebuilt(engine)
    assert found.kinds == {"granted": 4}
    assert {one.scope for one in found.differences} == {"user", "team", "tenant"}
    assert await replayed(engine) == before
    assert (await rebuilt(engine)).is_as_it_was


@pytest.mark.parametrize("scope", ["user", "tenant", "team"])
async def test_a_rebuild_counts_no_events_that_are_archived_meanwhile(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    """As many come late as leave the ledger, so there are as many as before."""
    await engine.apply(RULES + TEAM + TENANT)
    await sent(engine, *many("u1", 6, 100, team="red"))
    await engine.rows("UPDATE progress SET state = 'spoilt'")
    folded = rebuilding.fold_without_lock

    async def then_archived(store: Store, rules: Deployed, piece: Sequence[Subject]) -> Anew:
        found = await folded(store, rules, piece)
        if piece[0].scope == scope:
            gone = await archived(engine)
            assert gone.events == 5
            await sent(engine, *many("u1", gone.events, team="red"))
        return found

    monkeypatch.setattr(rebuilding, "fold_without_lock", then_archived)
    await rebuilt(engine)
    await replayed(engine)
    monkeypatch.undo()
    assert (await rebuilt(engine)).is_as_it_was


def named(_tenant_id: str, name: str) -> str:
    """Return the name of a row of names."""
    return name


async def test_a_journal_finds_the_names_of_archived_teams(engine: Engine) -> None:
    await engine.apply(RULES + TEAM)
    await sent(engine, *many("u1", 2, team="red"), event(9))
    await archived(engine)
    await engine.rows("DELETE FROM progress")
    async with open_store(engine.settings.database_url) as store, store.transaction() as session:
        place = {"after_tenant": "", "after_subject": "", "limit": 10}
        found = await session.rows(named, "kept_subjects", scope="team", **place)
    assert found == ["red"]
