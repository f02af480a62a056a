-- The mirror: what transactions have brought since the run before, in one snapshot (repeatable read).
--
-- Rows are chosen by the transaction that wrote them, for nothing else tells which rows are new: numbers and clocks are
-- read while transactions are under way, and those end in another order. A run takes the rows of transactions from the
-- bound of the run before up to the oldest one that is still under way, which is its own bound: all before that have
-- ended, so nothing is missing there and nothing comes. `age` counts back from a moment that holds for one transaction.

-- name: mirror_settings
-- These tables are read as wholes. One process of the server does it: the worker needs the others.
SELECT
    set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on', true),
    set_config('enable_mergejoin', 'on', true), set_config('enable_material', 'on', true),
    set_config('plan_cache_mode', 'force_custom_plan', true),
    set_config('max_parallel_workers_per_gather', '0', true);

-- name: mirror_bound
-- The bound of this snapshot, what `age` counts back from (modulo 2^32), which database this is, and the time.
SELECT
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS bound,
    age('3'::xid)::bigint + 3 AS next_xid,
    (SELECT system_identifier FROM pg_control_system())::text || '/' || (
        SELECT oid FROM pg_database WHERE datname = current_database())::text AS database,
    clock_timestamp() AS now;

-- name: mirror_alone
-- Whether this is the only run for a place that has no lock of its own; the end of the transaction gives it up.
SELECT pg_try_advisory_xact_lock(:mutex::bigint);

-- part: mirror_window
-- By the age of the row's transaction; a whole copy takes what is so old that its age has turned negative, too. In later
-- runs nearly all rows are too old, and are left out by the first comparison.
(age_of <= :upto::integer OR :whole::boolean) AND age_of > :after::integer OR age_of < 0 AND :whole::boolean

-- name: mirror_event
SELECT
    tenant_id, user_id, event_type, occurred_at, utc_offset, received_at, published_at, region, source,
    event_id, payload, stream_seq
FROM (SELECT event.*, age(xmin) AS age_of FROM event) AS row_of
WHERE (
    -- use mirror_window
    )
    AND (:tenant_id::text IS NULL OR tenant_id = :tenant_id::text);

-- name: mirror_packs
-- Archived events of packs that were written since. The mirror has nearly all of them already.
SELECT tenant_id, user_id, body
FROM (SELECT pack.*, age(xmin) AS age_of FROM pack) AS row_of
WHERE (
    -- use mirror_window
    )
    AND (:tenant_id::text IS NULL OR tenant_id = :tenant_id::text);

-- name: mirror_evaluation
SELECT
    tenant_id, scope, subject, CASE WHEN scope = 'user' THEN subject END AS user_id, achievement, nullif(tier, ''),
    nullif(occurrence, ''), version, decision, final, earned_at, nullif(event_id, ''), decided_at, actor, reason,
    evaluation_id
FROM (SELECT evaluation.*, age(xmin) AS age_of FROM evaluation) AS row_of
WHERE (
    -- use mirror_window
    )
    AND (:tenant_id::text IS NULL OR tenant_id = :tenant_id::text);

-- name: mirror_unlock
-- Decisions, each with the number of the revision that it made; and announcements, which are marked in the unlock.
WITH fresh AS (
    SELECT tenant_id, scope, subject, achievement, tier, occurrence, evaluation_id
    FROM (SELECT evaluation.*, age(xmin) AS age_of FROM evaluation) AS row_of
    WHERE (
        -- use mirror_window
        )
        AND (:tenant_id::text IS NULL OR tenant_id = :tenant_id::text)
), numbered AS (
    SELECT judged.*, count(*) FILTER (WHERE granted_once) OVER so_far AS revision
    FROM (
        SELECT evaluation.*, bool_or(decision IN ('granted', 'granted_by_hand')) OVER so_far AS granted_once
        FROM evaluation
        WHERE (tenant_id, scope, subject, achievement, tier, occurrence) IN (
            SELECT tenant_id, scope, subject, achievement, tier, occurrence FROM fresh)
        WINDOW so_far AS (
            PARTITION BY tenant_id, scope, subject, achievement, tier, occurrence ORDER BY evaluation_id)
    ) AS judged
    WINDOW so_far AS (PARTITION BY tenant_id, scope, subject, achievement, tier, occurrence ORDER BY evaluation_id)
)
SELECT
    unlock.unlock_id, change.tenant_id, change.scope, change.subject,
    CASE WHEN change.scope = 'user' THEN change.subject END AS user_id, change.achievement, nullif(change.tier, ''),
    nullif(change.occurrence, ''), greatest(change.revision, 1), change.decision,
    CASE
        WHEN change.decision IN ('settling', 'withdrawn', 'contested', 'revoked') THEN change.decision
        WHEN change.granted_once THEN 'granted'
        ELSE 'settling'
    END,
    change.version, change.final, change.earned_at, nullif(change.event_id, ''), change.decided_at,
    CASE WHEN change.granted_once THEN unlock.granted_at END, NULL::timestamptz, unlock.origin, unlock.reward::text,
    change.actor, change.reason, change.evaluation_id
