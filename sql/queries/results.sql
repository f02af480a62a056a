-- Results, for digests, replays and the demo's summary.

-- name: all_unlocks
-- The status at a given time: an unlock that settles later is not granted yet. Excludes manual grants without support
-- by events, because they are not a function of events.
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, version, earned_at,
    contested_at IS NOT NULL OR revoked_at IS NOT NULL AS contested
FROM unlock
WHERE (settles_at IS NULL OR settles_at <= $1) AND event_id <> ''
ORDER BY tenant_id, scope, subject, achievement, tier, occurrence;

-- name: all_progress
-- With the events that the plan of users must fold on top.
SELECT tenant_id, scope, subject, stamp, state,
    -- use unsaved_events from $1
    AS unsaved
FROM progress
ORDER BY tenant_id, scope, subject;

-- name: progress_of_subject
-- Every scope in which a tenant has a subject of that name.
SELECT tenant_id, scope, subject, stamp, state,
    -- use unsaved_events from $4
    AS unsaved
FROM progress
WHERE tenant_id = $1 AND scope = ANY ($2::text[]) AND subject = $3
ORDER BY scope;

-- name: user_in_ledger
-- Whether a tenant has a user of that name, and whether any event has one of the types $3.
SELECT
    EXISTS (SELECT FROM event WHERE tenant_id = $1 AND user_id = $2) AS known,
    EXISTS (SELECT FROM event WHERE tenant_id = $1 AND user_id = $2 AND event_type = ANY ($3::text[])) AS heard;

-- name: unlocks_of_name
-- Of every scope in which a tenant has a subject of that name.
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    granted_at, contested_at, revoked_at, by_hand
FROM unlock
WHERE tenant_id = $1 AND subject = $2
ORDER BY scope, achievement, tier, occurrence;

-- name: listed_unlocks
-- Newest first; a null status means any.
SELECT
    unlock_id, tenant_id, scope, subject, achievement, tier, occurrence, version, status, earned_at, granted_at, by_hand
FROM v_unlock
WHERE ($1::text IS NULL OR tenant_id = $1)
    AND ($2::text IS NULL OR subject = $2)
    AND ($3::text IS NULL OR status = $3)
ORDER BY earned_at DESC, unlock_id
LIMIT $4;
