"""Roles of the database: what each use needs is given, and all else is refused (docs/operating.md)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import pytest

import sql
from sql.grants import Roles, TenantRole, grants
from tests.databases import fresh_database
from tests.integration.roles import with_roles
from worker.app import wall_clock
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.integration.roles import Deployment
    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio

SECRET = "qxzv-only-of-globex"
BOOKS = f"""
INSERT INTO event (tenant_id, event_id, user_id, event_type, occurred_at, utc_offset, payload, received_at, stream_seq)
VALUES
    ('acme', 'a1', 'ann', 'a.done', now(), 0, '{{"n": 1}}', now(), 1),
    ('globex', 'g1', 'gus', 'a.done', now(), 0, '{SECRET}', now(), 2);
INSERT INTO unlock (tenant_id, scope, subject, achievement, unlock_id, version, earned_at, event_id, granted_at)
VALUES
    ('acme', 'user', 'ann', 'first', gen_random_uuid(), 1, now(), 'a1', now()),
    ('globex', 'user', 'gus', '{SECRET}', gen_random_uuid(), 1, now(), 'g1', now());
INSERT INTO evaluation
    (decided_at, tenant_id, scope, subject, achievement, version, decision, final, earned_at, event_id)
VALUES
    (now(), 'acme', 'user', 'ann', 'first', 1, 'granted', false, now(), 'a1'),
    (now(), 'globex', 'user', 'gus', '{SECRET}', 1, 'granted', false, now(), 'g1');
INSERT INTO dead_letter
    (stream, stream_seq, element, digest, reason, detail, nats_subject, headers, body, deliveries, died_at)
