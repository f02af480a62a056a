-- What waits, for metrics. Nothing here writes, and every count has an end.

-- name: outbox_size
-- The oldest is exact; of each kind 100,000 are counted.
SELECT
    (SELECT count(*) FROM (
        SELECT FROM unlock
        WHERE published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL
        LIMIT 100000
    ) AS waiting) AS unlocks,
    (
        SELECT granted_at
        FROM unlock
        WHERE published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL
        ORDER BY granted_at
        LIMIT 1
    ) AS oldest_unlock_at,
    (SELECT count(*) FROM (SELECT FROM correction LIMIT 100000) AS waiting) AS corrections,
    (SELECT decided_at FROM correction ORDER BY decided_at LIMIT 1) AS oldest_correction_at;

-- name: letters_that_wait
-- Of each reason 10,000 are counted.
SELECT reason, (
    SELECT count(*) FROM (
        SELECT FROM dead_letter
        WHERE dead_letter.reason = asked.reason AND replayed_at IS NULL AND erased_at IS NULL
        LIMIT 10000
    ) AS waiting
) AS letters
FROM unnest(:reasons::text[]) AS asked (reason);

-- name: workers_seen
-- By host and start; those of the last day.
SELECT stopped, seen_at FROM worker;

-- name: pages_of_progress
-- As the planner knows it. Of a table that is divided, those of its partitions.
SELECT sum(greatest(relpages, 0))::integer
FROM pg_class
WHERE relkind = 'r' AND (
    oid = 'progress'::regclass OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'progress'::regclass));

-- name: states_of_scope_by_stamp
-- The same blocks each time, so that two counts can be compared.
SELECT
    count(*) FILTER (WHERE stamp = :stamp) AS current,
    count(*) FILTER (WHERE stamp <> :stamp) AS stale
FROM progress TABLESAMPLE SYSTEM (:percent::real) REPEATABLE (0)
WHERE scope = :scope;

-- name: grants_between
-- The latest of each hour.
SELECT achievement, max(decided_at) AS at
FROM evaluation
WHERE decided_at >= :since AND decided_at < :until AND decision = 'granted'
GROUP BY achievement, floor(extract(epoch FROM decided_at) / 3600)
ORDER BY achievement, at;
