-- What readers see. One statement each, so one snapshot each; nothing here writes, but for `keep_revealed`.

-- part: asked_subject
-- With its progress, if there is any.
FROM (SELECT :tenant_id::text AS tenant_id, :scope::text AS scope, :subject::text AS subject) AS asked
LEFT JOIN progress
    ON progress.tenant_id = asked.tenant_id AND progress.scope = asked.scope AND progress.subject = asked.subject
    -- use behind_progress
;

-- part: behind_progress
-- Read once, for the answer and for its mark.
CROSS JOIN LATERAL (
    SELECT
        -- use unsaved_events
        AS unsaved
    OFFSET 0
) AS behind

-- part: unlocks_of_asked
ARRAY(
    SELECT ROW(
        reward::text, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at, granted_at,
        contested_at, revoked_at, by_hand)
    FROM unlock
    WHERE unlock.tenant_id = asked.tenant_id AND unlock.scope = asked.scope AND unlock.subject = asked.subject
    ORDER BY achievement, tier, occurrence
)

-- part: revealed_to_asked
ARRAY(
    SELECT ROW(achievement, tier)
    FROM revealed
    WHERE revealed.tenant_id = asked.tenant_id AND revealed.scope = asked.scope AND revealed.subject = asked.subject
    ORDER BY achievement, tier
)

-- part: asked_is_erased
(asked.scope = 'user' AND EXISTS (
    SELECT FROM erasure WHERE erasure.tenant_id = asked.tenant_id AND erasure.user_id = asked.subject
))

-- part: mark_of_asked
-- Of all that an answer is made of, but for the rules.
md5(ROW(
    progress.stamp, progress.state, behind.unsaved,
    -- use unlocks_of_asked
    ,
    -- use revealed_to_asked
    ,
    -- use asked_is_erased
)::text)

-- name: standing_of_subject
-- Whether a user has events at all, and whether any is of types that the rules hear, is asked only where there is no
-- progress; the latest event of all only where that is the clock.
SELECT
    coalesce((SELECT max(epoch) FROM rule_set), 0) AS epoch,
    progress.stamp,
    progress.state,
    behind.unsaved,
    -- use unlocks_of_asked
    AS unlocks,
    -- use revealed_to_asked
    AS shown,
    asked.scope = 'user' AND progress.stamp IS NULL AND EXISTS (
        SELECT FROM event WHERE event.tenant_id = asked.tenant_id AND event.user_id = asked.subject
        UNION ALL
        SELECT FROM event_subject AS member
        WHERE member.tenant_id = asked.tenant_id AND member.scope = 'user' AND member.subject = asked.subject
        UNION ALL
        SELECT FROM packed_member AS member
        WHERE member.tenant_id = asked.tenant_id AND member.scope = 'user' AND member.subject = asked.subject
    ) AS known,
    asked.scope = 'user' AND progress.stamp IS NULL AND EXISTS (
        SELECT FROM event
        WHERE event.tenant_id = asked.tenant_id AND event.user_id = asked.subject AND event_type = ANY (:types::text[])
        UNION ALL
        SELECT FROM pack
        WHERE pack.tenant_id = asked.tenant_id AND pack.user_id = asked.subject
            AND pack.types && :types::text[]
    ) AS heard,
    -- use asked_is_erased
    AS erased,
    EXISTS (SELECT FROM aggregate WHERE status = 'building') AS building,
    CASE WHEN :stream_clock::boolean THEN (SELECT max(occurred_at) FROM event) END AS clock,
    -- use mark_of_asked
    AS mark
    -- use asked_subject

-- name: mark_of_subject
SELECT
    coalesce((SELECT max(epoch) FROM rule_set), 0) AS epoch,
    -- use mark_of_asked
    AS mark
    -- use asked_subject

-- name: keep_revealed
SELECT keep_revealed(:tenant_id, :scope, :subject, :achievements::text[], :tiers::text[], :now);

