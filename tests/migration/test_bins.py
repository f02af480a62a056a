"""The index of bins comes beside those who write, and the one that it replaces goes once nothing needs it."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

import anyio
import asyncpg
import pytest

import sql
from sql.table_partitions import EventsBy
from worker.admin.superseded import Superseded, drop_superseded
from worker.admin.table_partitions import divide_tables
from worker.app import wall_clock
from worker.distribution import release
from worker.store import open_store

pytestmark = pytest.mark.anyio

NAMES: Final = [one.name for one in sql.migrations()]
BEFORE: Final = NAMES.index("bins")
INSERT: Final = """
INSERT INTO event (tenant_id, event_id, user_id, event_type, occurred_at, utc_offset, payload, received_at, stream_seq)
VALUES ('t', $1, 'u', 'e', now(), 0, '{}', now(), 1)
"""
WORKER: Final = """
INSERT INTO worker (worker_id, host, release, started_at, seen_at, rules_epoch, messages, retries)
VALUES ($1, 'h', $2, now(), now(), 0, 0, 0)
"""
BUILDING: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock' AND datname = current_database()
"""
INDEXES: Final = """
SELECT indexrelid::regclass::text, indisvalid
FROM pg_index WHERE indrelid = 'event'::regclass ORDER BY 1
"""


async def migrated_before(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    every = sql.migrations()
    async with open_store(url) as store:
        with monkeypatch.context() as patch:
            patch.setattr(sql, "migrations", lambda: every[:BEFORE])
            await store.migrate(now=wall_clock())


async def migrated(url: str) -> list[str]:
    async with open_store(url) as store:
        return await store.migrate(now=wall_clock())


async def indexes(connection: asyncpg.Connection) -> dict[str, bool]:
    return dict([tuple(row) for row in await connection.fetch(INDEXES)])


async def until_it_waits(connection: asyncpg.Connection) -> None:
    """Wait until the index is being built, and waits for a transaction that began before."""
    with anyio.fail_after(30):
        while True:
            if await connection.fetchval(BUILDING):
                return
            await anyio.sleep(0.01)


AFTER: Final = {"event_pkey": True, "event_of_user_bin": True}


async def test_events_are_written_while_the_index_is_built(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that has written holds the build up; others write meanwhile, which they could not behind a lock."""
    await migrated_before(database_url, monkeypatch)
    slow, other = [await asyncpg.connect(database_url) for _ in range(2)]
    try:
        await other.execute("SET lock_timeout = '2s'")
        async with anyio.create_task_group() as tasks, slow.transaction():
            await slow.execute(INSERT, "slow")
            tasks.start_soon(migrated, database_url)
            await until_it_waits(other)
            await other.execute(INSERT, "beside")
        assert await indexes(other) == AFTER
        assert await other.fetchval("SELECT count(*) FROM event") == 2
    finally:
        await slow.close()
        await other.close()


async def test_two_migrators_build_one_after_the_other(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrated_before(database_url, monkeypatch)
    found: list[list[str]] = []

    async def migrate() -> None:
        found.append(await migrated(database_url))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(migrate)
    assert sorted(len(one) for one in found) == [0, 0, len(NAMES) - BEFORE]


async def test_what_an_interruption_left_unfinished_is_built_anew(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrated_before(database_url, monkeypatch)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(sql.query("define_bins").text)
        await connection.execute("CREATE INDEX event_of_user_bin ON event (tenant_id, user_id, bin_of(occurred_at))")
        await connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'event_of_user_bin'::regclass"
        )
        await migrated(database_url)
        assert await indexes(connection) == AFTER
    finally:
        await connection.close()


async def test_a_divided_ledger_gets_it_in_each_partition(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are built one by one, and the migration makes them one index."""
    await migrated_before(database_url, monkeypatch)
    connection = await asyncpg.connect(database_url)
    try:
        async with open_store(database_url) as store:
            await divide_tables(store, 3, EventsBy.EVENT)
        for n in range(20):
            await connection.execute(INSERT, f"e{n}")
        await migrated(database_url)
        assert await indexes(connection) == AFTER
        parts = await connection.fetch(
            "SELECT indrelid::regclass::text FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid AND indisvalid"
            " WHERE inhparent = 'event_of_user_bin'::regclass ORDER BY 1"
        )
        assert [row[0] for row in parts] == [f"event_p{n}" for n in range(3)]
    finally:
        await connection.close()


async def test_the_index_before_stays_for_workers_of_the_release_before(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrated_before(database_url, monkeypatch)
    connection = await asyncpg.connect(database_url)
    try:
        old, new = uuid4(), uuid4()
        await connection.execute(WORKER, old, "0.0.1")
        await migrated(database_url)
        assert await indexes(connection) == {**AFTER, "event_of_user": True}
        await connection.execute(WORKER, new, release())
        async with open_store(database_url) as store:
            now = wall_clock()
            assert await drop_superseded(store, now, release()) == Superseded("event_of_user", ("0.0.1",))
            await connection.execute("UPDATE worker SET stopped = true WHERE worker_id = $1", old)
            assert await drop_superseded(store, now, release()) == Superseded("event_of_user", ())
            assert await drop_superseded(store, now, release()) is None
        assert await indexes(connection) == AFTER
    finally:
        await connection.close()


def test_bins_are_defined_once() -> None:
    defined = sql.query("define_bins").text.partition("\n")[2].strip().rstrip(";")
    assert defined in sql.migrations()[BEFORE].text
    assert defined.replace(" OR REPLACE", "") in sql.schema()


async def test_a_bin_holds_the_instants_of_three_minutes(database_url: str) -> None:
    """Of all years that an event may be of, before 1970 too; and what lies before or behind everything has its own."""
    await migrated(database_url)
    connection = await asyncpg.connect(database_url)
    try:
        wrong = await connection.fetchval("""
            SELECT count(*)
            FROM (
                VALUES
                    ('0001-01-01Z'), ('1969-12-31 23:56Z'), ('1970-01-01Z'), ('2026-03-29Z'), ('9999-12-31 23:56Z')
            ) AS starts (text),
                generate_series(0, 239999999, 4999999) AS behind
            WHERE bin_of(text::timestamptz + behind * interval '1 microsecond') <> text::timestamptz
        """)
        assert wrong == 0
        assert await connection.fetchval("SELECT bin_of('9999-12-31 23:59:59.999999Z') = '9999-12-31 23:56Z'")
        assert await connection.fetchval("SELECT bin_of('-infinity') = '-infinity' AND bin_of('infinity') = 'infinity'")
        assert await connection.fetchval("SELECT bin_of('0001-12-31 00:00Z BC') <= '0001-12-31 00:00Z BC'")
    finally:
        await connection.close()
