-- Results, for digests, replays and the demo's summary.

-- name: all_unlocks
-- The status at a given time: an unlock that settles later is not granted yet. Excludes manual grants without support
-- by events, because they are not a function of events.
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, version, earned_at,
    contested_at IS NOT NULL OR revoked_at IS NOT NULL AS contested
FROM unlock
WHERE (settles_at IS NULL OR settles_at <= :clock) AND (event_id <> '' OR NOT by_hand OR earned_at <> granted_at)
ORDER BY tenant_id, scope, subject, achievement, tier, occurrence;

-- name: all_progress
-- With the events that the plan of users must fold on top.
SELECT tenant_id, scope, subject, stamp, state,
    -- use unsaved_events
    AS unsaved
FROM progress
ORDER BY tenant_id, scope, subject;

-- name: granted_to_subjects
-- For a comparison with the events; without locks.
SELECT
    unlock.tenant_id, unlock.scope, unlock.subject, achievement, tier, occurrence, version, earned_at, settles_at,
    event_id <> '' OR NOT by_hand OR earned_at <> granted_at AS by_events, contested_at IS NOT NULL AS contested, revoked_at IS NOT NULL AS revoked
FROM unnest(:tenant_ids::text[], :scopes::text[], :subjects::text[]) AS asked (tenant_id, scope, subject)
JOIN unlock
    ON unlock.tenant_id = asked.tenant_id AND unlock.scope = asked.scope AND unlock.subject = asked.subject
ORDER BY unlock.tenant_id, unlock.scope, unlock.subject, achievement, tier, occurrence;

-- name: progress_of_subject
-- Every scope in which a tenant has a subject of that name.
SELECT tenant_id, scope, subject, stamp, state,
    -- use unsaved_events
    AS unsaved
FROM progress
WHERE tenant_id = :tenant_id AND scope = ANY (:scopes::text[]) AND subject = :subject
ORDER BY scope;

-- name: user_in_ledger
-- Whether a tenant has a user of that name, and whether any event that the user did has one of these types.
SELECT
    EXISTS (SELECT FROM event WHERE tenant_id = :tenant_id AND user_id = :user_id)
        OR EXISTS (SELECT FROM event_subject WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id)
        OR EXISTS (SELECT FROM packed_member WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id)
        AS known,
    EXISTS (
        SELECT FROM event WHERE tenant_id = :tenant_id AND user_id = :user_id AND event_type = ANY (:types::text[])
    ) OR EXISTS (
        SELECT FROM pack
        WHERE tenant_id = :tenant_id AND user_id = :user_id AND types && :types::text[]
    ) AS heard;

-- name: unlocks_of_name
-- Of every scope in which a tenant has a subject of that name.
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    granted_at, contested_at, revoked_at, by_hand, reward::text AS reward
FROM unlock
WHERE tenant_id = :tenant_id AND subject = :subject
ORDER BY scope, achievement, tier, occurrence;

-- name: revealed_to_name
-- To every subject of that name in a tenant.
SELECT scope, achievement, tier
FROM revealed
WHERE tenant_id = :tenant_id AND subject = :subject
ORDER BY scope, achievement, tier;

-- name: listed_unlocks
-- Newest first; a null status means any.
SELECT
    unlock_id, tenant_id, scope, subject, achievement, tier, occurrence, version, status, earned_at, granted_at, by_hand
FROM v_unlock
WHERE (:tenant_id::text IS NULL OR tenant_id = :tenant_id)
    AND (:subject::text IS NULL OR subject = :subject)
    AND (:status::text IS NULL OR status = :status)
ORDER BY earned_at DESC, unlock_id
LIMIT :limit;
