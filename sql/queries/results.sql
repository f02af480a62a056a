-- What has come out: for digests, replays and the demo's summary.

-- name: all_unlocks
-- Status as of a clock: what settles later than that is not granted yet.
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, version, earned_at,
    contested_at IS NOT NULL OR revoked_at IS NOT NULL AS contested
FROM unlock
WHERE settles_at IS NULL OR settles_at <= $1
ORDER BY tenant_id, scope, subject, achievement, tier, occurrence;

-- name: all_progress
SELECT tenant_id, scope, subject, stamp, state FROM progress ORDER BY tenant_id, scope, subject;

-- name: progress_of_subject
-- Every scope in which a tenant has a subject of that name.
SELECT tenant_id, scope, subject, stamp, state FROM progress
WHERE tenant_id = $1 AND scope = ANY ($2::text[]) AND subject = $3
ORDER BY scope;
