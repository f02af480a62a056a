-- The ledger and the subjects of its events.

-- part: insert_new_events
-- Rows are one text, packed as in worker/contract/packing.py and worker/contract/row.py, in the order of their keys; a field that is empty
-- is null. The broker's time has nanoseconds; whole microseconds are exact in a double. With OFFSET 0, each row is split only once.
-- A negative sequence is that of a record of a function.
INSERT INTO event (
    event_id, tenant_id, user_id, event_type, occurred_at, utc_offset, occurred_at_text, source, payload, stream_seq,
    published_at, region, received_at)
SELECT
    f[1], f[2], f[3], f[4], f[5]::timestamptz, f[6]::integer, f[7], substr(f[8], 2), f[9], greatest(f[10]::bigint, 0),
    to_timestamp((f[11]::bigint / 1000)::float8 / 1000000), f[12], :now::timestamptz
FROM (
    SELECT string_to_array(line, :events.field, '') AS f
    FROM string_to_table(:events.text, :events.record) AS line
    OFFSET 0
) AS rows;

-- name: insert_events
-- Insert first, check later: the number of inserted rows shows whether some events existed before, which is rare.
-- use insert_new_events
ON CONFLICT (tenant_id, event_id) DO NOTHING;

-- name: events_there_before
-- The rows of the ledger that this transaction tried to insert but that existed before. Our own rows have our
-- transaction id. An old row may have the same id, because ids wrap around, but not also the instant of this batch. A
-- comparison of rows instead of columns forces the primary key: the index by user also starts with the tenant, and
-- looks equally good while the table is small.
SELECT
    asked.n, found.user_id, found.event_type, found.occurred_at, found.utc_offset, found.source, found.payload,
    renamed_event.digest
FROM unnest(:event_ids::text[], :tenant_ids::text[]) WITH ORDINALITY AS asked (event_id, tenant_id, n)
JOIN LATERAL (
    SELECT event.*, event.xmin AS mark
    FROM event
    WHERE (event.event_id, event.tenant_id) >= (asked.event_id, asked.tenant_id)
    ORDER BY event.event_id, event.tenant_id
    LIMIT 1
) AS found ON found.event_id = asked.event_id AND found.tenant_id = asked.tenant_id
LEFT JOIN renamed_event ON renamed_event.event_id = asked.event_id AND renamed_event.tenant_id = asked.tenant_id
WHERE found.mark <> pg_current_xact_id()::xid OR found.received_at <> :now::timestamptz
ORDER BY asked.n;

-- part: event_of_member
-- The event of a row `member` of `event_subject`, found by its key alone, as in `events_there_before`.
(
    SELECT *
    FROM event
    WHERE (event.event_id, event.tenant_id) >= (member.event_id, member.tenant_id)
    ORDER BY event.event_id, event.tenant_id
    LIMIT 1
) AS event ON event.event_id = member.event_id AND event.tenant_id = member.tenant_id

-- name: insert_event_subjects
INSERT INTO event_subject (tenant_id, scope, subject, occurred_at, event_id)
SELECT * FROM unnest(
    :members.tenant_id::text[], :members.scope::text[], :members.subject::text[],
    :members.occurred_at::timestamptz[], :members.event_id::text[])
ON CONFLICT DO NOTHING;

-- name: events_of_users
-- For refolds: the events after a position of each user, in the given order and then in canonical order. Read through
-- a cursor, because the history may be long.
SELECT asked.n, event.tenant_id, event.event_id, event_type, event.user_id, occurred_at, utc_offset, payload
FROM unnest(
    :positions.tenant_id::text[], :positions.subject::text[], :positions.at::timestamptz[],
    :positions.id::text[])
    WITH ORDINALITY AS asked (tenant_id, user_id, after_at, after_id, n)
JOIN event ON event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id
    AND bin_of(event.occurred_at) >= bin_of(asked.after_at)
    AND (event.occurred_at, event.event_id) > (asked.after_at, asked.after_id)
