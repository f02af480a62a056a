-- What a change of rules has decided, whether its build or a worker did.

-- name: change_to_reconcile
-- The one of this number, or the latest that came into force (null).
SELECT change_id, state, epoch, epoch_before, applied_at, applied_by, message
FROM change
WHERE CASE WHEN :change_id::bigint IS NULL THEN epoch IS NOT NULL ELSE change_id = :change_id::bigint END
ORDER BY change_id DESC
LIMIT 1;

-- name: reconciled
SELECT achievement, tier, version, decision, count(*) AS unlocks, count(DISTINCT (tenant_id, scope, subject)) AS subjects
FROM evaluation
WHERE change_id = :change_id
GROUP BY achievement, tier, version, decision
ORDER BY achievement, tier, version, decision;

-- name: unchanged_by_change
-- Unlocks that were granted before it came into force, that stand, and about which it has decided nothing.
SELECT achievement, tier, version, count(*)
FROM unlock
WHERE granted_at < :applied_at AND contested_at IS NULL AND revoked_at IS NULL
    AND (tenant_id, scope, subject, achievement, tier, occurrence) NOT IN (
        SELECT tenant_id, scope, subject, achievement, tier, occurrence FROM evaluation WHERE change_id = :change_id)
GROUP BY achievement, tier, version
ORDER BY achievement, tier, version;

-- name: reconciled_one_by_one
SELECT
    change_id, tenant_id, scope, subject, achievement, tier, occurrence, version, decision, earned_at, event_id,
    decided_at
FROM evaluation
WHERE change_id = :change_id
ORDER BY achievement, tier, version, decision, tenant_id, scope, subject, occurrence, evaluation_id;

-- name: reconciled_of_subject
-- What changes of rules have decided about one subject, the latest first.
SELECT
    change_id, tenant_id, scope, subject, achievement, tier, occurrence, version, decision, earned_at, event_id,
    decided_at
FROM evaluation
WHERE tenant_id = :tenant_id AND scope = :scope AND subject = :subject AND change_id IS NOT NULL
    AND (:change_id::bigint IS NULL OR change_id = :change_id::bigint)
ORDER BY evaluation_id DESC
LIMIT :limit;
