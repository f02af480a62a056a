-- What the console shows. A null list of tenants means all. Nothing here writes, but for actions.

-- name: look
-- The planner may choose: these read much of a table, where all other statements go by key. What takes too long ends.
SELECT
    set_config('transaction_read_only', 'on', true), set_config('statement_timeout', :milliseconds::text, true),
    set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true),
    set_config('enable_hashjoin', 'on', true), set_config('enable_mergejoin', 'on', true),
    set_config('enable_material', 'on', true), set_config('plan_cache_mode', 'auto', true);

-- name: pulse
-- One row: the minutes since an instant, the workers, and what waits to be announced. Where the whole is asked for, also
-- the sums from midnight up to that instant, and the dead letters that wait.
SELECT
    ARRAY(
        SELECT ROW(
            minute, tenant_id, region, events, duplicates, late, erased, unlocks, backfilled, dead::text,
            array_to_string(latency, ','))
        FROM minute
        WHERE minute >= :since
        ORDER BY minute, tenant_id, region
    ) AS minutes,
    CASE WHEN :whole::boolean THEN ARRAY(
        SELECT ROW(
            tenant_id, sum(events)::bigint, sum(duplicates)::bigint, sum(unlocks)::bigint, sum(backfilled)::bigint)
        FROM minute
        WHERE minute >= :midnight AND minute < :since
        GROUP BY tenant_id
        ORDER BY tenant_id
    ) END AS sums,
    ARRAY(
        SELECT ROW(host, release, started_at, seen_at, rules_epoch, messages, retries, stopped)
        FROM worker
        WHERE seen_at >= :seen_since::timestamptz
        ORDER BY started_at, worker_id
        LIMIT 200
    ) AS workers,
    ARRAY(
        SELECT ROW(tenant_id, count(*), min(granted_at))
        FROM (
            SELECT tenant_id, granted_at
            FROM unlock
            WHERE published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL
            LIMIT 10001
        ) AS waiting
        GROUP BY tenant_id
        ORDER BY tenant_id
    ) AS outbox,
    CASE WHEN :whole::boolean THEN ARRAY(
        SELECT ROW(reason,
        -- use tenant_token
        , count(*), max(died_at))
        FROM dead_letter
        WHERE replayed_at IS NULL AND erased_at IS NULL
        GROUP BY reason,
        -- use tenant_token
        ORDER BY reason,
        -- use tenant_token
    ) END AS letters,
    coalesce((SELECT max(epoch) FROM rule_set), 0) AS epoch;

-- name: tenants_in_books
-- One index search for each.
WITH RECURSIVE found (tenant_id) AS (
    SELECT min(tenant_id) FROM event
    UNION ALL
    SELECT (SELECT min(tenant_id) FROM event WHERE event.tenant_id > found.tenant_id)
    FROM found
    WHERE found.tenant_id IS NOT NULL
)
SELECT tenant_id
FROM found
WHERE tenant_id IS NOT NULL AND (:tenants::text[] IS NULL OR tenant_id = ANY (:tenants))
LIMIT :limit;

-- name: sample_users
-- A user of each tenant to begin with: who has most unlocks, or else anyone with an event. It counts all unlocks of these
-- tenants, and is for private servers.
SELECT
    tenant.id AS tenant_id,
    coalesce(
        (
            SELECT subject
            FROM unlock
            WHERE tenant_id = tenant.id AND scope = 'user'
            GROUP BY subject
            ORDER BY count(*) DESC, subject
            LIMIT 1
        ),
        (SELECT user_id FROM event WHERE tenant_id = tenant.id LIMIT 1)
    ) AS user_id
FROM unnest(:tenants::text[]) AS tenant (id)
ORDER BY 1;

-- name: scopes_of_tenant
-- How many subjects of each scope have progress, and how many unlocks they have.
SELECT scope, count(*)::bigint AS subjects, max(updated_at) AS last_at
FROM progress
WHERE tenant_id = :tenant_id
GROUP BY scope
ORDER BY scope;

-- name: unlocks_of_tenant
SELECT
    scope,
    count(*) FILTER (WHERE granted_at IS NOT NULL AND revoked_at IS NULL)::bigint AS granted,
    count(*) FILTER (WHERE contested_at IS NOT NULL AND revoked_at IS NULL)::bigint AS contested,
    count(*) FILTER (WHERE revoked_at IS NOT NULL)::bigint AS revoked
FROM unlock
WHERE tenant_id = :tenant_id
GROUP BY scope
ORDER BY scope;

