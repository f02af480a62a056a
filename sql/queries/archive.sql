-- The archive: events of long ago, packed by user (worker/contract/pack.py), and what finds them.

-- part: packed_hash
-- Of an id and its tenant, 40 bits.
(hashtextextended(asked.event_id, hashtextextended(asked.tenant_id, 0)) & 1099511627775)

-- part: packed_row
-- The row of `packed_id` that has a hash, if any has it.
JOIN LATERAL (
    SELECT hashes, users
    FROM packed_id
    WHERE first <= asked.hash
    ORDER BY first DESC
    LIMIT 1
) AS held ON position(substr(int8send(asked.hash), 4) IN held.hashes) > 0

-- name: archive_reach
SELECT reach::text FROM archive;

-- name: packed_users
-- Of ids that may be archived: the hash of each, and the row that has it.
SELECT asked.n, asked.hash, held.hashes, held.users
FROM (
    SELECT asked.n,
        -- use packed_hash
        AS hash
    FROM unnest(:event_ids::text[], :tenant_ids::text[]) WITH ORDINALITY AS asked (event_id, tenant_id, n)
) AS asked
-- use packed_row
;

-- name: digests_of_renamed
-- Of those events in which pseudonyms stand for erased users.
SELECT asked.n, digest
FROM unnest(:event_ids::text[], :tenant_ids::text[]) WITH ORDINALITY AS asked (event_id, tenant_id, n)
JOIN renamed_event ON renamed_event.event_id = asked.event_id AND renamed_event.tenant_id = asked.tenant_id;

-- name: packs_of_numbers
-- With those whose events are in the ledger still.
SELECT tenant_id, user_id, body FROM packing WHERE number = ANY (:numbers::integer[])
UNION ALL
SELECT tenant_id, user_id, body FROM pack WHERE number = ANY (:numbers::integer[]);

-- -- events of subjects

-- name: packs_of_users
SELECT asked.n, pack.tenant_id, pack.user_id, pack.first_at, pack.body
FROM unnest(
    :positions.tenant_id::text[], :positions.subject::text[], :positions.at::timestamptz[],
    :positions.id::text[])
    WITH ORDINALITY AS asked (tenant_id, user_id, after_at, after_id, n)
JOIN pack ON pack.tenant_id = asked.tenant_id AND pack.user_id = asked.user_id
WHERE pack.last_at >= asked.after_at AND pack.types && :types::text[]
ORDER BY asked.n, pack.first_at;

-- name: packs_of_users_in_roles
-- The same with packs of others, in which events name the user.
SELECT asked.n, pack.tenant_id, pack.user_id, pack.first_at, pack.body
FROM unnest(
    :positions.tenant_id::text[], :positions.subject::text[], :positions.at::timestamptz[],
    :positions.id::text[])
    WITH ORDINALITY AS asked (tenant_id, user_id, after_at, after_id, n)
CROSS JOIN LATERAL (
    SELECT asked.user_id
    UNION ALL
    SELECT member.user_id
    FROM packed_member AS member
    WHERE member.tenant_id = asked.tenant_id AND member.scope = 'user' AND member.subject = asked.user_id
) AS holder
JOIN pack ON pack.tenant_id = asked.tenant_id AND pack.user_id = holder.user_id
WHERE pack.last_at >= asked.after_at AND pack.types && :types::text[];

-- name: packs_of_tenants
SELECT asked.n, pack.tenant_id, pack.user_id, pack.first_at, pack.body
FROM unnest(
    :positions.tenant_id::text[], :positions.subject::text[], :positions.at::timestamptz[],
    :positions.id::text[])
    WITH ORDINALITY AS asked (tenant_id, subject, after_at, after_id, n)
JOIN pack ON pack.tenant_id = asked.subject
WHERE pack.last_at >= asked.after_at AND pack.types && :types::text[];

-- name: packs_of_subjects
SELECT asked.n, pack.tenant_id, pack.user_id, pack.first_at, pack.body
FROM unnest(
    :positions.tenant_id::text[], :positions.subject::text[], :positions.at::timestamptz[],
    :positions.id::text[])
    WITH ORDINALITY AS asked (tenant_id, subject, after_at, after_id, n)
JOIN packed_member AS member
    ON member.tenant_id = asked.tenant_id AND member.scope = :scope AND member.subject = asked.subject
JOIN pack ON pack.tenant_id = member.tenant_id AND pack.user_id = member.user_id
WHERE pack.last_at >= asked.after_at AND pack.types && :types::text[];

-- name: packs_naming_person
-- Packs of others in which events may name a user.
SELECT pack.tenant_id, pack.user_id, part, number, events, body
FROM packed_member AS member
JOIN pack ON pack.tenant_id = member.tenant_id AND pack.user_id = member.user_id
WHERE member.tenant_id = :tenant_id AND member.scope = 'user' AND member.subject = :user_id
    AND types && :types::text[];

