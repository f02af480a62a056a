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
-- Rights that the statements of a worker need, and that this role has not: those of `grants.sql`, which a test compares.
SELECT wanted.name, wanted.privilege, quote_ident(current_user) AS role
FROM (
    SELECT
        rights.name,
        rights.privilege || coalesce(' (' || rights.held || ')', '') AS privilege,
        CASE
            WHEN to_regclass(rights.name) IS NULL THEN true
            WHEN rights.held IS NULL THEN has_table_privilege(to_regclass(rights.name), rights.privilege)
            ELSE has_column_privilege(to_regclass(rights.name), rights.held, rights.privilege)
        END AS granted
    FROM (
        VALUES
            ('aggregate', 'SELECT', NULL), ('aggregate', 'UPDATE', 'status'), ('aggregate', 'UPDATE', 'changed_at'),
            ('archive', 'SELECT', NULL), ('pack', 'SELECT', NULL), ('packing', 'SELECT', NULL), ('packed_id', 'SELECT', NULL),
            ('packed_member', 'SELECT', NULL), ('packed_member', 'INSERT', NULL), ('change', 'SELECT', NULL), ('change', 'UPDATE', NULL), ('checkpoint', 'SELECT', NULL),
            ('checkpoint', 'INSERT', NULL),
            ('checkpoint', 'UPDATE', NULL), ('checkpoint', 'DELETE', NULL), ('correction', 'SELECT', NULL),
            ('correction', 'INSERT', NULL), ('correction', 'UPDATE', 'announced'), ('correction', 'DELETE', NULL),
            ('dead_letter', 'SELECT', NULL), ('dead_letter', 'INSERT', NULL),
            ('dead_letter', 'UPDATE', 'died_again_as'), ('dead_letter_user', 'SELECT', NULL),
            ('dead_letter_user', 'INSERT', NULL), ('erasure', 'SELECT', NULL), ('erasure', 'UPDATE', 'tenant_token'),
            ('erasure', 'UPDATE', 'user_token'), ('evaluation', 'SELECT', NULL), ('evaluation', 'INSERT', NULL),
            ('event', 'SELECT', NULL), ('event', 'INSERT', NULL), ('event_subject', 'SELECT', NULL),
            ('event_subject', 'INSERT', NULL), ('event_subject', 'DELETE', NULL), ('minute', 'SELECT', NULL), ('minute', 'INSERT', NULL),
            ('minute', 'UPDATE', NULL), ('minute', 'DELETE', NULL), ('moment', 'SELECT', NULL),
            ('moment', 'INSERT', NULL), ('moment', 'UPDATE', NULL), ('partition', 'SELECT', NULL),
            ('partition', 'UPDATE', NULL), ('progress', 'SELECT', NULL), ('progress', 'INSERT', NULL),
            ('progress', 'UPDATE', NULL), ('progress', 'DELETE', NULL), ('rule_set', 'SELECT', NULL), ('rule_version', 'SELECT', NULL),
            ('pseudonym', 'SELECT', NULL), ('pseudonym', 'INSERT', NULL), ('pseudonym_key', 'SELECT', NULL),
            ('renamed_event', 'SELECT', NULL), ('renamed_event', 'INSERT', NULL), ('renamed_event', 'UPDATE', NULL),
            ('schema_migration', 'SELECT', NULL), ('unlock', 'SELECT', NULL), ('unlock', 'INSERT', NULL),
            ('unlock', 'UPDATE', NULL), ('unlock', 'DELETE', NULL), ('worker', 'SELECT', NULL),
            ('worker', 'INSERT', NULL), ('worker', 'UPDATE', NULL), ('worker', 'DELETE', NULL)
    ) AS rights (name, privilege, held)
) AS wanted
WHERE NOT wanted.granted
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
    ) AS letters,
    (SELECT before FROM archive) AS archived_before,
    EXISTS (SELECT FROM packing) AS archiving;
