-- A batch of which everything is known beforehand.

-- name: pasts_of_users
-- What users are folded anew from whose late event may move a grant, in one look and without a lock: each one's last
-- checkpoint before it that is of plan $6, the events of types $5 behind that, of which $7 are read at most, and the unlocks.
SELECT
    asked.n, latest.mark_at, latest.mark_id, latest.state,
    ARRAY(
        SELECT ROW(tenant_id, event_id, event_type, user_id, occurred_at, utc_offset, payload)
        FROM event
        WHERE event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id
            AND (event.occurred_at, event.event_id) > (coalesce(latest.mark_at, '-infinity'), coalesce(latest.mark_id, ''))
            AND event_type = ANY ($5::text[])
        ORDER BY occurred_at, event_id
        LIMIT $7
    ),
    ARRAY(
        SELECT ROW(
            tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
            granted_at, contested_at, revoked_at, by_hand)
        FROM unlock
        WHERE unlock.tenant_id = asked.tenant_id AND unlock.scope = 'user' AND unlock.subject = asked.user_id
        ORDER BY achievement, tier, occurrence
    )
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[])
    WITH ORDINALITY AS asked (tenant_id, user_id, late_at, late_id, n)
LEFT JOIN LATERAL (
    SELECT mark_at, mark_id, stamp, state
    FROM checkpoint
    WHERE checkpoint.tenant_id = asked.tenant_id AND checkpoint.scope = 'user'
        AND checkpoint.subject = asked.user_id
        AND (checkpoint.mark_at, checkpoint.mark_id) < (asked.late_at, asked.late_id)
    ORDER BY mark_at DESC, mark_id DESC
    LIMIT 1
) AS latest ON latest.stamp = $6;

-- name: commit_fast
-- All of it in one statement, and a transaction by itself: the partitions are as we left them, the events are new, the
-- unlocks are first ones. Where one of that is not so, nothing happens at all. An event that was there is a violation of
-- its key: to be ready for one (ON CONFLICT) takes a quarter of what inserting does. Of the rest a text that cannot be read
-- as a number ends the statement, and says what it was. CASE asks in this order, which also locks the partitions before
-- anything is written; what nobody asks for is done last.
WITH held AS (
    UPDATE partition SET generation = generation + 1
    WHERE partition_id = ANY ($1::integer[]) AND generation = ($2::bigint[])[array_position($1, partition_id)]
        AND owner = $3 AND rules_epoch = $4::bigint
    RETURNING 1
), recorded AS (
    -- use insert_new_events from $5
), saved AS (
    -- use upsert_progress from $9
), pruned AS (
    -- use prune_checkpoints from $27
), kept AS (
    -- use insert_checkpoints from $20
), new AS (
    -- use insert_unlocks from $32
), decided AS (
    -- use insert_decisions from $47
), before AS (
    -- use rows_to_amend from $54
), amended AS (
    -- use amend_rows from $54
), corrected AS (
    -- use correct_amended from $59
), noted AS (
    -- use insert_evaluations from $60
), forgotten AS (
    -- use forget_checkpoints from $49
)
SELECT CASE
    WHEN (SELECT count(*) FROM held) < cardinality($1::integer[])
        THEN ('overtaken: partitions ' || (SELECT count(*) FROM held))::integer
    WHEN (SELECT count(*) FROM new) < cardinality($38::uuid[])
        THEN ('overtaken: unlocks ' || (SELECT count(*) FROM new))::integer
    WHEN (SELECT count(*) FROM amended) < cardinality($54::uuid[])
        THEN ('overtaken: amended ' || (SELECT count(*) FROM amended))::integer
    ELSE 0
END;