WHERE event_type = ANY (:types::text[])
ORDER BY asked.n, occurred_at, event.event_id;

-- name: events_of_users_in_roles
-- The same with the events that name a user beside the one who did them; each of these only by its key, as in
-- `events_there_before`.
SELECT asked.n, event.tenant_id, event.event_id, event_type, event.user_id, occurred_at, utc_offset, payload
FROM unnest(
    :positions.tenant_id::text[], :positions.subject::text[], :positions.at::timestamptz[],
    :positions.id::text[])
    WITH ORDINALITY AS asked (tenant_id, user_id, after_at, after_id, n)
CROSS JOIN LATERAL (
    SELECT tenant_id, event_id, event_type, user_id, occurred_at, utc_offset, payload
    FROM event
    WHERE event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id
        AND bin_of(event.occurred_at) >= bin_of(asked.after_at)
        AND (event.occurred_at, event.event_id) > (asked.after_at, asked.after_id)
    UNION ALL
    SELECT event.tenant_id, event.event_id, event_type, user_id, event.occurred_at, utc_offset, payload
    FROM event_subject AS member
    JOIN LATERAL
        -- use event_of_member
    WHERE member.tenant_id = asked.tenant_id AND member.scope = 'user' AND member.subject = asked.user_id
        AND (member.occurred_at, member.event_id) > (asked.after_at, asked.after_id)
) AS event
WHERE event_type = ANY (:types::text[])
ORDER BY asked.n, occurred_at, event.event_id;

-- name: events_of_tenants
SELECT asked.n, event.tenant_id, event.event_id, event_type, event.user_id, occurred_at, utc_offset, payload
FROM unnest(
    :positions.tenant_id::text[], :positions.subject::text[], :positions.at::timestamptz[],
    :positions.id::text[])
    WITH ORDINALITY AS asked (tenant_id, subject, after_at, after_id, n)
JOIN event ON event.tenant_id = asked.subject
    AND bin_of(event.occurred_at) >= bin_of(asked.after_at)
    AND (event.occurred_at, event.event_id) > (asked.after_at, asked.after_id)
WHERE event_type = ANY (:types::text[])
ORDER BY asked.n, occurred_at, event.event_id;

-- name: events_of_subjects
-- Subject by subject (OFFSET 0 separates the parts), and each event only by its key, as in `events_there_before`.
SELECT asked.n, event.tenant_id, event.event_id, event_type, event.user_id, event.occurred_at, utc_offset, payload
FROM unnest(
    :positions.tenant_id::text[], :positions.subject::text[], :positions.at::timestamptz[],
    :positions.id::text[])
    WITH ORDINALITY AS asked (tenant_id, subject, after_at, after_id, n)
JOIN LATERAL (
    SELECT tenant_id, occurred_at, event_id
    FROM event_subject
    WHERE tenant_id = asked.tenant_id AND scope = :scope AND subject = asked.subject
        AND (occurred_at, event_id) > (asked.after_at, asked.after_id)
    OFFSET 0
) AS member ON true
JOIN LATERAL
    -- use event_of_member
WHERE event_type = ANY (:types::text[])
ORDER BY asked.n, member.occurred_at, member.event_id;

-- name: events_of_types
-- The input of a new field scope: every event that its plan hears.
SELECT tenant_id, event_id, event_type, user_id, occurred_at, utc_offset, payload
FROM event
WHERE event_type = ANY (:types::text[]);

-- name: events_by_hash
-- Of the users of a slice, by a hash of tenant and user, in canonical order: events of some types, and payloads of some of
-- these. What is sorted by comes first in the row: to find a column behind texts takes as long as the rest of a comparison.
-- OFFSET 0 keeps the hash from being computed once for each place in which it stands.
SELECT
    hash, occurred_at, tenant_id, user_id, event_id, event_type, utc_offset,
    CASE WHEN event_type = ANY (:read::text[]) THEN payload END
