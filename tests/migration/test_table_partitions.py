"""Big tables divided by hash: the same results, the same schema after later migrations, and an empty database alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import anyio
import asyncpg
import pytest

import sql
from sql.table_partitions import EventsBy
from tests.databases import fresh_database, psql
from tests.faults.load import MORE, RULES, Shape, load
from tests.faults.oracle import all_acknowledged, expect_promise, settled
from tests.integration.engine import Engine, own_streams
from tests.migration.test_migrations import catalogue
from worker.admin.erasure import erase_user
from worker.admin.results import read_digest
from worker.admin.table_partitions import DivisionError, divide_tables
from worker.app import wall_clock
from worker.broker.streams import open_broker
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.load import Sent
    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio

PARTITIONS = 5
TOOLS = psql().parent
DIVISIONS = (None, EventsBy.TENANT, EventsBy.EVENT)


async def divide(url: str, number: int = PARTITIONS, by: EventsBy = EventsBy.TENANT) -> bool:
    async with open_store(url) as store:
        await store.migrate(now=wall_clock())
        return await divide_tables(store, number, by)


def settings_of(url: str, nats_url: str) -> Settings:
    return Settings(
        nats_url=nats_url,
        database_url=url,
        **own_streams(),
        batch_size=200,
        writer_events=20,
    )


class Run(NamedTuple):
    """What came of a stream."""

    before: object
    """The digest before the rules changed."""
    backfilled: object
    erased: object
    rows: dict[str, int]
    partitions: dict[str, int]
    """How many partitions of each table have rows."""


async def run_on(servers: Servers, nats_url: str, by: EventsBy | None) -> Run:
    """Work off a stream with late events, duplicates and poison; change the rules, go on, erase a user."""
    async with fresh_database(servers) as url:
        if by is not None:
            assert await divide(url, by=by)
        settings = settings_of(url, nats_url)
        engine = Engine(settings)
        sent = load(11, Shape(events=1_500, users=40, tenants=3), settings.input_prefix)
        half = len(sent) // 2
        await engine.apply(RULES)
        await publish(settings, sent[:half])
        await engine.drain()
        before = await digest(settings)
        await engine.apply(MORE)
        await engine.backfill()
        backfilled = await digest(settings)
        await publish(settings, sent[half - 100 :])
        await engine.drain()
        await settled(settings)
        await expect_promise(settings, all_acknowledged(sent), MORE)
        async with open_store(url) as store:
            await erase_user(store, settings, "t1", "u1", by="test", now=wall_clock())
        await engine.drain()
        await engine.backfill()
        names = ("event", "event_subject", "progress", "checkpoint", "unlock")
        # How many checkpoints and contested unlocks there are depends on the batches that the stream came in.
        rows = {name: (await engine.rows(f"SELECT count(*) AS n FROM {name}"))[0]["n"] for name in names[:3]}  # noqa: S608
        partitions = {
            name: (await engine.rows(f"SELECT count(DISTINCT tableoid) AS n FROM {name}"))[0]["n"]  # noqa: S608
            for name in names
        }
        return Run(before, backfilled, await digest(settings), rows, partitions)


async def publish(settings: Settings, sent: Sequence[Sent]) -> None:
    async with open_broker(settings) as broker:
        for one in sent:
            await broker.publish(one.subject, one.body)


async def digest(settings: Settings) -> object:
    """Return what does not depend on the batches that a stream came in; what was contested does."""
    async with open_store(settings.database_url) as store:
        found = await read_digest(store, await load_deployed(store, settings))
    return found._replace(contested=0)


@pytest.mark.operate
async def test_a_stream_has_the_same_results_on_divided_tables(servers: Servers, nats_url: str) -> None:
    whole, by_tenant, by_event = [await run_on(servers, nats_url, by) for by in DIVISIONS]
    assert whole.rows["event"] > 1_400
    for one in (by_tenant, by_event):
        assert one[:4] == whole[:4]
    assert {*whole.partitions.values()} == {1}
    assert 1 <= by_tenant.partitions["event"] <= 3
    assert by_event.partitions["event"] == PARTITIONS
    assert by_event.partitions["progress"] == PARTITIONS
    assert by_event.partitions["unlock"] == 1


@pytest.mark.operate
async def test_a_database_is_copied_into_a_divided_one(servers: Servers, nats_url: str) -> None:
    """As docs/scale.md says it; `ach` goes on with the rest of the stream."""
    async with fresh_database(servers) as whole, fresh_database(servers) as divided:
        engine = Engine(settings_of(whole, nats_url))
        sent = load(12, Shape(events=600, users=20, tenants=3), engine.settings.input_prefix)
        await engine.apply(RULES)
        await publish(engine.settings, sent[:400])
        await engine.drain()
        assert await divide(divided)
        moved = engine.with_settings(database_url=divided)
        command = [str(TOOLS / "psql"), divided, "--set", "ON_ERROR_STOP=1"]
        dump = [str(TOOLS / "pg_dump"), "--data-only", "--exclude-table=schema_migration", whole]
        await anyio.run_process([*command, "-c", "TRUNCATE partition, pseudonym_key, packed_id, archive"])
        data = (await anyio.run_process(dump)).stdout
        await anyio.run_process([*command, "--single-transaction"], input=data)
        await anyio.run_process([*command, "-c", "ANALYZE"])
        assert await digest(moved.settings) == await digest(engine.settings)
        await publish(moved.settings, sent[400:])
        await moved.drain()
        await settled(moved.settings)
        await expect_promise(moved.settings, all_acknowledged(sent), RULES)


@pytest.mark.operate
async def test_later_migrations_find_a_divided_schema(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    known = sql.migrations()
    async with fresh_database(servers) as early, fresh_database(servers) as late:
        with monkeypatch.context() as patch:
            patch.setattr(sql, "migrations", lambda: known[:2])
            assert await divide(early, 4)
        async with open_store(early) as store:
            assert len(await store.migrate(now=wall_clock())) == len(known) - 2
        assert await divide(late, 4)
        assert await catalogue(early) == await catalogue(late)


async def test_only_an_empty_database_is_divided(servers: Servers) -> None:
    async with fresh_database(servers) as url:
        assert await divide(url, 3)
        assert not await divide(url, 3)
        with pytest.raises(DivisionError, match="in another way: checkpoint: 3 by HASH"):
            await divide(url, 4)
        with pytest.raises(DivisionError, match="in another way"):
            await divide(url, 3, EventsBy.EVENT)
    async with fresh_database(servers) as url, open_store(url) as store:
        await store.migrate(now=wall_clock())
        before = await catalogue(url)
        async with store.transaction() as session:
            await session.script("INSERT INTO progress VALUES ('t', 'user', 'u', 's', now(), 'i', '{}', 0, now())")
        with pytest.raises(DivisionError, match="there are rows in progress"):
            await divide_tables(store, 3, EventsBy.TENANT)
        assert await catalogue(url) == before


async def test_rights_views_and_settings_stay(servers: Servers) -> None:
    async with fresh_database(servers) as url, open_store(url) as store:
        await store.migrate(now=wall_clock())
        role = f"reader_{uuid4().hex[:8]}"
        async with store.transaction() as session:
            await session.script(f"CREATE ROLE {role}; GRANT SELECT ON event, v_event TO {role}")
        assert await divide_tables(store, 3, EventsBy.TENANT)
        connection = await asyncpg.connect(url)
        try:
            assert await connection.fetchval("SELECT has_table_privilege($1, 'event', 'SELECT')", role)
            assert not await connection.fetchval("SELECT has_table_privilege($1, 'event', 'INSERT')", role)
            assert await connection.fetchval("SELECT has_table_privilege($1, 'v_event', 'SELECT')", role)
            assert await connection.fetchval("SELECT count(*) FROM v_tenant_event") == 0
            options = await connection.fetch("SELECT reloptions FROM pg_class WHERE relname LIKE 'progress\\_p_'")
            assert [one["reloptions"] for one in options] == [["fillfactor=60"]] * 3
            await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        finally:
            await connection.close()
