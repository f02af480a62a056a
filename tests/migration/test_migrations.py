from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import pytest

import sql
from tests.databases import fresh_database
from worker.app import wall_clock
from worker.contract.partition import PARTITIONS
from worker.store import SETTINGS, SchemaMismatchError, UnusableError, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio

# Everything that a catalogue says of a schema, in words and in order.
CATALOGUE = """
SELECT 'column', c.table_name, c.column_name, concat_ws(' ', c.data_type, c.collation_name, c.is_nullable,
       c.column_default, c.is_identity, col_description(format('%I', c.table_name)::regclass, c.ordinal_position))
FROM information_schema.columns c WHERE c.table_schema = 'public' AND c.table_name <> 'schema_migration'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'schema_migration'
UNION ALL
SELECT 'index', tablename, indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'schema_migration'
UNION ALL
SELECT 'function', proname, '', concat_ws(' ', pg_get_functiondef(oid), obj_description(oid, 'pg_proc'))
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'view', viewname, '', definition FROM pg_views WHERE schemaname = 'public'
UNION ALL
SELECT 'table', relname, relkind::text, concat_ws(' ', reloptions::text, obj_description(oid, 'pg_class'))
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND relname <> 'schema_migration'
ORDER BY 1, 2, 3, 4
"""


@pytest.fixture
async def other_url(servers: Servers) -> AsyncGenerator[str]:
    async with fresh_database(servers) as url:
        yield url


