-- Private databases of `ach dev`: their history is judged anew, as if the rules had always been others.

-- name: forget_decisions
-- All but what came in, who was erased, and which rules were in force: epochs go on, so that no reader takes two rule sets
-- for one. Holds the partitions first, as `hold_all_partitions` does, and makes what workers remember void.
WITH held AS (UPDATE partition SET generation = generation + 1, owner = '' RETURNING partition_id),
    no_progress AS (DELETE FROM progress),
    no_checkpoint AS (DELETE FROM checkpoint),
    no_unlock AS (DELETE FROM unlock),
    no_correction AS (DELETE FROM correction),
    no_evaluation AS (DELETE FROM evaluation),
    no_reveal AS (DELETE FROM revealed),
    no_version AS (DELETE FROM rule_version)
SELECT count(*) FROM held;

-- name: supported_unlocks
SELECT tenant_id, subject, achievement, tier, occurrence, earned_at
FROM v_unlock
WHERE status IN ('settling', 'granted', 'silent', 'announced')
ORDER BY tenant_id, subject, achievement, tier, occurrence;
