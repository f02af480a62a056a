-- Unlocks, the decisions about them, and the outbox that they are.

-- name: insert_unlocks
-- What does not come back was there before.
INSERT INTO unlock (
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    reward, granted_at)
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    reward::jsonb, CASE WHEN settles_at IS NULL OR settles_at <= $14 THEN $13::timestamptz END
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::integer[],
    $9::timestamptz[], $10::text[], $11::timestamptz[], $12::text[]) AS rows (
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    reward)
ON CONFLICT (tenant_id, scope, subject, achievement, tier, occurrence) DO NOTHING
RETURNING *;

-- part: insert_decisions
-- About the unlocks that have just been inserted: `new` has them, $1 the ids of those that are final.
INSERT INTO evaluation (
    tenant_id, scope, subject, achievement, tier, occurrence, version, decision, final, earned_at, event_id,
    decided_at)
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, version,
    CASE WHEN granted_at IS NULL THEN 'settling' ELSE 'granted' END,
    unlock_id IN (SELECT unnest($1::uuid[])), earned_at, event_id, $2::timestamptz
FROM new;

-- name: grant_unlocks
-- With the decisions about them. What does not come back was there before and is compared with care.
WITH new AS (
    -- use insert_unlocks from $1
), decided AS (
    -- use insert_decisions from $15
)
SELECT unlock_id, granted_at IS NOT NULL AS granted FROM new;

-- name: unlocks_of_subjects
-- Locked, because the notifier may be granting one that settles.
SELECT
    unlock.tenant_id, unlock.scope, unlock.subject, achievement, tier, occurrence, unlock_id, version, earned_at,
    event_id, settles_at, granted_at, contested_at, revoked_at
FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (tenant_id, scope, subject)
JOIN unlock
    ON unlock.tenant_id = asked.tenant_id AND unlock.scope = asked.scope AND unlock.subject = asked.subject
ORDER BY unlock.tenant_id, unlock.scope, unlock.subject, achievement, tier, occurrence
FOR UPDATE OF unlock;

-- name: amend_unlocks
-- Late evidence moved it, or supports it again. Id, reward and granted_at stay; one that still settles waits anew. What
-- an operator has revoked stays as it is.
UPDATE unlock SET
    version = rows.version,
    earned_at = rows.earned_at,
    event_id = rows.event_id,
    settles_at = rows.settles_at,
    granted_at = coalesce(granted_at, CASE WHEN rows.settles_at IS NULL THEN $6::timestamptz END),
    contested_at = NULL
FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::text[], $5::timestamptz[])
    AS rows (unlock_id, version, earned_at, event_id, settles_at)
WHERE unlock.unlock_id = rows.unlock_id AND unlock.revoked_at IS NULL;

-- name: contest_unlocks
UPDATE unlock SET contested_at = $2 WHERE unlock_id = ANY ($1::uuid[]);

-- name: withdraw_unlocks
-- Never granted, never announced: nobody loses anything.
DELETE FROM unlock WHERE unlock_id = ANY ($1::uuid[]) AND granted_at IS NULL;

-- name: withdraw_retired
-- What has not settled by $4, and no rule judges any more: $1 to $3 are the scopes, achievements and tiers in force. An
-- operator's word stays.
WITH gone AS (
    DELETE FROM unlock
    WHERE published_at IS NULL AND granted_at IS NULL AND revoked_at IS NULL AND settles_at > $4::timestamptz
        AND (scope, achievement, tier) NOT IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))
    RETURNING *
)
INSERT INTO evaluation (
    tenant_id, scope, subject, achievement, tier, occurrence, version, decision, final, earned_at, event_id,
    decided_at)
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, version, 'withdrawn', false, earned_at, event_id,
    $5::timestamptz
FROM gone
ORDER BY tenant_id, scope, subject, achievement, tier, occurrence;

-- name: insert_evaluations
INSERT INTO evaluation (
    tenant_id, scope, subject, achievement, tier, occurrence, version, decision, final, earned_at, event_id,
    decided_at)