FROM numbered AS change
JOIN fresh ON fresh.evaluation_id = change.evaluation_id
LEFT JOIN unlock
    ON change.decision <> 'withdrawn' AND unlock.tenant_id = change.tenant_id AND unlock.scope = change.scope
    AND unlock.subject = change.subject AND unlock.achievement = change.achievement AND unlock.tier = change.tier
    AND unlock.occurrence = change.occurrence
UNION ALL
SELECT
    unlock_id, tenant_id, scope, subject, CASE WHEN scope = 'user' THEN subject END, achievement, nullif(tier, ''),
    nullif(occurrence, ''), 1, 'announced', 'announced', version, NULL, earned_at, nullif(event_id, ''), published_at,
    granted_at, published_at, origin, reward::text, NULL, NULL, NULL
FROM (SELECT unlock.*, age(xmin) AS age_of FROM unlock WHERE published_at IS NOT NULL AND NOT silent) AS row_of
WHERE (
    -- use mirror_window
    )
    AND (:tenant_id::text IS NULL OR tenant_id = :tenant_id::text);

-- name: mirror_failed_event
-- Where it was sent again, that is a row of its own. What names a user that was erased is left out.
WITH letter AS (
    SELECT row_of.*
    FROM (SELECT dead_letter.*, age(xmin) AS age_of FROM dead_letter) AS row_of
    WHERE (
        -- use mirror_window
        )
        AND (:tenant_token::text IS NULL OR split_part(nats_subject, '.', :tenant_place::integer) = :tenant_token::text)
), happened AS (
    SELECT letter.*, 'died' AS change, died_at AS at FROM letter
    UNION ALL
    SELECT letter.*, 'replayed', replayed_at FROM letter WHERE replayed_at IS NOT NULL
)
SELECT
    dead_letter_id, change, reason, CASE WHEN erased_at IS NULL THEN detail END,
    CASE WHEN erased_at IS NULL THEN nats_subject END, stream, stream_seq, element, octet_length(body), deliveries, at
FROM happened;

-- name: mirror_erasures
-- Users that were erased since; also those whose tombstone was lifted before a run saw it.
SELECT DISTINCT tenant_id, user_id
FROM (
    SELECT tenant_id, user_id, age(xmin) AS age_of FROM erasure
    UNION ALL
    SELECT tenant_id, user_id, age(xmin) FROM lifted_erasure
) AS row_of
WHERE
    -- use mirror_window
ORDER BY tenant_id, user_id;

-- name: mirror_renamed
-- Events in which pseudonyms have taken the place of erased users since.
SELECT tenant_id, event_id
FROM (SELECT renamed_event.*, age(xmin) AS age_of FROM renamed_event) AS row_of
WHERE
    -- use mirror_window
ORDER BY tenant_id, event_id;

-- name: mirror_renamed_events
-- Those of some events that are in the ledger or the archive under pseudonyms.
SELECT tenant_id, event_id
FROM renamed_event
JOIN unnest(:tenant_ids::text[], :event_ids::text[]) AS asked (tenant_id, event_id) USING (tenant_id, event_id);

-- name: mirror_letters
-- Dead letters that may be read.
SELECT dead_letter_id FROM dead_letter WHERE erased_at IS NULL;

-- name: mirror_progress
-- Of subjects that were written since, or have events that are not written yet.
SELECT tenant_id, scope, subject, stamp, state, unsaved
FROM (
    SELECT progress.*, age(xmin) AS age_of,
        -- use unsaved_events
        AS unsaved
    FROM progress
    WHERE :tenant_id::text IS NULL OR tenant_id = :tenant_id::text
) AS row_of
WHERE (
    -- use mirror_window
    ) OR cardinality(unsaved) > 0;

-- name: events_up_to
-- How many events the ledger has, counted up to `most`.
SELECT count(*)::bigint FROM (SELECT 1 FROM event LIMIT :most::bigint) AS first_events;