-- name: packs_of_person
SELECT first_at, body FROM pack
WHERE tenant_id = :tenant_id AND user_id = :user_id
ORDER BY first_at;

-- name: last_packs_of_person
SELECT last_at, body FROM pack
WHERE tenant_id = :tenant_id AND user_id = :user_id
ORDER BY last_at DESC;

-- -- events of everyone

-- name: packs_by_user
SELECT 0 AS n, tenant_id, user_id, first_at, body
FROM pack
WHERE types && :types::text[]
ORDER BY tenant_id, user_id, first_at;

-- name: packs_by_hash
-- Of the users of a slice, as in `events_by_hash`: the hash in place of a number.
SELECT hash, tenant_id, user_id, first_at, body
FROM (
    SELECT hashtextextended(user_id, hashtextextended(tenant_id, 0)) AS hash, pack.*
    FROM pack
    WHERE types && :types::text[]
) AS hashed
WHERE hash > :after::bigint AND hash <= :upto::bigint
ORDER BY hash, first_at;

-- name: insert_packed_members
INSERT INTO packed_member (tenant_id, scope, subject, user_id)
SELECT * FROM unnest(
    :members.tenant_id::text[], :members.scope::text[], :members.subject::text[], :members.user_id::text[])
ON CONFLICT DO NOTHING;

-- -- archiving

-- name: other_releases
-- Of workers that live: those that are of another release than the one that asks.
SELECT DISTINCT release FROM worker WHERE NOT stopped AND seen_at > :since AND release <> :release ORDER BY release;

-- name: bar_releases_before
-- From now on a release that does not know the archive does not start.
UPDATE schema_migration SET compatible_from = number WHERE name = 'archive' AND compatible_from < number;

-- name: begin_archive
-- What the probe is here, and what it was when ids were first archived.
UPDATE archive SET
    probe = coalesce(probe, hashtextextended('probe', hashtextextended('ach', 0)) & 1099511627775),
    archived_at = :now
RETURNING probe = hashtextextended('probe', hashtextextended('ach', 0)) & 1099511627775;

-- name: end_archive
UPDATE archive SET before = greatest(before, :before::timestamptz);

-- name: users_to_archive
-- In pages by key: all users of the ledger, by one search of the index each.
WITH RECURSIVE found AS (
    (
        SELECT tenant_id, user_id
        FROM event
        WHERE (tenant_id, user_id) > (:after_tenant, :after_user)
        ORDER BY tenant_id, user_id
        LIMIT 1
    )
    UNION ALL
    SELECT next.tenant_id, next.user_id
    FROM found
    CROSS JOIN LATERAL (
        SELECT tenant_id, user_id
        FROM event
        WHERE (event.tenant_id, event.user_id) > (found.tenant_id, found.user_id)
        ORDER BY tenant_id, user_id
        LIMIT 1
    ) AS next
)
SELECT tenant_id, user_id FROM found LIMIT :limit;

-- name: events_to_archive
-- What was received long ago, of users without a pack that is about to be moved. The last event of each user stays, and
-- so does what a state may not have seen yet, of the user or of one that the event names: readers look for those in the
-- ledger alone.
SELECT
    event.tenant_id, event.user_id, event.event_id, event_type, event.occurred_at, utc_offset, occurred_at_text, source,
    payload, received_at, stream_seq, published_at, region
FROM unnest(:tenant_ids::text[], :user_ids::text[]) WITH ORDINALITY AS asked (tenant_id, user_id, n)
JOIN LATERAL (
    SELECT occurred_at, event_id
    FROM event
    WHERE event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id
    ORDER BY bin_of(occurred_at) DESC, occurred_at DESC, event_id DESC
    LIMIT 1
) AS last ON true
LEFT JOIN progress
    ON progress.tenant_id = asked.tenant_id AND progress.scope = 'user' AND progress.subject = asked.user_id
JOIN event ON event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id
    AND bin_of(event.occurred_at) <= bin_of(last.occurred_at)
    AND (event.occurred_at, event.event_id) < (last.occurred_at, last.event_id)
WHERE received_at < :before::timestamptz
    AND (mark_at IS NULL OR (event.occurred_at, event.event_id) < (mark_at, mark_id))
    AND NOT EXISTS (
        SELECT FROM packing WHERE packing.tenant_id = asked.tenant_id AND packing.user_id = asked.user_id)
    AND NOT EXISTS (
        SELECT
        FROM event_subject AS member
        JOIN progress AS theirs
            ON theirs.tenant_id = member.tenant_id AND theirs.scope = 'user' AND theirs.subject = member.subject
        WHERE member.tenant_id = event.tenant_id AND member.event_id = event.event_id AND member.scope = 'user'
            AND (event.occurred_at, event.event_id) > (theirs.mark_at, theirs.mark_id))
