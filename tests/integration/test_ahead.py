"""Subjects that a build folds without a lock: what touches them before they are written is not overwritten."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dsl.outcome import Subject
from tests.integration.engine import RULES, Engine, event
from worker.admin import piece, sweep, visit
from worker.admin.ahead import fold_ahead
from worker.admin.built import Report
from worker.admin.erasure import erase_user
from worker.admin.hashed_events import Swept
from worker.admin.lease import BuildEndedError
from worker.admin.outdated import searches
from worker.admin.piece import Build, write_ahead
from worker.app import wall_clock
from worker.engine.pace import Courtesy
from worker.pipeline.rules_in_force import load_deployed
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from worker.admin.ahead import Ahead

pytestmark = pytest.mark.anyio

USER = Subject("t1", "user", "u1")
MORE = RULES + 'achievement two { title "Two" when count(event=b.done, >= 2) }\n'
TENANT = RULES + 'achievement many { title "Many" scope tenant when count(event=a.done, >= 4) }\n'


@asynccontextmanager
async def _build(engine: Engine) -> AsyncGenerator[Build]:
    async with open_store(engine.settings.database_url) as store:
        rules = await load_deployed(store, engine.settings)
        report = Report(rules.epoch)
        yield Build(store, engine.settings, rules, None, None, report, wall_clock, None, Courtesy(0.0))


async def _folded(work: Build, subject: Subject) -> dict[Subject, Ahead]:
    async with work.store.transaction() as session:
        return await fold_ahead(session, work.rules, subject.scope, [subject])


async def _erase(engine: Engine, user: str) -> None:
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "t1", user, by="test", now=wall_clock())


async def test_what_came_in_meanwhile_is_kept(engine: Engine) -> None:
    """A late event comes behind the back of a build: it earns earlier."""
    await engine.apply(RULES)
    await engine.publish([event(n) for n in range(2)] + [event(n, "b.done") for n in (10, 20)])
    await engine.drain()
    await engine.apply(MORE)
    async with _build(engine) as work:
        ahead = await _folded(work, USER)
        await engine.publish([event(5, "b.done")])
        await engine.drain()
        await write_ahead(work, ahead)
        assert work.report.subjects == 0
        assert not await _folded(work, USER)
    (row,) = await engine.rows("SELECT event_id, earned_at FROM unlock WHERE achievement = 'two'")
    assert row["event_id"] == "b.done-10-u1"


async def test_an_erased_user_does_not_come_back(engine: Engine) -> None:
    """One with a stored state, and one that the rules before have never heard."""
    await engine.apply('event a.done {}\nachievement one { title "One" when count(event=a.done, >= 1) }\n')
    await engine.publish([event(0, "b.done", user="new"), event(1, "b.done", user="new")])
    await engine.publish([event(0), event(1, "b.done"), event(2, "b.done")])
    await engine.drain()
    both = (
        'event a.done {}\nevent b.done {}\nachievement one { title "One" when count(event=a.done, >= 1) }\n'
        'achievement two { title "Two" when count(event=b.done, >= 2) }\n'
    )
    await engine.apply(both)
    async with _build(engine) as work:
        for user in ("u1", "new"):
            ahead = await _folded(work, Subject("t1", "user", user))
            assert [grant.achievement for one in ahead.values() for grant in one.refold.grants] == ["two"]
            await _erase(engine, user)
            await write_ahead(work, ahead)
    assert await engine.unlocks() == {}
    assert not await engine.rows("SELECT FROM progress")


async def test_a_tenant_without_a_state_is_folded_without_the_erased(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user is erased when the tenant is folded and not yet written."""
    await engine.apply(RULES)
    await engine.publish(event(n, user=f"u{1 - n % 2}") for n in range(4))
    await engine.drain()
    await engine.apply(TENANT)
    write = piece.write_ahead

    async def erased_before(work: Build, ahead: dict[Subject, Ahead]) -> None:
        assert [grant.achievement for one in ahead.values() for grant in one.refold.grants] == ["many"]
        await _erase(engine, "u1")
        await write(work, ahead)

    monkeypatch.setattr(piece, "write_ahead", erased_before)
    await engine.backfill()
    assert ("t1", "many") not in await engine.unlocks()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make everything that a sweep reads together small."""
    for where, name, number in (
        (sweep, "SLICE_EVENTS", 20),
        (sweep, "CALM_EVENTS", 30),
        (sweep, "GROWTH", 2),
        (sweep, "CHUNK_USERS", 5),
        (sweep, "LONG", 6),
        (piece, "MOST_PENDING", 8),
        (visit, "AHEAD_OF_MANY", 2),
    ):
        monkeypatch.setattr(where, name, number)


async def _many(engine: Engine) -> None:
    await engine.apply(RULES)
    of_one = [event(n, user="busy") for n in range(20)]
    await engine.publish([event(n, user=f"u{user}", tenant=f"t{user % 3}") for user in range(40) for n in range(2)])
    await engine.publish([*of_one, *(event(n, "b.done", user="busy") for n in (3, 5, 30))])
    await engine.publish(
        [event(n, "b.done", user=f"u{user}", tenant=f"t{user % 3}") for user in range(40) for n in (7, 8)]
    )
    await engine.drain()
    await engine.rows("ANALYZE event")
    await engine.apply(MORE.replace("event=b.done", "event=[a.done, b.done]").replace(">= 2)\n", ">= 4)\n"))


@pytest.mark.usefixtures("small")
async def test_a_sweep_reaches_all_users_slice_by_slice(engine: Engine) -> None:
    await _many(engine)
    report = await engine.backfill()
    assert report.tallies["two", 1].granted == 41
    found = await engine.rows("SELECT subject, event_id FROM unlock WHERE achievement = 'two' ORDER BY 1")
    assert [row["event_id"] for row in found if row["subject"] == "busy"] == ["a.done-1-busy"]


@pytest.mark.usefixtures("small")
async def test_a_sweep_goes_on_where_it_was(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await _many(engine)
    written = piece.write_ahead
    number = 0

    async def ended(work: Build, ahead: dict[Subject, Ahead]) -> None:
        nonlocal number
        number += len(ahead)
        if number > 20:
            assert work.lease is not None
            raise BuildEndedError(work.lease.change)
        await written(work, ahead)

    with monkeypatch.context() as patch:
        patch.setattr(piece, "write_ahead", ended)
        with pytest.raises(BuildEndedError):
            await engine.backfill()
    (place,) = await engine.rows(
        "SELECT (cursor ->> 'swept')::bigint AS swept FROM change ORDER BY change_id DESC LIMIT 1"
    )
    assert place["swept"] is not None
    before = len(await engine.rows("SELECT FROM unlock WHERE achievement = 'two'"))
    report = await engine.backfill()
    assert 0 < before < 41
    assert report.tallies["two", 1].granted == 41 - before


@pytest.mark.usefixtures("small")
async def test_a_large_slice_is_left_once_there_is_live_work(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read stays read, and the next slice begins behind it."""
    await _many(engine)
    monkeypatch.setattr(sweep, "CALM_EVENTS", 1000)
    async with _build(engine) as work:
        types = frozenset({"a.done", "b.done"})
        reading = sweep.Sweep(work.rules, Swept(types, frozenset()), after=None)
        live: list[bool] = []  # once anything was read
        slices: list[list[sweep.Chunk]] = []
        while not reading.over:
            slices.append([])
            async for chunk in reading.slice(work.store, lambda: not live):
                slices[-1].append(chunk)
                live.append(True)
    numbers = [sum(chunk.number for chunk in chunks) for chunks in slices]
    assert numbers[0] in range(20, 60)
    assert sum(numbers) == 183
    users = [subject for chunks in slices for chunk in chunks for subject in chunk.events]
    assert len(users) == len(set(users)) == 41


async def test_no_payload_is_read_that_nothing_new_looks_at(engine: Engine) -> None:
    """Though states are of rules before those before, and these read payloads."""
    reading = RULES.replace("event b.done {}", "event b.done { score: int? }") + (
        'achievement score { title "Score" when sum(event=b.done, of=score, >= 100) }\n'
    )
    assert "score: int?" in reading
    await engine.apply(reading)
    await engine.publish([event(n, "b.done") for n in range(2)])
    await engine.drain()
    titled = reading.replace('title "Score"', 'title "Scored"')
    tiers = 'achievement tiers { title "Tiers" tier low { when count(event=b.done, >= 50) } }\n'
    for text in (titled, titled + tiers):
        await engine.apply(text)
        await engine.backfill()
    await engine.apply(titled + tiers + 'achievement two { title "Two" when count(event=[a.done, b.done], >= 2) }\n')
    async with _build(engine) as work:
        found = await searches(work.store, work.rules, "user", thorough=False)
    assert found[0].swept == Swept(frozenset({"a.done", "b.done"}), frozenset())