VALUES ('EVENTS', 3, 0, '', 'json', '', 'events.globex.x', '{{}}', '{SECRET}', 1, now());
"""  # noqa: S608 - no input


@pytest.fixture(scope="module")
async def deployment(servers: Servers) -> AsyncGenerator[Deployment]:
    """A database with a little of two tenants."""
    async with fresh_database(servers) as url:
        async with open_store(url) as store:
            await store.migrate(now=wall_clock())
        owner = await asyncpg.connect(url)
        await owner.execute(BOOKS)
        await owner.close()
        async with with_roles(url, ("acme", "globex")) as made:
            yield made


# -- what each use needs -----------------------------------------------------------------------------------------------

SCHEMA = {"migration_books", "applied_migrations"}
RULES = {"rules_in_force", "epoch_in_force", "aggregates", "rule_sets_of_epochs"}
MAKING = {
    "create_migration_table",
    "extend_migration_table",
    "insert_migration",
    "lock_big_tables",
    "define_bins",
    "drop_index_of_user",
}
ARCHIVED = {
    *("packs_of_users", "packs_of_tenants", "packs_of_subjects", "packs_by_user", "packs_of_person"),
    *("packs_of_users_in_roles", "packs_naming_person"),
}
READING = {
    *("progress_of_subject", "user_in_ledger", "all_unlocks", "unlocks_of_name", "revealed_to_name", "all_progress"),
    *("user_is_erased", "something_is_building", "latest_instant", "listed_unlocks", "rule_versions"),
    *("events_of_users", "events_of_tenants", "events_of_subjects", "standing_of_subject", "rarity_of_tenant"),
    "events_of_users_in_roles",
    *("changes", "changes_open", "change_of_id", "decisions_of_change", "unlocks_of_change"),
    *ARCHIVED,
}
SHOWN = {
    *("is_erased", "replica_position", "counted_events", "rarity_of_tenant", "standing_of_subject", "mark_of_subject"),
    *("marks_of_subjects", "decisions_of_tenant", "decisions_so_far", "contested_of_subject", "latest_instant"),
    *("events_of_users", "events_of_subjects", "packs_of_users", "packs_of_tenants", "packs_of_subjects"),
    "packs_of_users_in_roles",
}
NEEDS = {
    "worker": {
        *("insert_events", "events_there_before", "insert_event_subjects", "standing_of_users", "standing_of_subjects"),
        *("checkpoints_before", "unlocks_of_subjects", "unlocks_of_keys", "events_of_users", "events_of_tenants"),
        *("events_of_subjects", "pasts_of_users", "commit_fast", "forget_progress", "save_progress", "grant_unlocks"),
        *("amend_unlocks", "contest_unlocks", "withdraw_unlocks", "insert_evaluations", "take_partitions"),
        *("rules_epoch_of_partition", "count_partitions", "grant_settled", "claim_unlocks", "outbox_is_empty"),
        *("latest_instant", "mark_published", "mark_announced", "next_settling", "claim_corrections"),
        *("corrections_announced", "no_correction_waits", "share_letters", "erased_among", "insert_dead_letters"),
        *("insert_letter_users", "letters_died_again", "tombstones_without_tokens", "add_tokens", "worker_is_here"),
        *("add_minutes", "forget_minutes", "forget_workers"),
        *("look", "outbox_size", "letters_that_wait", "workers_seen", "pages_of_progress", "states_of_scope_by_stamp"),
        *("grants_between", "doctor_settings", "doctor_is_migrated", "doctor_lacking", "doctor_books"),
        *("changes_at_hand", "pending_sources", "take_change", "beat_change", "change_is_done", "live_lag"),
        *("change_of_id", "change_of_epoch", "count_progress", "aggregate_is_live", "stale_subjects", "stale_states"),
        *("users_of_types", "tenants_of_types", "subjects_of_scope", "subjects_without_state", "events_arrived"),
        *("missing_members", "insert_members_of_events", "forget_unheard_members", "forget_states_of_scope"),
        *("forget_checkpoints_of_scope", "subjects_judged_anew", "states_marked_by_types", "stamps_of_progress"),
        *("last_of_users", "last_of_tenants", "last_of_subjects", "archive_reach", "packed_users", "packs_of_numbers"),
        *("packs_of_users", "packs_of_tenants", "packs_of_subjects", "packs_by_user", "insert_packed_members"),
        *("commit_fast_with_members", "pasts_of_users_in_roles", "events_of_users_in_roles", "users_in_roles"),
        *("insert_pseudonyms", "pseudonyms_of_users", "insert_renamed_events"),
        *("packs_of_users_in_roles", "digests_of_renamed"),
    },
    "operator": {
        name
        for name in sql.queries()
        # The last one is for private databases, where the role that asks is the owner.
        if name
        not in MAKING
        | {"worker_is_here", "add_minutes", "forget_minutes", "forget_workers", "forget_decisions"}
        | {"take_moment", "beat_moment", "end_look"}
    },
    "reader": READING,
    "serve": SHOWN | {"keep_revealed"},
    "notify": {"share_letters", "insert_deliveries", "prune_deliveries", "deliveries"},
    "ingest": set[str](),
    "mirror": {
        *("mirror_settings", "mirror_bound", "mirror_event", "mirror_evaluation", "mirror_unlock", "mirror_erasures"),
        *("mirror_failed_event", "mirror_letters", "mirror_progress", "all_unlocks_of_subjects", "rule_versions"),
        *("mirror_renamed", "mirror_packs"),
    },
    "console": SHOWN
    | {
        *("look", "pulse", "tenants_in_books", "scopes_of_tenant", "unlocks_of_tenant", "subjects_by_name"),
        *("latest_events_of_user", "decisions_of_subject", "unlocks_by_achievement", "known_subjects"),
        *("last_packs_of_person",),
        *("holders_of_achievement", "versions_of_rules", "rule_sets", "rule_sets_to", "aggregates_building"),
        *("decisions_between", "letters_counted", "letters_shown", "letter_shown", "actions", "unlocks_to_act_on"),
        *("states_of_scope", "unlocks_of_some"),
    },
}
WRITES = re.compile(r"\b(INSERT INTO|UPDATE \w+ SET|DELETE FROM|FOR (NO KEY )?UPDATE|FOR (KEY )?SHARE)\b")


async def queries_allowed(connection: asyncpg.Connection) -> set[str]:
    """Return the queries that a role may carry out. A plan is only made for what the role may do."""
    found: set[str] = set()
    for name, query in sql.queries().items():
        if name in MAKING:
            continue
        text = query.text.rstrip().rstrip(";")
        nulls = ", ".join("NULL" for _ in query.names)
        await connection.execute(f"PREPARE asked AS {text}")
        try:
            await connection.fetch("EXPLAIN EXECUTE asked" + (f"({nulls})" if nulls else ""))
            found.add(name)
        except asyncpg.InsufficientPrivilegeError:
            pass
        finally:
            await connection.execute("DEALLOCATE asked")
    return found


@pytest.mark.parametrize("use", Roles._fields)
async def test_a_role_may_do_what_its_use_asks_for(deployment: Deployment, use: str) -> None:
    needed = NEEDS[use] | SCHEMA | RULES
    async with deployment.as_role(getattr(deployment.roles, use)) as connection:
        allowed = await queries_allowed(connection)
    assert needed - allowed == set()
    if use in {"reader", "serve", "ingest", "mirror", "console"}:
        assert {name for name in allowed if WRITES.search(sql.query(name).text)} == set()


HELD_BY = """
SELECT table_name, privilege_type FROM information_schema.role_table_grants WHERE grantee = $1
UNION
SELECT table_name, privilege_type || ' (' || column_name || ')'
FROM information_schema.role_column_grants AS columns
WHERE grantee = $1 AND NOT EXISTS (
    SELECT FROM information_schema.role_table_grants AS tables
    WHERE (tables.grantee, tables.table_name, tables.privilege_type)
        = (columns.grantee, columns.table_name, columns.privilege_type)
)
"""


async def test_the_doctor_asks_for_what_the_script_gives_to_workers(deployment: Deployment) -> None:
    """A role with no right lacks all of them, a worker's lacks none."""
    worker, stranger = deployment.roles.worker, f"stranger_{uuid4().hex[:8]}"
    lacking = sql.query("doctor_lacking").text
    owner = await asyncpg.connect(deployment.url)
    try:
        held = {(row[0], row[1]) for row in await owner.fetch(HELD_BY, worker)}
        await owner.execute(f"CREATE ROLE {stranger} LOGIN")
        async with deployment.as_role(stranger) as connection:
            asked = {(row["name"], row["privilege"]) for row in await connection.fetch(lacking)}
        async with deployment.as_role(worker) as connection:
            assert await connection.fetch(lacking) == []
        await owner.execute(f"DROP ROLE {stranger}")
    finally:
        await owner.close()
    assert asked == held