ORDER BY asked.n, event.occurred_at, event.event_id;

-- name: numbers_of_users
-- The numbers that users have in the archive, that of the last pack; new ones for those who have none.
SELECT
    coalesce(
        (
            SELECT number
            FROM pack
            WHERE pack.tenant_id = asked.tenant_id AND pack.user_id = asked.user_id
            ORDER BY part DESC
            LIMIT 1
        ),
        (
            SELECT number
            FROM packing
            WHERE packing.tenant_id = asked.tenant_id AND packing.user_id = asked.user_id
            LIMIT 1
        ),
        nextval('pack_number')::integer
    )
FROM unnest(:tenant_ids::text[], :user_ids::text[]) WITH ORDINALITY AS asked (tenant_id, user_id, n)
ORDER BY n;

-- name: insert_packs
-- A list of types is JSON.
INSERT INTO pack (tenant_id, user_id, part, number, events, first_at, last_at, types, body)
SELECT
    tenant_id, user_id, part, number, events, first_at, last_at, ARRAY(SELECT jsonb_array_elements_text(types::jsonb)),
    body
FROM unnest(
    :packs.tenant_id::text[], :packs.user_id::text[], :packs.part::integer[], :packs.number::integer[],
    :packs.events::integer[], :packs.first_at::timestamptz[], :packs.last_at::timestamptz[], :packs.types::text[],
    :packs.body::bytea[])
    AS rows (tenant_id, user_id, part, number, events, first_at, last_at, types, body)
ON CONFLICT (tenant_id, user_id, part) DO NOTHING;

-- name: insert_packing
INSERT INTO packing (tenant_id, user_id, part, number, events, body)
SELECT * FROM unnest(
    :packs.tenant_id::text[], :packs.user_id::text[], :packs.part::integer[], :packs.number::integer[],
    :packs.events::integer[], :packs.body::bytea[])
ON CONFLICT (tenant_id, user_id, part) DO NOTHING;

-- name: packs_to_move
SELECT tenant_id, user_id, part, number, events, body
FROM packing
ORDER BY tenant_id, user_id, part;

-- name: hashes_of_ids
SELECT
    -- use packed_hash
FROM unnest(:event_ids::text[], :tenant_ids::text[]) WITH ORDINALITY AS asked (event_id, tenant_id, n)
ORDER BY n;

-- name: hold_archive
-- A transaction that changes `packed_id` holds this first.
SELECT reach::text FROM archive FOR UPDATE;

-- name: share_archive
-- For packing: an erasure waits until what was read is a pack, and takes it away.
SELECT FROM archive FOR SHARE;

-- name: extend_reach
UPDATE archive SET reach = :reach::text::jsonb;

-- name: packed_rows
-- The rows that some hashes are in, or are to be in, each once, in order.
SELECT held.first, held.hashes, held.users
FROM (
    SELECT DISTINCT (SELECT max(first) FROM packed_id WHERE first <= asked.hash) AS first
    FROM unnest(:hashes::bigint[]) AS asked (hash)
) AS wanted
JOIN packed_id AS held ON held.first = wanted.first
ORDER BY held.first;

-- name: write_packed_rows
INSERT INTO packed_id (first, hashes, users)
SELECT * FROM unnest(:rows.first::bigint[], :rows.hashes::bytea[], :rows.users::bytea[])
ON CONFLICT (first) DO UPDATE SET hashes = excluded.hashes, users = excluded.users;

-- name: raise_all_generations
-- A transaction that has looked into `packed_id` before this finds another generation at the commit.
UPDATE partition SET generation = found.generation + 1, owner = ''
FROM (SELECT partition_id, generation FROM partition ORDER BY partition_id FOR UPDATE) AS found
WHERE partition.partition_id = found.partition_id;

-- name: packing_at_hand
SELECT packing.tenant_id, packing.user_id, packing.part, number, events, body
FROM unnest(:tenant_ids::text[], :user_ids::text[], :parts::integer[]) AS asked (tenant_id, user_id, part)
JOIN packing
    ON packing.tenant_id = asked.tenant_id AND packing.user_id = asked.user_id AND packing.part = asked.part
ORDER BY packing.tenant_id, packing.user_id, packing.part;

-- name: last_packs_of_users
SELECT last.tenant_id, last.user_id, part, number, events, body
FROM unnest(:tenant_ids::text[], :user_ids::text[]) AS asked (tenant_id, user_id)
JOIN LATERAL (
    SELECT *
    FROM pack
    WHERE pack.tenant_id = asked.tenant_id AND pack.user_id = asked.user_id
    ORDER BY part DESC
    LIMIT 1
) AS last ON true
ORDER BY last.tenant_id, last.user_id;

