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
    event_id, settles_at, granted_at, contested_at, revoked_at, by_hand
FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (tenant_id, scope, subject)
JOIN unlock
    ON unlock.tenant_id = asked.tenant_id AND unlock.scope = asked.scope AND unlock.subject = asked.subject
ORDER BY unlock.tenant_id, unlock.scope, unlock.subject, achievement, tier, occurrence
FOR UPDATE OF unlock;

-- name: amend_unlocks
-- Late evidence moved it, or supports it again. Id, reward and granted_at stay. One that settles waits anew; where its
-- new version does not settle, the relay grants it next. What an operator has revoked stays as it is.
UPDATE unlock SET
    version = rows.version,
    earned_at = rows.earned_at,
    event_id = rows.event_id,
    settles_at = coalesce(rows.settles_at, CASE WHEN granted_at IS NULL THEN rows.earned_at END),
    contested_at = NULL
FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::text[], $5::timestamptz[])
    AS rows (unlock_id, version, earned_at, event_id, settles_at)
WHERE unlock.unlock_id = rows.unlock_id AND unlock.revoked_at IS NULL;

-- name: contest_unlocks
-- What an operator has granted or revoked stays as it is.
UPDATE unlock SET contested_at = $2
WHERE unlock_id = ANY ($1::uuid[]) AND granted_at IS NOT NULL AND revoked_at IS NULL AND NOT by_hand;

-- name: withdraw_unlocks
-- Never granted, never announced: nothing is lost. What an operator has revoked is kept, or new evidence would bring it
-- back.
DELETE FROM unlock WHERE unlock_id = ANY ($1::uuid[]) AND granted_at IS NULL AND revoked_at IS NULL;

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

-- name: grant_settled
-- Committed by itself, before anything is announced: what is announced is in the books as granted, though a worker
-- dies in between, and late evidence contests it from here on. Rows that a batch or another relay holds are skipped. Whether the
-- decision is final was written when it began to settle.
WITH due AS (
    SELECT unlock_id
    FROM unlock
    WHERE granted_at IS NULL AND revoked_at IS NULL AND settles_at <= $1::timestamptz
    ORDER BY settles_at
    LIMIT $3
    FOR UPDATE SKIP LOCKED
), settled AS (
    UPDATE unlock SET granted_at = $2::timestamptz
    FROM due
    WHERE unlock.unlock_id = due.unlock_id
    RETURNING unlock.*
)
INSERT INTO evaluation (
    tenant_id, scope, subject, achievement, tier, occurrence, version, decision, final, earned_at, event_id,
    decided_at)
SELECT
    settled.tenant_id, settled.scope, settled.subject, settled.achievement, settled.tier, settled.occurrence,
    settled.version, 'granted', coalesce(before.final, false), settled.earned_at, settled.event_id, $2::timestamptz
FROM settled
LEFT JOIN LATERAL (
    SELECT final
    FROM evaluation
    WHERE evaluation.tenant_id = settled.tenant_id AND evaluation.scope = settled.scope
        AND evaluation.subject = settled.subject AND evaluation.achievement = settled.achievement
        AND evaluation.tier = settled.tier AND evaluation.occurrence = settled.occurrence
    ORDER BY evaluation_id DESC
    LIMIT 1
) AS before ON true;

-- name: claim_unlocks
-- The outbox, oldest first, without what the broker has refused a moment ago ($1). Rows that another relay holds are
-- skipped; nothing is remembered between two claims. What is claimed cannot be amended or revoked until it is marked.
SELECT
    unlock_id, tenant_id, scope, subject, achievement, tier, occurrence, version, earned_at, event_id, granted_at,
    reward::text AS reward
FROM unlock
WHERE published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL AND unlock_id <> ALL ($1::uuid[])
ORDER BY granted_at
LIMIT $2
FOR UPDATE SKIP LOCKED;

-- name: mark_published
UPDATE unlock SET published_at = $2 WHERE unlock_id = ANY ($1::uuid[]) AND granted_at IS NOT NULL;

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
SELECT min(settles_at) FROM unlock WHERE granted_at IS NULL AND revoked_at IS NULL;

-- name: outbox_is_empty
-- But for what the broker refuses ($2).
SELECT NOT EXISTS (
    SELECT FROM unlock
    WHERE published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL AND unlock_id <> ALL ($2::uuid[])
) AND NOT EXISTS (
    SELECT FROM unlock WHERE granted_at IS NULL AND revoked_at IS NULL AND settles_at <= $1::timestamptz
);

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

-- name: revoke_unlock
-- In every state, and for good: what settles is kept, so that no evidence earns it anew.
UPDATE unlock SET revoked_at = $2
WHERE unlock_id = $1 AND revoked_at IS NULL
RETURNING tenant_id, scope, subject, achievement, tier, occurrence, version, earned_at, event_id;

-- name: user_is_erased
SELECT EXISTS (SELECT FROM erasure WHERE tenant_id = $1 AND user_id = $2);

-- name: grant_by_hand
-- Over whatever was there, which the caller holds. Id, reward, granted_at and published_at stay where they are set.
INSERT INTO unlock (
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    granted_at, reward, by_hand)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text::jsonb, true)
ON CONFLICT (tenant_id, scope, subject, achievement, tier, occurrence) DO UPDATE SET
    version = excluded.version,
    earned_at = excluded.earned_at,
    event_id = excluded.event_id,
    settles_at = excluded.settles_at,
    granted_at = coalesce(unlock.granted_at, excluded.granted_at),
    contested_at = NULL,
    revoked_at = NULL,
    by_hand = true;

-- name: insert_operators_word
-- What an operator has decided, and why; no evidence moves it.
INSERT INTO evaluation (
    tenant_id, scope, subject, achievement, tier, occurrence, version, decision, final, earned_at, event_id,
    decided_at, actor, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, true, $9, $10, $11, nullif($12, ''), nullif($13, ''));
