-- What was deployed when, for people.

-- name: count_holders
-- Per achievement, how many subjects have it: granted, and neither contested nor revoked.
SELECT achievement, count(*)
FROM (
    SELECT DISTINCT achievement, tenant_id, scope, subject
    FROM unlock
    WHERE granted_at IS NOT NULL AND contested_at IS NULL AND revoked_at IS NULL
) AS held
GROUP BY achievement
ORDER BY achievement;

-- name: rule_set_history
-- The latest first, with the message of the change that applied each.
SELECT
    rule_set.epoch, rule_set.sources::text, encode(rule_set.hash, 'hex'), rule_set.applied_at, rule_set.applied_by,
    rule_set.change_id, coalesce(change.message, ''), change.state
FROM rule_set
LEFT JOIN change ON change.change_id = rule_set.change_id
ORDER BY rule_set.epoch DESC
LIMIT :limit OFFSET :skipped;
