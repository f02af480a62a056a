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