# -- what each is refused ----------------------------------------------------------------------------------------------

EVERY_ROLE = (
    "CREATE TABLE mine ()",
    "CREATE TEMPORARY TABLE mine ()",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "DROP TABLE event",
    "TRUNCATE event",
    "ALTER TABLE unlock ADD COLUMN mine integer",
    "CREATE INDEX mine ON event (user_id)",
    "UPDATE event SET occurred_at = now()",
    "UPDATE evaluation SET decision = 'granted'",
    "UPDATE schema_migration SET checksum = ''",
    "INSERT INTO tenant_role VALUES ('mine', 'acme')",
    "SELECT * FROM tenant_role",
    "CREATE OR REPLACE VIEW v_unlock AS SELECT 1",
    "ALTER FUNCTION keep_revealed RESET search_path",
    "SET ROLE ach",
    "SET SESSION AUTHORIZATION ach",
    "COPY event TO PROGRAM 'true'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ach'",
)
LETTERS = ("SELECT body FROM dead_letter", "SELECT headers FROM dead_letter", "SELECT user_token FROM dead_letter_user")
WRITING = (
    "INSERT INTO event SELECT * FROM event",
    "DELETE FROM event",
    "DELETE FROM unlock",
    "UPDATE unlock SET revoked_at = now()",
    "UPDATE progress SET state = ''",
    "INSERT INTO evaluation (tenant_id) SELECT tenant_id FROM evaluation",
    "UPDATE partition SET rules_epoch = 0",
    "UPDATE rule_version SET source = ''",
    "DELETE FROM erasure",
    "INSERT INTO lifted_erasure SELECT * FROM lifted_erasure",
    "DELETE FROM dead_letter",
    "DELETE FROM revealed",
    "INSERT INTO revealed SELECT * FROM revealed",
    "UPDATE action SET reason = ''",
    "SELECT FROM unlock FOR UPDATE",
)
KEYS = ("SELECT * FROM pseudonym_key", "SELECT * FROM pseudonym", "UPDATE event SET payload = ''")
"""What leads from a name to the pseudonym of an erased user, and puts it in the place of the name."""
BOOKS_READ = ("SELECT * FROM event", "SELECT * FROM unlock", "SELECT * FROM progress", "SELECT * FROM v_event")
REFUSED = {
    "worker": (
        *("DELETE FROM event", "DELETE FROM evaluation", "DELETE FROM dead_letter", "DELETE FROM erasure"),
        *("UPDATE rule_set SET sources = '[]'", "INSERT INTO rule_set SELECT * FROM rule_set", "SELECT * FROM action"),
        *("UPDATE dead_letter SET body = ''", "UPDATE erasure SET user_id = ''", "SELECT * FROM delivery"),
        "UPDATE rule_version SET source = ''",
        "UPDATE event SET payload = ''",
    ),
    "operator": (
        *("UPDATE rule_set SET sources = '[]'", "DELETE FROM rule_version", "DELETE FROM action"),
        *("DELETE FROM lifted_erasure", "UPDATE lifted_erasure SET reason = 'x'"),
    ),
    "reader": (*LETTERS, *WRITING, *KEYS, "SELECT * FROM action", "SELECT * FROM delivery"),
    "serve": (*LETTERS, *WRITING, *KEYS, "SELECT * FROM action", "SELECT * FROM v_event"),
    "notify": (*LETTERS, *WRITING, *KEYS, *BOOKS_READ, "UPDATE delivery SET detail = ''"),
    "ingest": (*LETTERS, *WRITING, *KEYS, *BOOKS_READ, "SELECT * FROM erasure", "SELECT * FROM delivery"),
    "mirror": (
        *WRITING,
        *KEYS,
        "SELECT * FROM action",
        "SELECT * FROM delivery",
        "SELECT user_token FROM dead_letter_user",
    ),
    "console": (*WRITING, *KEYS, "INSERT INTO action (actor) SELECT actor FROM action"),
}


