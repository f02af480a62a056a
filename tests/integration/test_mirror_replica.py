"""`ach mirror` on a real streaming replica: the same rows as from the primary, none lost while it is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import asyncpg
import pytest

from tests.integration.engine import PATIENCE
from tests.integration.mirrors import Read, assert_same, mirror
from tests.integration.pipelines import pipeline_on, send, sent
from tests.integration.roles import with_roles
from tests.integration.standby import standby_of
from tests.integration.test_mirror import RULES, event
from worker.admin.erasure import erase_user
from worker.app import wall_clock
from worker.mirror.layout import PROGRESS_DAILY
from worker.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.engine import Engine
    from worker.local.servers import Servers

pytestmark = [pytest.mark.anyio, pytest.mark.operate]


async def test_a_replica_gives_the_same_mirror(engine: Engine, servers: Servers, tmp_path: Path) -> None:
    await engine.apply(RULES)
    await sent(engine, *(event(n, user=f"u{n % 3}") for n in range(20)))
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, {"event_id": "no event"})
    name = engine.settings.database_url.split("/")[3].split("?")[0]
    async with (
        with_roles(engine.settings.database_url) as deployment,
        standby_of(servers, tmp_path / "standby") as standby,
    ):
        admin = await asyncpg.connect(standby.url_of(name))
        url = standby.url_of(name).replace("ach@", f"{deployment.roles.mirror}@")
        try:
            await _mirrored(engine, engine.with_settings(database_url=url), admin, tmp_path)
        finally:
            await admin.close()


async def _mirrored(engine: Engine, replica: Engine, admin: asyncpg.Connection, tmp_path: Path) -> None:
    await _caught_up(engine, admin)
    folder = tmp_path / "mirror"
    await mirror(replica, folder)
    await assert_same(engine, folder)
    # What is committed meanwhile, and not replayed yet, comes with a later run.
    await admin.execute("SELECT pg_wal_replay_pause()")
    await sent(engine, *(event(n, user=f"u{n % 3}") for n in range(20, 30)))
    ran = await mirror(replica, folder)
    assert {name: rows for name, rows in ran.rows.items() if rows} == {}
    await admin.execute("SELECT pg_wal_replay_resume()")
    await _caught_up(engine, admin)
    assert (await mirror(replica, folder)).rows["event"] == 10
    await assert_same(engine, folder)
    # The primary and its replica are one database: a folder may change between them.
    await sent(engine, event(30))
    assert (await mirror(engine, folder)).rows["event"] == 1
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "acme", "u1", by="op", now=wall_clock())
    await _caught_up(engine, admin)
    assert (await mirror(replica, folder)).erased == 1
    await assert_same(engine, folder)
    other = tmp_path / "other"
    await mirror(engine, other)
    mine, theirs = Read(folder).counts(), Read(other).counts()
    assert mine.pop(PROGRESS_DAILY.name) > 0 < theirs.pop(PROGRESS_DAILY.name)
    assert mine == theirs


async def _caught_up(engine: Engine, admin: asyncpg.Connection) -> None:
    """Wait until all that is committed is replayed, and transactions before are known to have ended."""
    (row,) = await engine.rows("SELECT pg_current_wal_flush_lsn()::text AS place")
    with anyio.fail_after(PATIENCE):
        # It does not say so by itself.
        while not await admin.fetchval(f"SELECT pg_last_wal_replay_lsn() >= '{row['place']}'"):  # noqa: ASYNC110
            await anyio.sleep(0.02)