async def catalogue(url: str) -> list[tuple[str, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(CATALOGUE)]
    finally:
        await connection.close()


async def test_migrations_add_up_to_the_schema(database_url: str, other_url: str) -> None:
    async with open_store(database_url) as store:
        applied = await store.migrate(now=wall_clock())
        assert len(applied) == len(sql.migrations())
        assert await store.migrate(now=wall_clock()) == []
    connection = await asyncpg.connect(other_url)
    try:
        await connection.execute(sql.schema())
    finally:
        await connection.close()
    migrated = await catalogue(database_url)
    assert len(migrated) > 100
    assert migrated == await catalogue(other_url)


async def test_every_query_can_be_prepared(database_url: str) -> None:
    async with open_store(database_url) as store:
        await store.migrate(now=wall_clock())
    connection = await asyncpg.connect(database_url)
    try:
        for query in sql.queries().values():
            assert len((await connection.prepare(query.text)).get_parameters()) == len(query.names), query.name
        assert await connection.fetchval(sql.query("count_partitions").text) == PARTITIONS
    finally:
        await connection.close()


async def test_an_edited_migration_is_refused(database_url: str) -> None:
    async with open_store(database_url) as store:
        await store.migrate(now=wall_clock())
        async with store.transaction() as session:
            await session.script("UPDATE schema_migration SET checksum = 'other' WHERE number = 1")
        with pytest.raises(SchemaMismatchError, match="0001_tables was edited"):
            await store.migrate(now=wall_clock())


async def test_a_newer_schema_is_refused(database_url: str) -> None:
    async with open_store(database_url) as store:
        await store.migrate(now=wall_clock())
        async with store.transaction() as session:
            await session.script("INSERT INTO schema_migration VALUES (9999, 'future', '', now())")
        with pytest.raises(SchemaMismatchError, match="9999_future is unknown here"):
            await store.migrate(now=wall_clock())


async def test_a_large_ledger_is_not_rewritten_for_time_and_region(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers of the release before go on beside one of this, and their events have neither."""
    before, number = sql.migrations(), [one.name for one in sql.migrations()].index("transport")
    columns = """
        tenant_id, event_id, user_id, event_type, occurred_at, utc_offset, payload, received_at, stream_seq
    """
    insert = f"INSERT INTO event ({columns}) VALUES ('t', $1, 'u', 'e', now(), 0, '{{}}', now(), 1)"  # noqa: S608
    connection = await asyncpg.connect(database_url)
    try:
        async with open_store(database_url) as store:
            with monkeypatch.context() as patch:
                patch.setattr(sql, "migrations", lambda: before[:number])
                await store.migrate(now=wall_clock())
            await connection.execute(insert, "old")
            place = await connection.fetchrow("SELECT ctid, xmin, pg_relation_filenode('event') FROM event")
            assert (await store.migrate(now=wall_clock()))[0] == "0014_transport"
        assert await connection.fetchrow("SELECT ctid, xmin, pg_relation_filenode('event') FROM event") == place
        await connection.execute(insert, "beside")
        rows = await connection.fetch("SELECT deduplication_key, broker_time, region FROM v_event ORDER BY 1")
        assert [tuple(row) for row in rows] == [("beside", None, None), ("old", None, None)]
    finally:
        await connection.close()


KEYED = [
    "take_partitions",
    "events_there_before",
    "standing_of_users",
    "standing_of_subjects",
    "stale_subjects",
    "events_of_users",
    "pasts_of_users",
    "events_of_users_in_roles",
    "pasts_of_users_in_roles",
    "events_of_tenants",
    "events_of_subjects",
    "checkpoints_before",
    "forget_checkpoints",
    "unlocks_of_subjects",
    "amend_unlocks",
    "contest_unlocks",
    "withdraw_unlocks",
    "grant_settled",
    "mark_published",
    "mark_announced",
    "claim_unlocks",
    "claim_corrections",
    "corrections_announced",
    "no_correction_waits",
    "unlocks_of_ids",
    "revoke_unlocks",
    "grant_by_hand",
    "next_settling",
    "users_of_types",
    "stale_states",
    "states_marked_by_types",
    "subjects_without_state",
    "subjects_judged_anew",
    "last_of_users",
    "last_of_subjects",
    "withdraw_retired",
    "forget_states_of_scope",
    "forget_checkpoints_of_scope",
    "user_in_ledger",
    "shared_subjects",
    "events_naming_user",
    "erase_events_by_id",
    "rename_events",
    "forget_named_user",
    "pseudonyms_of_users",
    "user_is_known",
    "erase_events",
    "erase_unlocks",
    "erase_evaluations",
    "erase_deliveries",
    "erase_dead_letters",
    "blank_dead_letters",
    "erased_among",
    "forget_progress",
    "unread_letters",
    "letters_died_again",
    "letters_to_send",
    "letters_are_read",
    "decisions_so_far",
    "decisions_of_tenant",
    "mark_of_subject",
    "marks_of_subjects",
    "is_erased",
]


WRONG = {
    # Both begin with the tenant, but this one would read all that a tenant has ever done for each event.
    "events_there_before": "event_of_user",
    "events_of_subjects": "event_of_user",
    # All that waits or settles, for each batch of announcements.
    "mark_announced": "unlock_outbox",
    # What all tenants have decided since.
    "decisions_of_tenant": "evaluation_pkey",
    # All that settles, for each look at what is to be announced.
    "claim_unlocks": "unlock_settling",
}
"""Indexes that a query must not use, which look as good as the right one as long as nothing is known of the table."""


async def test_no_query_by_key_reads_a_table_as_a_whole(database_url: str) -> None:
    """These tables have not been analysed, as right after a deployment, when they grow fastest."""
    async with open_store(database_url) as store:
        await store.migrate(now=wall_clock())
    connection = await asyncpg.connect(database_url, server_settings=SETTINGS)
    try:
        for name in KEYED:
            text = sql.query(name).text.rstrip().rstrip(";")
            nulls = ", ".join("NULL" for _ in (await connection.prepare(text)).get_parameters())
            await connection.execute(f"PREPARE {name} AS {text}")
            asked = f"EXPLAIN EXECUTE {name}" + (f"({nulls})" if nulls else "")
            plan = "\n".join(row[0] for row in await connection.fetch(asked))
            assert "Index" in plan, (name, plan)
            for bad in ("Seq Scan", "Materialize", "Hash Join"):
                assert bad not in plan, (name, plan)
            assert WRONG.get(name, "nothing") not in plan, (name, plan)
    finally:
        await connection.close()


async def test_a_start_needs_no_right_to_make_tables(database_url: str) -> None:
    """A role that may read the record is enough where nothing is missing; else one sentence says what to run."""
    role = f"runner_{uuid4().hex}"
    admin = await asyncpg.connect(database_url)
    url = database_url.replace("//ach@", f"//{role}@")
    try:
        await admin.execute(f"CREATE ROLE {role} LOGIN")
        async with open_store(url) as store:
            with pytest.raises(SchemaMismatchError, match=r"has no schema yet, and role runner_.*run `ach migrate` as"):
                await store.migrate(now=wall_clock())
        async with open_store(database_url) as owner:
            with pytest.raises(SchemaMismatchError, match="has no schema yet"):
                await owner.check_schema()
            await owner.migrate(now=wall_clock())
            await owner.check_schema()
        async with open_store(url) as store:
            with pytest.raises(
                UnusableError, match="permission denied for table schema_migration; `ach grants` prints"
            ):
                await store.check_schema()
            await admin.execute(f"GRANT SELECT ON schema_migration TO {role}")
            await store.check_schema()
            assert await store.migrate(now=wall_clock()) == []
            await admin.execute(
                "DELETE FROM schema_migration WHERE number = (SELECT max(number) FROM schema_migration)"
            )
            for needs in (store.check_schema(), store.migrate(now=wall_clock())):
                with pytest.raises(SchemaMismatchError, match=r"lacks migration 00.*run `ach migrate` as the owner"):
                    await needs
        await admin.execute(f"DROP OWNED BY {role}")
        await admin.execute(f"DROP ROLE {role}")
    finally:
        await admin.close()


async def test_an_older_release_runs_beside_a_schema_that_says_so(database_url: str) -> None:
    newest = len(sql.migrations())
    newer = "INSERT INTO schema_migration VALUES ($1, 'future', '', now(), $2)"
    connection = await asyncpg.connect(database_url)
    try:
        async with open_store(database_url) as store:
            await store.migrate(now=wall_clock())
            await connection.execute(newer, newest + 1, newest)
            await connection.execute(newer, newest + 2, newest - 1)
            await store.check_schema()
            assert await store.migrate(now=wall_clock()) == []
            await connection.execute(newer, newest + 3, newest + 1)
            with pytest.raises(
                SchemaMismatchError, match=f"{newest + 3:04d}_future is unknown here: this worker is older"
            ):
                await store.check_schema()
    finally:
        await connection.close()


async def test_the_record_of_an_earlier_release_is_read_and_extended(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its table has no column for what a migration is compatible with."""
    every = sql.migrations()
    connection = await asyncpg.connect(database_url)
    try:
        async with open_store(database_url) as store:
            with monkeypatch.context() as patch:
                patch.setattr(sql, "migrations", lambda: every[:15])
                await store.migrate(now=wall_clock())
            await connection.execute("ALTER TABLE schema_migration DROP COLUMN compatible_from")
            with pytest.raises(SchemaMismatchError, match=r"lacks migration 0016_tenant_views"):
                await store.check_schema()
            assert (await store.migrate(now=wall_clock()))[0] == "0016_tenant_views"
        found = await connection.fetch(
            "SELECT number, compatible_from FROM schema_migration WHERE number >= 15 ORDER BY 1"
        )
        assert [tuple(row) for row in found][:2] == [(15, None), (16, 15)]
    finally:
        await connection.close()