-- name: subjects_by_name
-- Subjects of a scope whose name begins with a text, by name.
SELECT
    subject, updated_at,
    (
        SELECT count(*)
        FROM unlock
        WHERE unlock.tenant_id = progress.tenant_id AND unlock.scope = progress.scope
            AND unlock.subject = progress.subject AND granted_at IS NOT NULL AND revoked_at IS NULL
    )::bigint AS unlocks
FROM progress
WHERE tenant_id = :tenant_id AND scope = :scope AND subject >= :start AND starts_with(subject, :start)
ORDER BY subject
LIMIT :limit;

-- name: latest_events_of_user
SELECT event_id, event_type, occurred_at, received_at, source, payload
FROM event
WHERE tenant_id = :tenant_id AND user_id = :user_id
ORDER BY bin_of(occurred_at) DESC, occurred_at DESC, event_id DESC
LIMIT :limit;

-- name: decisions_of_subject
-- The latest first.
SELECT decided_at, achievement, tier, occurrence, version, decision, earned_at, event_id, actor, reason
FROM evaluation
WHERE tenant_id = :tenant_id AND scope = :scope AND subject = :subject
ORDER BY evaluation_id DESC
LIMIT :limit;

-- name: known_subjects
SELECT scope, count(*)::bigint AS subjects
FROM (
    SELECT tenant_id, scope, subject FROM progress WHERE :tenants::text[] IS NULL OR tenant_id = ANY (:tenants)
    UNION
    SELECT tenant_id, scope, subject FROM unlock WHERE :tenants::text[] IS NULL OR tenant_id = ANY (:tenants)
) AS found
GROUP BY scope
ORDER BY scope;

-- name: unlocks_by_achievement
SELECT
    scope, achievement, tier,
    count(DISTINCT (tenant_id, subject)) FILTER (
        WHERE granted_at IS NOT NULL AND revoked_at IS NULL AND (by_hand OR contested_at IS NULL))::bigint AS earned,
    count(*) FILTER (WHERE granted_at IS NOT NULL AND revoked_at IS NULL)::bigint AS unlocks,
    count(*) FILTER (WHERE granted_at IS NULL AND revoked_at IS NULL)::bigint AS settling,
    count(*) FILTER (WHERE contested_at IS NOT NULL AND revoked_at IS NULL)::bigint AS contested,
    count(*) FILTER (WHERE revoked_at IS NOT NULL)::bigint AS revoked,
    max(granted_at) AS last_at
FROM unlock
WHERE :tenants::text[] IS NULL OR tenant_id = ANY (:tenants)
GROUP BY scope, achievement, tier
ORDER BY scope, achievement, tier;

-- name: holders_of_achievement
-- Those who were granted it last come first.
SELECT tenant_id, scope, subject, tier, occurrence, version, status, earned_at, granted_at, by_hand
FROM v_unlock
WHERE achievement = :achievement AND (:tenants::text[] IS NULL OR tenant_id = ANY (:tenants))
ORDER BY granted_at DESC NULLS FIRST, tenant_id, subject, tier, occurrence
LIMIT :limit;

-- name: states_of_scope
-- Some subjects with what the plan of users has to fold on top of the stored state.
SELECT tenant_id, scope, subject, stamp, state,
    -- use unsaved_events
    AS unsaved
FROM progress
WHERE scope = :scope AND (:tenants::text[] IS NULL OR tenant_id = ANY (:tenants))
ORDER BY tenant_id, subject
LIMIT :limit;

-- name: unlocks_of_some
SELECT tenant_id, subject, tier, occurrence
FROM unlock
WHERE achievement = :achievement AND scope = :scope
    AND (tenant_id, subject) IN (SELECT * FROM unnest(:subjects.tenant_id::text[], :subjects.subject::text[]));

-- name: rule_sets
-- The latest first, with when the one behind it was applied.
SELECT
    epoch, applied_at, applied_by, encode(substr(hash, 1, 6), 'hex') AS hash, jsonb_array_length(sources) AS files,
    lead(applied_at) OVER (ORDER BY epoch) AS until
FROM rule_set
ORDER BY epoch DESC
LIMIT :limit;

-- name: rule_sets_to
-- One of them and the one before it.
SELECT epoch, sources::text AS sources, hash, applied_at, applied_by
FROM rule_set
WHERE epoch <= :epoch
ORDER BY epoch DESC
LIMIT 2;

