-- Counts by the minute, and the workers that count.

-- name: add_minutes
-- Sorted by key; what several workers count in one minute adds up.
INSERT INTO minute (
    minute, tenant_id, region, events, duplicates, late, erased, unlocks, backfilled, dead, latency)
SELECT
    minute, tenant_id, region, events, duplicates, late, erased, unlocks, backfilled, dead::jsonb,
    string_to_array(latency, ',')::bigint[]
FROM unnest(
    :minutes.minute::timestamptz[], :minutes.tenant_id::text[], :minutes.region::text[], :minutes.events::bigint[],
    :minutes.duplicates::bigint[], :minutes.late::bigint[], :minutes.erased::bigint[], :minutes.unlocks::bigint[],
    :minutes.backfilled::bigint[], :minutes.dead::text[], :minutes.latency::text[]) AS rows (
    minute, tenant_id, region, events, duplicates, late, erased, unlocks, backfilled, dead, latency)
ON CONFLICT (minute, tenant_id, region) DO UPDATE SET
    events = minute.events + excluded.events,
    duplicates = minute.duplicates + excluded.duplicates,
    late = minute.late + excluded.late,
    erased = minute.erased + excluded.erased,
    unlocks = minute.unlocks + excluded.unlocks,
    backfilled = minute.backfilled + excluded.backfilled,
    dead = (
        SELECT coalesce(jsonb_object_agg(reason, letters), '{}')
        FROM (
            SELECT reason, sum(letters::bigint) AS letters
            FROM (
                SELECT * FROM jsonb_each_text(minute.dead)
                UNION ALL
                SELECT * FROM jsonb_each_text(excluded.dead)
            ) AS both_sides (reason, letters)
            GROUP BY reason
        ) AS summed
    ),
    latency = ARRAY(
        SELECT coalesce(had, 0) + coalesce(more, 0)
        FROM unnest(minute.latency, excluded.latency) WITH ORDINALITY AS buckets (had, more, place)
        ORDER BY place
    );

-- name: forget_minutes
DELETE FROM minute WHERE minute < :before;

-- name: worker_is_here
-- Returns the epoch in force; null where there is none.
INSERT INTO worker (
    worker_id, host, release, started_at, seen_at, rules_epoch, messages, retries, stopped, loaded_change, pending)
VALUES (
    :worker_id, :host, :release, :started_at, :now, :rules_epoch, :messages, :retries, :stopped, :loaded_change,
    :pending)
ON CONFLICT (worker_id) DO UPDATE SET
    seen_at = excluded.seen_at,
    rules_epoch = excluded.rules_epoch,
    messages = excluded.messages,
    retries = excluded.retries,
    stopped = excluded.stopped,
    loaded_change = excluded.loaded_change,
    pending = excluded.pending
RETURNING (SELECT max(epoch) FROM rule_set);

-- name: forget_workers
DELETE FROM worker WHERE seen_at < :before;

-- name: listed_workers
SELECT worker_id, host, release, started_at, seen_at, rules_epoch, messages, retries, stopped
FROM worker
ORDER BY started_at DESC, worker_id;
