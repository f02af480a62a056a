"""`ach serve` on a real replica, with a role that only reads: the same answers, and their age where it is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
import pytest

from tests.integration.engine import PATIENCE, event
from tests.integration.pipelines import sent
from tests.integration.serving import by_key, serving
from tests.integration.standby import standby_of
from tests.integration.test_serve import READER_GRANTS, USER, ids
from worker.serve.answers import LAG_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.integration.engine import Engine
    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio

RULES = """
event a.done {}
event b.done {}
achievement first { title "First" when count(event=a.done, >= 1) }
achievement shy { title "Shy" reveal at 50% when count(event=a.done, >= 4, unless=b.done) }
"""
ROUTES = (
    f"{USER}/achievements",
    f"{USER}/achievements/first/why",
    "/v1/tenants/t1/catalogue",
    "/v1/tenants/t1/unlocks",
)


class Replica:
    """A standby's database, and what the test does to it."""

    def __init__(self, engine: Engine, admin: asyncpg.Connection, reader: str) -> None:
        self.engine = engine
        self.admin = admin
        self.settings = engine.with_settings(database_url=reader).settings

    async def caught_up(self) -> None:
        """Wait until everything that is committed is replayed."""
        (row,) = await self.engine.rows("SELECT pg_current_wal_flush_lsn()::text AS place")
        await self.reach(f"pg_last_wal_replay_lsn() >= '{row['place']}'")

    async def reach(self, what: str) -> None:
        with anyio.fail_after(PATIENCE):
            # It does not say so by itself.
            while not await self.admin.fetchval(f"SELECT {what}"):  # noqa: ASYNC110
                await anyio.sleep(0.02)


async def answer(client: httpx.AsyncClient, **headers: str) -> dict[str, Any]:
    response = await client.get(f"{USER}/achievements", headers={**by_key(), **headers})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.faults
async def test_a_replica_answers_and_says_how_far_it_is_behind(
    engine: Engine, servers: Servers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await engine.apply(RULES)
    await engine.backfill()
    await sent(engine, event(0), event(1))
    role, name = f"reader_{engine.settings.consumer}", engine.settings.database_url.split("/")[3].split("?")[0]
    await engine.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    for statement in READER_GRANTS.format(role=role).strip().split(";")[:-1]:
        await engine.rows(statement)
    try:
        async with standby_of(servers, tmp_path / "standby") as standby:
            admin = await asyncpg.connect(standby.url_of(name))
            try:
                reader = standby.url_of(name).replace("ach@", f"{role}@")
                await behind(Replica(engine, admin, reader), capsys)
            finally:
                await admin.close()
    finally:
        await engine.rows(f"DROP OWNED BY {role}")
        await engine.rows(f"DROP ROLE {role}")


async def behind(replica: Replica, capsys: pytest.CaptureFixture[str]) -> None:
    await replica.caught_up()
    async with serving(replica.engine.settings) as primary, serving(replica.settings, reveal=True) as client:
        # It answers as the primary does, what it reveals included, which it cannot write down.
        for path in ROUTES:
            said, true = [await one.get(path, headers=by_key()) for one in (client, primary)]
            assert said.status_code == 200, said.text
            assert "age" not in said.headers
            if path.endswith("achievements"):
                assert ids(said).keys() == ids(true).keys() == {"first", "shy"}
                assert said.headers["etag"] == true.headers["etag"]
                assert (said.json()["stale"], said.json()["age"]) == (False, 0)
        await answer(client, **{"Accept-Language": "fr"})
        assert capsys.readouterr().out.count("could not be written down") == 1
        assert await replica.engine.rows("SELECT FROM revealed") == []
        # What it did not write down hides again.
        await sent(replica.engine, event(2, "b.done"))
        await replica.caught_up()
        assert {item["id"] for item in (await answer(client))["items"]} == {"first"}
        # Replay stands still, and more has come: the answer is the earlier one, and says so.
        first = await client.get(f"{USER}/achievements", headers=by_key())
        await replica.admin.execute("SELECT pg_wal_replay_pause()")
        await replica.reach("pg_get_wal_replay_pause_state() = 'paused'")
        await sent(replica.engine, event(3, user="u2"))
        with anyio.fail_after(PATIENCE):
            # The age comes with time alone.
            while not (said := await answer(client))["stale"]:  # noqa: ASYNC110
                await anyio.sleep(0.2)
        assert LAG_SECONDS <= said["age"] < PATIENCE
        for path in ROUTES:
            late = await client.get(path, headers=by_key())
            assert (late.status_code, int(late.headers["age"]) >= LAG_SECONDS) == (200, True), path
        known = {**by_key(), "If-None-Match": first.headers["etag"]}
        same = await client.get(f"{USER}/achievements", headers=known)
        assert (same.status_code, int(same.headers["age"]) >= LAG_SECONDS) == (304, True)
        unknown = await client.get("/v1/tenants/t1/users/u2/achievements", headers=by_key())
        assert (unknown.json()["presence"], unknown.json()["stale"]) == ("unknown", True)
        # It goes on: all is new again.
        await replica.admin.execute("SELECT pg_wal_replay_resume()")
        await replica.caught_up()
        with anyio.fail_after(PATIENCE):
            while (await answer(client))["stale"]:  # noqa: ASYNC110
                await anyio.sleep(0.1)
        found = await client.get("/v1/tenants/t1/users/u2/achievements", headers=by_key())
        assert (found.json()["presence"], found.json()["stale"]) == ("known", False)
        page = (await client.get("/v1/tenants/t1/unlocks", headers=by_key())).json()
        assert [one["subject"] for one in page["unlocks"]] == ["u1", "u2"]
