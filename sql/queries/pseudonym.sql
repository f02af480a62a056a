-- The names that stand for erased users where events of others name them: docs/decisions/0048-roles.md.

-- name: insert_pseudonyms
-- Under the partitions of these users. Only a keyed hash of a name leads to its pseudonym.
INSERT INTO pseudonym (tenant_id, name_hash, pseudonym)
SELECT asked.tenant_id, keyed_hash(asked.tenant_id, asked.user_id), asked.pseudonym
FROM unnest(:tenant_ids::text[], :user_ids::text[], :pseudonyms::text[]) AS asked (tenant_id, user_id, pseudonym)
ON CONFLICT (tenant_id, name_hash) DO NOTHING;

-- name: pseudonym_of_user
SELECT pseudonym FROM pseudonym WHERE tenant_id = :tenant_id AND name_hash = keyed_hash(:tenant_id, :user_id);

-- name: forget_renamed_events
DELETE FROM renamed_event WHERE tenant_id = :tenant_id AND event_id = ANY (:event_ids::text[]);

-- name: pseudonyms_of_users
SELECT pseudonym.pseudonym
FROM unnest(:tenant_ids::text[], :user_ids::text[]) WITH ORDINALITY AS asked (tenant_id, user_id, n)
JOIN pseudonym
    ON pseudonym.tenant_id = asked.tenant_id
    AND pseudonym.name_hash = keyed_hash(asked.tenant_id, asked.user_id)
ORDER BY asked.n;

-- name: insert_renamed_events
-- What was received is known by its digest. Where an event was renamed before, it stays what was received then; the row is
-- written all the same, by which a mirror sees that the event is another one.
INSERT INTO renamed_event (event_id, tenant_id, digest)
SELECT * FROM unnest(:renamed.event_id::text[], :renamed.tenant_id::text[], :renamed.digest::bytea[])
ON CONFLICT (event_id, tenant_id) DO UPDATE SET digest = renamed_event.digest;

-- name: events_naming_user
-- What a user did that names others, and what others did that names the user; with all others that it names.
SELECT
    event.tenant_id, event.event_id, event_type, user_id, event.occurred_at, utc_offset, source, payload,
    ARRAY(
        SELECT subject
        FROM event_subject AS other
        WHERE other.tenant_id = event.tenant_id AND other.event_id = event.event_id AND other.scope = 'user'
        ORDER BY subject
    ) AS named
FROM event
WHERE tenant_id = :tenant_id AND user_id = :user_id
    AND EXISTS (
        SELECT FROM event_subject AS other
        WHERE other.tenant_id = event.tenant_id AND other.event_id = event.event_id AND other.scope = 'user')
UNION ALL
SELECT
    event.tenant_id, event.event_id, event_type, user_id, event.occurred_at, utc_offset, source, payload,
    ARRAY(
        SELECT subject
        FROM event_subject AS other
        WHERE other.tenant_id = event.tenant_id AND other.event_id = event.event_id AND other.scope = 'user'
            AND other.subject <> :user_id
        ORDER BY subject
    )
FROM event_subject AS member
JOIN LATERAL
    -- use event_of_member
WHERE member.tenant_id = :tenant_id AND member.scope = 'user' AND member.subject = :user_id;

-- name: erase_events_by_id
-- Without what is on record of their names; their members go with them.
WITH known AS (
    DELETE FROM renamed_event WHERE tenant_id = :tenant_id AND event_id = ANY (:event_ids::text[])
), members AS (
    DELETE FROM event_subject WHERE tenant_id = :tenant_id AND event_id = ANY (:event_ids::text[])
)
DELETE FROM event WHERE tenant_id = :tenant_id AND event_id = ANY (:event_ids::text[]);

-- name: rename_events
UPDATE event SET user_id = rows.user_id, payload = rows.payload
FROM unnest(
    :rows.event_id::text[], :rows.tenant_id::text[], :rows.user_id::text[], :rows.payload::text[])
    AS rows (event_id, tenant_id, user_id, payload)
WHERE event.event_id = rows.event_id AND event.tenant_id = rows.tenant_id;

-- name: forget_named_user
DELETE FROM event_subject WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id;