async def refused(connection: asyncpg.Connection, statement: str) -> bool:
    """Tell whether the server refuses a statement for want of a right; what it does not refuse is taken back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(statement)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError) as error:
        return "permission" in str(error) or "must be" in str(error)
    finally:
        await transaction.rollback()
    return False


@pytest.mark.parametrize("use", Roles._fields)
async def test_a_role_may_do_nothing_else(deployment: Deployment, use: str) -> None:
    async with deployment.as_role(getattr(deployment.roles, use)) as connection:
        taken = [one for one in (*EVERY_ROLE, *REFUSED[use]) if not await refused(connection, one)]
    assert taken == []


# -- analysts of a tenant ----------------------------------------------------------------------------------------------

VIEWS = ("v_tenant_unlock", "v_tenant_event", "v_tenant_decision")


@pytest.mark.parametrize(("mine", "other"), [("acme", "globex"), ("globex", "acme")])
async def test_an_analyst_sees_one_tenant(deployment: Deployment, mine: str, other: str) -> None:
    role = next(one.role for one in deployment.tenants if one.tenant == mine)
    theirs = next(one.role for one in deployment.tenants if one.tenant == other)
    async with deployment.as_role(role) as connection:
        for view in VIEWS:
            assert [row[0] for row in await connection.fetch(f"SELECT tenant_id FROM {view}")] == [mine]  # noqa: S608
            # Without the right to the tables, nothing of a row but the columns of the view can be named.
            with pytest.raises(asyncpg.PostgresError):
                await connection.fetch(f"SELECT ctid FROM {view}")  # noqa: S608
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ObjectNotInPrerequisiteStateError)):
                await connection.execute(f"DELETE FROM {view}")  # noqa: S608
        assert [row[0] for row in await connection.fetch("SELECT tenant_id FROM v_tenant")] == [mine]
        for setting in ("ach.tenant", "app.tenant_id", "search_path"):
            await connection.execute(f"SET {setting} = '{other if setting != 'search_path' else 'public'}'")
        assert [row[0] for row in await connection.fetch("SELECT tenant_id FROM v_tenant_event")] == [mine]
        every = (*BOOKS_READ, *EVERY_ROLE, *WRITING, *LETTERS, f"SET ROLE {theirs}", f"GRANT {theirs} TO {role}")
        assert [one for one in (*every, "SELECT * FROM v_unlock") if not await refused(connection, one)] == []


LEAKS = (
    # A cast of what is no number quotes it in the error.
    "SELECT payload::integer FROM v_tenant_event WHERE payload::integer > 0",
    "SELECT 1 FROM v_tenant_event WHERE payload::jsonb IS NOT NULL",
    "SELECT 1 FROM v_tenant_event WHERE 1 / (length(payload) - length(payload) + 1) > 0 AND payload::xml IS NOT NULL",
    "SELECT 1 FROM v_tenant_unlock WHERE achievement::integer = 1",
    "SELECT 1 FROM v_tenant_decision WHERE achievement::integer = 1 OR true",
    "SELECT 1 FROM v_tenant_event JOIN v_tenant_unlock ON v_tenant_event.payload::integer = 1",
    "SELECT 1 FROM v_tenant_event ORDER BY payload::jsonb",
    "SELECT 1 FROM v_tenant_event WHERE tenant_id = 'globex' AND payload::integer = 1",
)


async def test_conditions_that_tell_what_they_see_see_nothing_of_others(deployment: Deployment) -> None:
    """Errors, notices and plans: of the other tenant's rows, no word and no count."""
    role = next(one.role for one in deployment.tenants if one.tenant == "acme")
    async with deployment.as_role(role) as connection:
        heard: list[str] = []
        connection.add_log_listener(lambda _, message: heard.append(str(message)))
        for leak in LEAKS:
            try:
                await connection.fetch(leak)
            except asyncpg.PostgresError as error:
                heard.append(f"{error} {error.detail} {getattr(error, 'context', '')}")
        assert not [line for line in heard if SECRET in line]
        assert any('"n": 1' in line for line in heard)  # of its own rows the errors do speak
        stats = await connection.fetch(
            "SELECT tablename FROM pg_stats WHERE tablename IN ('event', 'unlock', 'evaluation')"
        )
        assert stats == []


