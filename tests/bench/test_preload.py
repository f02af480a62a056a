"""What is in the database before a curve's run: it has to fit the tables of today."""

from __future__ import annotations

import asyncpg
import pytest

from bench import preload
from bench.events import Shape, make
from bench.rig import RULES
from tests.integration.engine import Engine
from worker.settings import Settings

pytestmark = pytest.mark.anyio
SEED = Shape(400, users=20, late=0)


@pytest.fixture
async def seeded(database_url: str, nats_url: str) -> Engine:
    engine = Engine(Settings(nats_url=nats_url, database_url=database_url))
    await engine.apply(RULES.read_text())
    await engine.publish(one.body for one in make(SEED))
    await engine.drain()
    return engine


async def counted(connection: asyncpg.Connection) -> tuple[int, int, int]:
    """Return how many events there are, users with progress, and users with events."""
    row = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM progress),"
        " (SELECT count(DISTINCT user_id) FROM event)"
    )
    assert row is not None
    return row[0], row[1], row[2]


async def test_users_are_known(seeded: Engine) -> None:
    connection = await asyncpg.connect(seeded.settings.database_url)
    try:
        await preload.know(connection, 90)
        assert await counted(connection) == (400 + 80, 90, 100)
    finally:
        await connection.close()


async def test_events_are_remembered(seeded: Engine) -> None:
    connection = await asyncpg.connect(seeded.settings.database_url)
    try:
        await preload.remember(connection, 2000)
        assert await counted(connection) == (2000, 100, 100)
    finally:
        await connection.close()
    # The next worker finds it as a worker leaves it.
    await seeded.publish(one.body for one in make(SEED, seed=2))
    stats = await seeded.drain()
    assert (stats.events, stats.dead) == (400, {})
