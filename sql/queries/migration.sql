-- The record of applied migrations.

-- name: lock_migrations
-- One migrator at a time, over the whole database; the key is the word `achv` as a number.
SELECT pg_advisory_xact_lock(1633904758);

-- name: create_migration_table
CREATE TABLE IF NOT EXISTS schema_migration (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL
);

-- name: applied_migrations
SELECT number, name, checksum FROM schema_migration ORDER BY number;

-- name: insert_migration
INSERT INTO schema_migration (number, name, checksum, applied_at) VALUES (:number, :migration_name, :checksum, :now);