SELECT rows.*, $12::timestamptz
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::integer[], $8::text[],
    $9::boolean[], $10::timestamptz[], $11::text[]) AS rows;

-- name: claim_unlocks
-- The outbox. Rows that another relay holds are skipped; nothing is remembered between two claims.
SELECT
    unlock_id, tenant_id, scope, subject, achievement, tier, occurrence, version, earned_at, event_id, settles_at,
    granted_at, reward::text AS reward
FROM unlock
WHERE published_at IS NULL AND revoked_at IS NULL AND (settles_at IS NULL OR settles_at <= $1::timestamptz)
ORDER BY settles_at NULLS FIRST
LIMIT $2
FOR UPDATE SKIP LOCKED;

-- name: mark_published
UPDATE unlock SET published_at = $2, granted_at = coalesce(granted_at, $2)
WHERE unlock_id = ANY ($1::uuid[]);

-- name: mark_announced
-- Without a claim: whoever holds one of these rows at the moment may be waiting for another, and is not waited for. By
-- their ids: said as in the condition of the outbox's index, that one would be read as a whole, what settles included.
UPDATE unlock SET published_at = $2
WHERE unlock_id IN (
    SELECT unlock_id
    FROM unlock
    WHERE unlock_id = ANY ($1::uuid[]) AND coalesce(published_at, 'infinity') = 'infinity'
    FOR UPDATE SKIP LOCKED);

-- name: next_settling
-- When the notifier has to look again.
SELECT min(settles_at) FROM unlock WHERE published_at IS NULL AND revoked_at IS NULL AND settles_at IS NOT NULL;

-- name: outbox_is_empty
SELECT NOT EXISTS (
    SELECT FROM unlock
    WHERE published_at IS NULL AND revoked_at IS NULL AND (settles_at IS NULL OR settles_at <= $1::timestamptz));

-- name: contested_unlocks
-- For the reconciliation report.
SELECT tenant_id, scope, subject, achievement, tier, occurrence, version, earned_at, granted_at, contested_at
FROM unlock
WHERE contested_at IS NOT NULL AND revoked_at IS NULL
ORDER BY tenant_id, scope, subject, achievement, tier, occurrence;

-- name: contested_of_subject
-- What one subject keeps of some achievements though the events do not support it any more.
SELECT achievement, tier, occurrence, earned_at, contested_at
FROM unlock
WHERE tenant_id = $1 AND scope = $2 AND subject = $3 AND achievement = ANY ($4::text[])
    AND contested_at IS NOT NULL AND revoked_at IS NULL
ORDER BY achievement, tier, occurrence;

-- name: insert_settled
-- The decision that an unlock waited for; whether it is final was written when it began to settle.
INSERT INTO evaluation (
    tenant_id, scope, subject, achievement, tier, occurrence, version, decision, final, earned_at, event_id,
    decided_at)
SELECT
    unlock.tenant_id, unlock.scope, unlock.subject, unlock.achievement, unlock.tier, unlock.occurrence,
    unlock.version, 'granted', coalesce(before.final, false), unlock.earned_at, unlock.event_id, $2::timestamptz
FROM unlock
LEFT JOIN LATERAL (
    SELECT final
    FROM evaluation
    WHERE evaluation.tenant_id = unlock.tenant_id AND evaluation.scope = unlock.scope
        AND evaluation.subject = unlock.subject AND evaluation.achievement = unlock.achievement
        AND evaluation.tier = unlock.tier AND evaluation.occurrence = unlock.occurrence
    ORDER BY evaluation_id DESC
    LIMIT 1
) AS before ON true
WHERE unlock.unlock_id = ANY ($1::uuid[]);

-- name: revoke_unlock
UPDATE unlock SET revoked_at = $2
WHERE unlock_id = $1 AND revoked_at IS NULL
RETURNING tenant_id, scope, subject, achievement, tier, occurrence, version, earned_at, event_id;
