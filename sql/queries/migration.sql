-- The record of applied migrations.

-- name: lock_migrations
-- One migrator at a time, over the whole database; the key is the word `achv` as a number.
SELECT pg_advisory_xact_lock(1633904758);

-- name: migration_books
-- Reads alone: whether there is a record, whether this role may add to it, and which role that is.
SELECT
    to_regclass('schema_migration') IS NOT NULL AS made,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AND NOT pg_is_in_recovery()
        AND coalesce((
            SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('schema_migration')
        ), true) AS may_migrate,
    current_user::text AS role;

-- name: create_migration_table
CREATE TABLE IF NOT EXISTS schema_migration (
    number          integer PRIMARY KEY,
    name            text NOT NULL,
    checksum        text NOT NULL,
    applied_at      timestamptz NOT NULL,
    compatible_from integer
);

-- name: extend_migration_table
-- Earlier releases made the table without this column.
ALTER TABLE schema_migration ADD COLUMN IF NOT EXISTS compatible_from integer;

-- name: applied_migrations
-- As JSON, which has no fixed columns: the last one is not there in the table of earlier releases.
SELECT number, name, checksum, (to_jsonb(schema_migration) ->> 'compatible_from')::integer AS compatible_from
FROM schema_migration
ORDER BY number;

-- name: insert_migration
INSERT INTO schema_migration (number, name, checksum, applied_at, compatible_from)
VALUES (:number, :migration_name, :checksum, :now, :compatible_from);

-- name: define_bins
-- As migration 0023 does.
CREATE OR REPLACE FUNCTION bin_of(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin(interval '4 minutes', at, timestamptz '0001-01-01 00:00:00Z');

-- name: try_lock_indexes
-- One process builds indexes at a time; the key is the word `achi` as a number. Those that wait hold no snapshot, which
-- the one that builds would wait for.
SELECT pg_try_advisory_lock(1633904745);

-- name: unlock_indexes
SELECT pg_advisory_unlock(1633904745);

-- name: ledgers_without_bins
-- The ledger, or its partitions where it is divided, without the index of migration 0023; and the name of one that an
-- interruption has left unfinished. The index of a partition has the name that PostgreSQL would give it.
SELECT
    format('%I.%I', nspname, relname) AS ledger,
    CASE WHEN leaf.oid = to_regclass('event') THEN 'event_of_user_bin' ELSE '' END AS name,
    (SELECT format('%I.%I', nspname, index.relname) FROM pg_class AS index WHERE index.oid = indexrelid) AS unfinished
FROM pg_class AS leaf
JOIN pg_namespace ON pg_namespace.oid = relnamespace
LEFT JOIN pg_index ON indrelid = leaf.oid AND pg_get_indexdef(indexrelid) LIKE '%bin_of(occurred_at))'
WHERE relkind = 'r' AND indisvalid IS NOT TRUE
    AND (leaf.oid = to_regclass('event') OR leaf.oid IN (
        SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass('event')))
ORDER BY relname;

-- name: is_index_of_user_left
SELECT to_regclass('event_of_user') IS NOT NULL;

-- name: drop_index_of_user
DROP INDEX IF EXISTS event_of_user;

-- name: lock_big_tables
LOCK TABLE event, event_subject, progress, checkpoint IN ACCESS EXCLUSIVE MODE;

-- name: filled_tables
-- Those of the big tables that hold rows.
SELECT name
FROM (
    VALUES
        ('event', EXISTS (SELECT FROM event)),
        ('event_subject', EXISTS (SELECT FROM event_subject)),
        ('progress', EXISTS (SELECT FROM progress)),
        ('checkpoint', EXISTS (SELECT FROM checkpoint))
) AS found (name, filled)
WHERE filled;

-- name: table_partitions
-- How each of some tables is divided; those that are not are not in the answer.
SELECT
    asked.name, pg_get_partkeydef(to_regclass(asked.name)::oid),
    (SELECT count(*) FROM pg_inherits WHERE inhparent = to_regclass(asked.name))::integer
FROM unnest(:names::text[]) AS asked (name)
WHERE pg_get_partkeydef(to_regclass(asked.name)::oid) IS NOT NULL
ORDER BY asked.name;