async def test_a_function_of_an_analyst_is_not_asked_about_rows_of_others(deployment: Deployment) -> None:
    """The cheapest of all functions, which a planner would like to ask first. An owner made it for the analyst."""
    acme = next(one.role for one in deployment.tenants if one.tenant == "acme")
    owner = await asyncpg.connect(deployment.url)
    try:
        await owner.execute(
            """
            CREATE FUNCTION leak(said text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
            $$ BEGIN RAISE NOTICE 'leaked %', said; RETURN true; END $$
            """
        )
        async with deployment.as_role(acme) as connection:
            heard: list[str] = []
            connection.add_log_listener(lambda _, message: heard.append(str(message.as_dict()["message"])))
            # Row by row, so that only the barrier keeps the function behind the tenant.
            await connection.execute("SET enable_seqscan = on; SET enable_indexscan = off")
            for view, column in zip(VIEWS, ("achievement", "payload", "achievement"), strict=True):
                await connection.fetch(f"SELECT 1 FROM {view} WHERE leak({column})")  # noqa: S608
            assert sorted(heard) == ["leaked first", "leaked first", 'leaked {"n": 1}']
        await owner.execute("DROP FUNCTION leak")
    finally:
        await owner.close()


async def test_members_have_the_tenants_of_their_roles(deployment: Deployment) -> None:
    """A login that is a member of a role sees what the role sees; the right ends with the membership."""
    person = f"person_{uuid4().hex[:8]}"
    acme, globex = (one.role for one in deployment.tenants)
    owner = await asyncpg.connect(deployment.url)
    try:
        await owner.execute(f"CREATE ROLE {person} LOGIN; GRANT {acme} TO {person}")
        async with deployment.as_role(person) as connection:
            seen = "SELECT tenant_id FROM v_tenant_event ORDER BY 1"
            assert [row[0] for row in await connection.fetch(seen)] == ["acme"]
            await owner.execute(f"GRANT {globex} TO {person}")
            assert [row[0] for row in await connection.fetch(seen)] == ["acme", "globex"]
            await connection.execute(f"SET ROLE {globex}")
            assert [row[0] for row in await connection.fetch(seen)] == ["globex"]
            await connection.execute("RESET ROLE")
            await owner.execute(f"DELETE FROM tenant_role WHERE role_name = '{globex}'")  # noqa: S608
            assert [row[0] for row in await connection.fetch(seen)] == ["acme"]
            # One whose role is gone costs the others nothing.
            await owner.execute("INSERT INTO tenant_role VALUES ('no such role', 'globex')")
            assert [row[0] for row in await connection.fetch(seen)] == ["acme"]
        await owner.execute(f"DROP ROLE {person}; DELETE FROM tenant_role WHERE role_name = 'no such role'")  # noqa: S608
        await owner.execute(grants(deployment.roles, deployment.tenants))
    finally:
        await owner.close()