FROM (
    SELECT hashtextextended(user_id, hashtextextended(tenant_id, 0)) AS hash, event.*
    FROM event
    WHERE event_type = ANY (:types::text[])
    OFFSET 0
) AS hashed
WHERE hash > :after::bigint AND hash <= :upto::bigint
ORDER BY hash, occurred_at, event_id;

-- name: users_of_types
-- In pages by key, for the backfill: all users with an event that the plan hears, archived or not, but for pseudonyms.
(
    SELECT DISTINCT tenant_id, user_id AS subject
    FROM event
    WHERE event_type = ANY (:types::text[]) AND (tenant_id, user_id) > (:after_tenant, :after_subject)
        AND NOT starts_with(user_id, '~erased~')
    ORDER BY tenant_id, subject
    LIMIT :limit
)
UNION
(
    SELECT DISTINCT tenant_id, user_id AS subject
    FROM pack
    WHERE types && :types::text[] AND (tenant_id, user_id) > (:after_tenant, :after_subject)
        AND NOT starts_with(user_id, '~erased~')
    ORDER BY tenant_id, subject
    LIMIT :limit
)
ORDER BY tenant_id, subject
LIMIT :limit;

-- name: users_in_roles
-- The same with all users that such an event names, in whatever role; of archived ones, all that the packs name.
SELECT tenant_id, subject
FROM (
    (
        SELECT DISTINCT tenant_id, user_id AS subject
        FROM event
        WHERE event_type = ANY (:types::text[]) AND (tenant_id, user_id) > (:after_tenant, :after_subject)
            AND NOT starts_with(user_id, '~erased~')
        ORDER BY tenant_id, subject
        LIMIT :limit
    )
    UNION
    (
        SELECT DISTINCT tenant_id, user_id AS subject
        FROM pack
        WHERE types && :types::text[] AND (tenant_id, user_id) > (:after_tenant, :after_subject)
            AND NOT starts_with(user_id, '~erased~')
        ORDER BY tenant_id, subject
        LIMIT :limit
    )
    UNION
    (
        SELECT DISTINCT member.tenant_id, subject
        FROM packed_member AS member
        WHERE scope = 'user' AND (member.tenant_id, scope, subject) > (:after_tenant, 'user', :after_subject)
            AND EXISTS (
                SELECT FROM pack
                WHERE pack.tenant_id = member.tenant_id AND pack.user_id = member.user_id AND types && :types::text[])
        ORDER BY member.tenant_id, subject
        LIMIT :limit
    )
    UNION
    (
        SELECT DISTINCT event_subject.tenant_id, subject
        FROM event_subject
        JOIN event ON event.tenant_id = event_subject.tenant_id AND event.event_id = event_subject.event_id
        WHERE scope = 'user' AND (event_subject.tenant_id, scope, subject) > (:after_tenant, 'user', :after_subject)
            AND event_type = ANY (:types::text[])
        ORDER BY event_subject.tenant_id, subject
        LIMIT :limit
    )
) AS found
ORDER BY tenant_id, subject
LIMIT :limit;

-- name: tenants_of_types
SELECT tenant_id, tenant_id AS subject
FROM (
    SELECT tenant_id
    FROM event
    WHERE event_type = ANY (:types::text[]) AND (tenant_id, tenant_id) > (:after_tenant, :after_subject)
    UNION
    SELECT tenant_id
    FROM pack
    WHERE types && :types::text[] AND (tenant_id, tenant_id) > (:after_tenant, :after_subject)
) AS found
ORDER BY tenant_id
LIMIT :limit;

-- name: subjects_of_scope
SELECT tenant_id, subject
FROM (
    SELECT tenant_id, subject
    FROM event_subject
    WHERE scope = :scope AND (tenant_id, subject) > (:after_tenant, :after_subject)
    UNION
    SELECT tenant_id, subject
    FROM packed_member
    WHERE scope = :scope AND (tenant_id, subject) > (:after_tenant, :after_subject)
) AS found
ORDER BY tenant_id, subject
LIMIT :limit;

-- name: latest_instant
-- The clock of a replay.
SELECT max(occurred_at) FROM event;