-- name: rarity_of_tenant
-- By scope: who is known, and who of them has earned each achievement and tier, in any occurrence; one row without an
-- achievement where nothing is earned.
WITH known AS (
    SELECT scope, count(*)::integer AS subjects
    FROM (
        SELECT scope, subject FROM progress WHERE tenant_id = :tenant_id
        UNION
        SELECT scope, subject FROM unlock WHERE tenant_id = :tenant_id
    ) AS found
    GROUP BY scope
), earned AS (
    SELECT scope, achievement, tier, count(DISTINCT subject)::integer AS subjects
    FROM unlock
    WHERE tenant_id = :tenant_id AND granted_at IS NOT NULL AND revoked_at IS NULL
        AND (by_hand OR contested_at IS NULL)
    GROUP BY scope, achievement, tier
)
SELECT known.scope, known.subjects, earned.achievement, earned.tier, earned.subjects
FROM known
LEFT JOIN earned ON earned.scope = known.scope
ORDER BY known.scope, earned.achievement, earned.tier;

-- name: decisions_so_far
-- The last decision that is there, and which transactions may still bring an earlier one: `next_xid` (modulo 2^32) lies
-- behind all that have begun to write, for it is read after the snapshot was taken. `bound` is the decision of one tenant
-- that lies so many behind another one; null where there are not as many.
SELECT
    coalesce((SELECT max(evaluation_id) FROM evaluation), 0) AS last,
    age('3'::xid)::bigint + 3 AS next_xid,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xmax,
    (
        SELECT evaluation_id
        FROM evaluation
        WHERE evaluation.tenant_id = :tenant_id AND evaluation_id > :after
        ORDER BY evaluation_id NULLS FIRST
        OFFSET :most::integer - 1
        LIMIT 1
    ) AS bound;

-- name: decisions_of_tenant
-- Behind one decision and up to another, with the unlock as it stands; what has not been granted is left out. It looks at
-- `most` decisions at most. Nothing but `evaluation_of_tenant` has their order, and unlocks are found one by one: where
-- PostgreSQL may choose, it reads those of all tenants to find the few of one.
SELECT
    decided.evaluation_id, decided.decision, decided.decided_at, unlock.unlock_id, unlock.scope, unlock.subject,
    unlock.achievement, unlock.tier, unlock.occurrence, unlock.version, unlock.earned_at, unlock.granted_at,
    unlock.reward::text AS reward, unlock.origin, unlock.revision,
    CASE
        WHEN unlock.revoked_at IS NOT NULL THEN 'revoked'
        WHEN unlock.contested_at IS NOT NULL THEN 'contested'
        ELSE 'granted'
    END AS status
FROM (
    SELECT *
    FROM evaluation
    WHERE evaluation.tenant_id = :tenant_id AND evaluation.evaluation_id > :after
    ORDER BY evaluation.evaluation_id NULLS FIRST
    LIMIT :most
) AS decided
CROSS JOIN LATERAL (
    SELECT *
    FROM unlock
    WHERE unlock.tenant_id = decided.tenant_id AND unlock.scope = decided.scope AND unlock.subject = decided.subject
        AND unlock.achievement = decided.achievement AND unlock.tier = decided.tier
        AND unlock.occurrence = decided.occurrence
    OFFSET 0
) AS unlock
WHERE decided.evaluation_id <= :until AND decided.decision = ANY (:kinds::text[]) AND unlock.granted_at IS NOT NULL
ORDER BY decided.evaluation_id NULLS FIRST
LIMIT :limit;

-- name: is_erased
SELECT EXISTS (SELECT FROM erasure WHERE tenant_id = :tenant_id AND user_id = :user_id);

-- name: marks_of_subjects
-- As `mark_of_subject` has it, of many at once.
SELECT
    asked.tenant_id,
    asked.scope,
    asked.subject,
    -- use mark_of_asked
    AS mark
FROM unnest(:tenant_ids::text[], :scopes::text[], :subjects::text[]) AS asked (tenant_id, scope, subject)
LEFT JOIN progress
    ON progress.tenant_id = asked.tenant_id AND progress.scope = asked.scope AND progress.subject = asked.subject
    -- use behind_progress
;

-- name: counted_events
-- What workers have counted since a minute. They write it behind their commits, once a second at most: where it has
-- grown, standings of that tenant may have changed.
SELECT tenant_id, sum(events)::bigint AS events FROM minute WHERE minute >= :since::timestamptz GROUP BY tenant_id;

-- name: replica_position
-- Readers without more rights see of the receiver that it runs, and no more.
SELECT
    pg_is_in_recovery() AS replica,
    EXISTS (SELECT FROM pg_stat_wal_receiver) AS following,
    pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')::bigint AS received,
    pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint AS replayed,
    extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::double precision AS since_commit;