-- name: versions_of_rules
-- Every version ever deployed, without its text.
SELECT achievement, version, starts_at, ends_at, epoch, applied_at, applied_by, retired_at
FROM rule_version
WHERE :achievement::text IS NULL OR achievement = :achievement
ORDER BY achievement, version;

-- name: aggregates_building
SELECT scope FROM aggregate WHERE status = 'building' ORDER BY scope;

-- name: decisions_between
-- By kind; of grants, those that a backfill made are counted apart.
SELECT
    evaluation.achievement,
    CASE WHEN decision = 'granted' THEN coalesce(unlock.origin, 'live') ELSE decision END AS what,
    count(*)::bigint AS decisions
FROM evaluation
LEFT JOIN unlock
    ON evaluation.decision = 'granted'
    AND unlock.tenant_id = evaluation.tenant_id AND unlock.scope = evaluation.scope
    AND unlock.subject = evaluation.subject AND unlock.achievement = evaluation.achievement
    AND unlock.tier = evaluation.tier AND unlock.occurrence = evaluation.occurrence
WHERE decided_at >= :since::timestamptz AND decided_at < :until::timestamptz
    AND (:tenants::text[] IS NULL OR evaluation.tenant_id = ANY (:tenants))
GROUP BY 1, 2
ORDER BY 1, 2;

-- name: unlocks_to_act_on
-- One unlock, by its id.
SELECT unlock_id, tenant_id, scope, subject, achievement, tier, occurrence
FROM unlock
WHERE unlock_id = :unlock_id AND revoked_at IS NULL;

-- part: tenant_token
-- That of the subject that a letter came on; '' where the subject is of no tenant, such as `events.raw`.
(CASE
    WHEN starts_with(nats_subject, :prefix::text || '.') AND nats_subject <> :prefix::text || '.raw'
        THEN split_part(substr(nats_subject, length(:prefix::text) + 2), '.', 1)
    ELSE ''
END)

-- part: letters_of_tenants
-- By tokens of NATS subjects: those that came on a subject of these tenants and name no user of another one.
(:tokens::text[] IS NULL OR (
    names_read AND erased_at IS NULL
    AND
    -- use tenant_token
    = ANY (array_remove(:tokens, ''))
    AND NOT EXISTS (
        SELECT
        FROM dead_letter_user AS named
        WHERE named.dead_letter_id = dead_letter.dead_letter_id AND named.tenant_token <> ''
            AND named.tenant_token <> ALL (:tokens))
))

-- name: letters_counted
SELECT
    reason,
    -- use tenant_token
    AS tenant_token, count(*)::bigint AS letters,
    max(died_at) AS last_at
FROM dead_letter
WHERE replayed_at IS NULL AND
    -- use letters_of_tenants
GROUP BY 1, 2
ORDER BY 3 DESC, 1, 2
LIMIT :limit;

-- name: letters_shown
-- Newest first, in pages by id; the bodies only as far as a table shows them.
SELECT
    dead_letter_id, stream, stream_seq, element, reason, detail, nats_subject, headers::text AS headers,
    substr(body, 1, 200) AS body, deliveries, died_at, replayed_at, died_again_as, erased_at
FROM dead_letter
WHERE dead_letter_id < :before AND (:reason::text IS NULL OR reason = :reason)
    AND (:replayed::boolean OR replayed_at IS NULL)
    AND (:tenant_token::text IS NULL
        OR :tenant_token =
        -- use tenant_token
        )
    AND
    -- use letters_of_tenants
ORDER BY dead_letter_id DESC
LIMIT :limit;

-- name: letter_shown
SELECT
    dead_letter_id, stream, stream_seq, element, reason, detail, nats_subject, headers::text AS headers, body,
    deliveries, died_at, replayed_at, died_again_as, erased_at
FROM dead_letter
WHERE dead_letter_id = :dead_letter_id AND
    -- use letters_of_tenants
;

-- name: actions
-- The latest first.
SELECT action_id, begun_at, actor, kind, tenant_id, target, reason, outcome, detail, ended_at
FROM action
WHERE :tenants::text[] IS NULL OR tenant_id = ANY (:tenants)
ORDER BY action_id DESC
LIMIT :limit;

-- name: begin_action
INSERT INTO action (begun_at, actor, kind, tenant_id, target, reason)
VALUES (:now, :actor, :kind, :tenant_id, :target, :reason)
RETURNING action_id;

-- name: end_action
UPDATE action SET outcome = :outcome, detail = :detail, ended_at = :now WHERE action_id = :action_id;
