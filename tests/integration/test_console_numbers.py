"""The numbers of the console: they agree with the books and with the API, and cost the same however many look."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import asyncpg
import pytest

from dsl.outcome import Subject
from tests.integration.consoles import TOKENS, console_on, logged_in
from worker.app import wall_clock
from worker.console import rules
from worker.console.books import read_earned
from worker.engine.answer import Reader
from worker.engine.standing import Status
from worker.view.rarity import read_rarities

if TYPE_CHECKING:
    from tests.integration.engine import Engine
    from worker.console.app import Console
    from worker.console.rules import Near
    from worker.engine.answer import Standing

pytestmark = pytest.mark.anyio

TIERS = "SELECT tier, count(DISTINCT (tenant_id, subject)) AS subjects FROM unlock WHERE achievement = $1 GROUP BY tier"
KNOWN = "SELECT tenant_id, subject FROM progress WHERE scope = 'user'"
ONGOING = {Status.LOCKED, Status.IN_PROGRESS}
PULSES = 3


async def test_shares_are_those_of_the_api(world: Engine) -> None:
    tenants = [row["tenant_id"] for row in await world.rows("SELECT DISTINCT tenant_id FROM event")]
    assert len(tenants) > 3
    async with console_on(world) as console:
        store, earned, subjects = console.desk.store, Counter[tuple[str, str]](), Counter[str]()
        for tenant in tenants:
            by_api = await read_rarities(store, tenant, 0)
            apart = await read_earned(store, [tenant])
            assert apart.subjects == by_api.subjects
            for (_, achievement, tier), number in by_api.earned.items():
                assert apart.rows[achievement, tier].earned == number
                earned[achievement, tier] += number
            subjects.update(by_api.subjects)
        together = await read_earned(store, None)
    assert {key: row.earned for key, row in together.rows.items() if row.earned} == +earned
    assert together.subjects == subjects


async def test_a_page_shows_the_funnel_of_tiers_with_its_denominator(world: Engine) -> None:
    counts = {row["tier"]: row["subjects"] for row in await world.rows(TIERS, "committer")}
    known = len(await world.rows(KNOWN))
    async with logged_in(world, "vera") as client:
        page = re.sub(r"<[^>]+>", " ", (await client.get("/rules/committer")).text)
        cards = re.sub(r"<[^>]+>", " ", (await client.get("/rules")).text)
    assert counts["bronze"] > counts["silver"] > 0
    for tier, number in counts.items():
        assert re.search(rf"{tier}\s+{number:,}\s+[\d.]+ %", page)
        assert re.search(rf"{tier}\s+{number:,}\s+[\d.]+ %", cards)
    assert f"Of {known:,} users with progress or an unlock" in page
    assert f"of {known:,} users with progress or an unlock" in cards


def _nearest(subject: Subject, standing: Standing, achievement: str) -> Near | None:
    """Return the next tier of a subject by its standing, where half of it or more is there."""
    for item in standing.items:
        if item.achievement == achievement and item.status in ONGOING:
            if item.percent is None or item.percent < rules.NEAR_PERCENT:
                return None
            return rules.Near(subject, item.tier, item.percent, item.current, item.target)
    return None


@pytest.mark.parametrize("achievement", ["committer", "clean_run"])
async def test_near_misses_are_those_of_every_standing(world: Engine, achievement: str) -> None:
    now = wall_clock()
    subjects = [Subject(row["tenant_id"], "user", row["subject"]) for row in await world.rows(KNOWN)]
    async with console_on(world) as console:
        view = console.desk.view
        standings = [(subject, await view.standing(subject, Reader(), now)) for subject in subjects]
        deployed = (await view.catalogue()).rules
        found = await rules.near_misses(console.desk.store, deployed, achievement, None, now)
    wanted = [near for subject, one in standings if (near := _nearest(subject, one, achievement)) is not None]
    wanted.sort(key=lambda one: (-one.percent, one.subject))
    assert (found.nearest, found.near) == (wanted[: rules.NEAR], len(wanted))
    assert (found.looked_at, found.complete) == (len(subjects), True)


# -- what it costs -----------------------------------------------------------------------------------------------------


async def _transactions(engine: Engine, viewers: int) -> int:
    """Return how many transactions PostgreSQL counts for a console with open streams that looks PULSES times."""
    looked, looks = anyio.Event(), 0

    def lag() -> int:
        nonlocal looks
        looks += 1
        if looks == PULSES:
            looked.set()
        return looks  # so that each look changes the page, and all streams send it

    before = await _counted(engine)
    async with console_on(engine, lag=lag) as console:
        async with anyio.create_task_group() as streams:
            for _ in range(viewers):
                streams.start_soon(_watch, console)
            with anyio.fail_after(60):
                await looked.wait()
            assert console.streams == viewers
            console.stopping.set()
        assert console.desk.pulse.queries == PULSES
    return await _counted(engine) - before


async def _watch(console: Console) -> None:
    entrance = console.desk.entrance
    person = entrance.access.of_token(TOKENS["vera"])
    assert person is not None
    cookie = entrance.sessions.begin(person, wall_clock())

    async def receive() -> dict[str, object]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: dict[str, object]) -> None:
        assert message.get("status", 200) == 200

    scope = {"type": "http", "method": "GET", "path": "/now/live", "raw_path": b"/now/live", "query_string": b""}
    scope |= {"headers": [(b"host", b"127.0.0.1"), (b"cookie", f"ach_console={cookie}".encode())]}
    scope |= {"client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80), "scheme": "http", "root_path": ""}
    await console.app()({**scope, "http_version": "1.1"}, receive, send)  # pyright: ignore[reportArgumentType]


COUNTED = """
SELECT xact_commit + xact_rollback AS number,
    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()) AS others
FROM pg_stat_database WHERE datname = current_database()
"""


async def _counted(engine: Engine) -> int:
    """Return PostgreSQL's count for the database, once other sessions are gone: each hands its own in at its end."""
    connection = await asyncpg.connect(engine.settings.database_url)
    try:
        with anyio.fail_after(30):
            # PostgreSQL does not report that a session has ended: it has to be polled.
            while (row := await connection.fetchrow(COUNTED)) is None or row["others"]:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        return row["number"]
    finally:
        await connection.close()


async def test_a_hundred_streams_cost_the_database_what_one_costs(world: Engine) -> None:
    one, hundred = await _transactions(world, 1), await _transactions(world, 100)
    # What the looking sessions of this test add differs by a few, and the pool may open a connection more.
    assert PULSES <= one <= hundred + 10
    assert hundred <= one + 10