# -- the script --------------------------------------------------------------------------------------------------------


async def test_the_script_may_run_again_and_takes_what_is_too_much(deployment: Deployment) -> None:
    reader = deployment.roles.reader
    owner = await asyncpg.connect(deployment.url)
    try:
        await owner.execute(f"GRANT DELETE ON event TO {reader}; GRANT SELECT (body) ON dead_letter TO {reader}")
        for _ in range(2):
            await owner.execute(grants(deployment.roles, deployment.tenants))
        async with deployment.as_role(reader) as connection:
            assert await refused(connection, "DELETE FROM event")
            assert await refused(connection, "SELECT body FROM dead_letter")
    finally:
        await owner.close()


async def test_names_are_names_whatever_they_look_like(deployment: Deployment) -> None:
    own = uuid4().hex[:6]
    odd = f"""o'dd "$ach$" {{schema}} \\ :x; {own}"""
    tenant = "a'c=me\\:'x' $ach$"
    owner = await asyncpg.connect(deployment.url)
    try:
        await owner.execute(grants(deployment.roles._replace(reader=odd), [TenantRole(tenant, odd)]))
        assert await owner.fetchval("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", odd) is False
        rows = await owner.fetch("SELECT tenant_id FROM tenant_role WHERE role_name = $1", odd)
        assert [row[0] for row in rows] == [tenant]
        quoted = odd.replace('"', '""')
        await owner.execute(f'DELETE FROM tenant_role; DROP OWNED BY "{quoted}"; DROP ROLE "{quoted}"')  # noqa: S608
        await owner.execute(grants(deployment.roles, deployment.tenants))
    finally:
        await owner.close()


async def test_the_owner_keeps_its_rights(deployment: Deployment) -> None:
    owner = await asyncpg.connect(deployment.url)
    try:
        with pytest.raises(asyncpg.RaiseError, match="role ach owns the tables"):
            await owner.execute(grants(deployment.roles._replace(reader="ach")))
        await owner.execute("ROLLBACK")
        assert await owner.fetchval("SELECT has_table_privilege('ach', 'event', 'DELETE')")
    finally:
        await owner.close()


async def test_without_tables_the_script_says_what_to_run(database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    try:
        with pytest.raises(asyncpg.RaiseError, match="run `ach migrate` first"):
            await owner.execute(grants(Roles(*(f"none_{use}" for use in Roles._fields))))
        await owner.execute("ROLLBACK")
        assert not await owner.fetch("SELECT FROM pg_roles WHERE rolname LIKE 'none\\_%'")
    finally:
        await owner.close()