-- name: move_members
-- Before their events go, and they with them.
INSERT INTO packed_member (tenant_id, scope, subject, user_id)
SELECT DISTINCT member.tenant_id, member.scope, member.subject, asked.user_id
FROM unnest(:tenant_ids::text[], :user_ids::text[], :event_ids::text[]) AS asked (tenant_id, user_id, event_id)
JOIN event_subject AS member ON member.tenant_id = asked.tenant_id AND member.event_id = asked.event_id
ORDER BY member.tenant_id, member.scope, member.subject, asked.user_id
ON CONFLICT DO NOTHING;

-- name: take_archived_events
-- By their key alone, as in `events_there_before`; returns how many of each user are gone.
WITH members AS (
    DELETE FROM event_subject
    USING unnest(:tenant_ids::text[], :event_ids::text[]) AS asked (tenant_id, event_id)
    WHERE event_subject.tenant_id = asked.tenant_id AND event_subject.event_id = asked.event_id
), gone AS (
    DELETE FROM event
    USING unnest(:tenant_ids::text[], :user_ids::text[], :event_ids::text[]) AS asked (tenant_id, user_id, event_id)
    WHERE event.event_id = asked.event_id AND event.tenant_id = asked.tenant_id AND event.user_id || '' = asked.user_id
    RETURNING event.tenant_id, event.user_id
)
SELECT tenant_id, user_id, count(*) FROM gone GROUP BY tenant_id, user_id;

-- name: forget_packing
DELETE FROM packing
USING unnest(:tenant_ids::text[], :user_ids::text[], :parts::integer[]) AS asked (tenant_id, user_id, part)
WHERE packing.tenant_id = asked.tenant_id AND packing.user_id = asked.user_id AND packing.part = asked.part;

-- name: forget_packs
DELETE FROM pack
USING unnest(:tenant_ids::text[], :user_ids::text[], :parts::integer[]) AS asked (tenant_id, user_id, part)
WHERE pack.tenant_id = asked.tenant_id AND pack.user_id = asked.user_id AND pack.part = asked.part;

-- -- erasing

-- name: packed_since
-- The first instant of all that is archived of a user.
SELECT min(first_at) FROM pack WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: drop_packing
-- Of users whose events an erasure changes: what stays of these is packed again.
DELETE FROM packing
WHERE tenant_id = :tenant_id AND user_id = ANY (:user_ids::text[])
RETURNING tenant_id, user_id, part, number, events, body;

-- name: packs_to_erase
SELECT tenant_id, user_id, part, number, events, body
FROM pack
WHERE tenant_id = :tenant_id AND user_id = :user_id
ORDER BY part;

-- name: members_to_erase
SELECT scope, subject FROM packed_member WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: holders_naming
-- In whose packs events name a user.
SELECT user_id
FROM packed_member
WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id
ORDER BY user_id;

-- name: last_part_of_user
SELECT max(part) FROM pack WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: erase_packs
DELETE FROM pack WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: hand_members_on
-- To the pseudonym whose packs have what is left of a user's events.
INSERT INTO packed_member (tenant_id, scope, subject, user_id)
SELECT tenant_id, scope, subject, :pseudonym
FROM packed_member
WHERE tenant_id = :tenant_id AND user_id = :user_id
ORDER BY scope, subject
ON CONFLICT DO NOTHING;

-- name: erase_members_without_packs
-- Of users whose packs are gone with all that was in them.
DELETE FROM packed_member
WHERE tenant_id = :tenant_id AND user_id = ANY (:user_ids::text[])
    AND NOT EXISTS (
        SELECT FROM pack WHERE pack.tenant_id = packed_member.tenant_id AND pack.user_id = packed_member.user_id);

-- name: erase_packed_members
DELETE FROM packed_member
WHERE tenant_id = :tenant_id AND (user_id = :user_id OR scope = 'user' AND subject = :user_id);

-- -- for people

-- name: archive_at_hand
-- What is archived, and how much that takes; the estimate of the server for the ledger. `oldest` is of some events in the
-- order in which the ledger has them.
SELECT
    archived_at, before,
    (SELECT count(*) FROM packing) AS waiting,
    coalesce((SELECT sum(events) FROM pack), 0)::bigint AS events,
    pg_total_relation_size('pack') + pg_total_relation_size('packed_id') + pg_total_relation_size('packed_member')
        AS bytes,
    (SELECT reltuples::bigint FROM pg_class WHERE oid = 'event'::regclass) AS hot_events,
    pg_total_relation_size('event') AS hot_bytes,
    probe IS NULL OR probe = hashtextextended('probe', hashtextextended('ach', 0)) & 1099511627775 AS probe_holds
FROM archive;
