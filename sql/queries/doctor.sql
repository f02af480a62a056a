-- What `ach doctor` asks. Nothing here writes, and no right is needed beyond that to read.

-- name: doctor_settings
-- Of the session, as roles and databases may set them too. `clock` is last: it is what the answer's time is compared with.
SELECT
    current_setting('server_version_num')::integer AS version, pg_is_in_recovery() AS in_recovery,
    current_setting('default_transaction_read_only')::boolean AS read_only,
    current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('synchronous_standby_names') AS standbys, current_setting('autovacuum') AS autovacuum,
    current_setting('max_connections')::integer AS max_connections,
    current_setting('superuser_reserved_connections')::integer AS reserved,
    (SELECT count(*)::integer FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
    quote_ident(current_user) AS role, quote_ident(current_database()) AS database, clock_timestamp() AS clock;

-- name: doctor_is_migrated
SELECT to_regclass('schema_migration') IS NOT NULL;

-- name: doctor_lacking
-- Rights that the statements of a worker need, and that this role has not.
SELECT wanted.name, wanted.privilege, quote_ident(current_user) AS role
FROM (
    VALUES
        ('event', 'SELECT'), ('event', 'INSERT'), ('event_subject', 'SELECT'), ('event_subject', 'INSERT'),
        ('progress', 'SELECT'), ('progress', 'INSERT'), ('progress', 'UPDATE'),
        ('checkpoint', 'SELECT'), ('checkpoint', 'INSERT'), ('checkpoint', 'DELETE'),
        ('unlock', 'SELECT'), ('unlock', 'INSERT'), ('unlock', 'UPDATE'), ('unlock', 'DELETE'),
        ('correction', 'SELECT'), ('correction', 'INSERT'), ('correction', 'DELETE'), ('evaluation', 'INSERT'),
        ('partition', 'SELECT'), ('partition', 'UPDATE'), ('erasure', 'SELECT'), ('rule_set', 'SELECT'),
        ('aggregate', 'SELECT'), ('dead_letter', 'SELECT'), ('dead_letter', 'INSERT'), ('dead_letter_user', 'INSERT'),
        ('minute', 'INSERT'), ('minute', 'UPDATE'), ('worker', 'INSERT'), ('worker', 'UPDATE')
) AS wanted (name, privilege)
WHERE to_regclass(wanted.name) IS NOT NULL
    AND NOT has_table_privilege(to_regclass(wanted.name), wanted.privilege)
ORDER BY wanted.name, wanted.privilege;

-- name: doctor_books
-- What waits, and since when; the workers, and the dead letters of the last day. Counts end where they are large.
SELECT
    clock_timestamp() AS now,
    (
        SELECT count(*)::integer
        FROM (
            SELECT FROM unlock
            WHERE published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL
            LIMIT 10001
        ) AS waiting
    ) AS waiting,
    (
        SELECT min(granted_at)
        FROM unlock
        WHERE published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL
    ) AS oldest,
    (SELECT count(*)::integer FROM (SELECT FROM correction LIMIT 10001) AS waiting) AS corrections,
    (SELECT min(decided_at) FROM correction) AS corrected,
    coalesce((SELECT max(epoch) FROM rule_set), 0) AS epoch,
    ARRAY(SELECT scope FROM aggregate WHERE status = 'building' ORDER BY scope) AS building,
    (
        SELECT count(*)::integer
        FROM worker
        WHERE NOT stopped AND seen_at >= clock_timestamp() - interval '30 seconds'
    ) AS workers,
    (
        SELECT count(*)::integer
        FROM worker
        WHERE NOT stopped AND seen_at < clock_timestamp() - interval '30 seconds'
            AND seen_at >= clock_timestamp() - interval '1 day'
    ) AS lost,
    ARRAY(
        SELECT ROW(reason, count(*))
        FROM (
            SELECT reason FROM dead_letter WHERE died_at >= clock_timestamp() - interval '1 day' LIMIT 100001
        ) AS letters
        GROUP BY reason
        ORDER BY count(*) DESC, reason
    ) AS letters;
