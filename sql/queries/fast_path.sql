-- The fast path: a batch whose outcome is known before it is written.

-- part: unlocks_of_late
ARRAY(
        SELECT ROW(
            tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
            granted_at, contested_at, revoked_at, by_hand)
        FROM unlock
        WHERE unlock.tenant_id = asked.tenant_id AND unlock.scope = 'user' AND unlock.subject = asked.user_id
        ORDER BY achievement, tier, occurrence
    )

-- part: is_archived_behind
EXISTS (
        SELECT
        FROM pack
        WHERE pack.tenant_id = asked.tenant_id AND pack.user_id = asked.user_id
            AND pack.last_at >= coalesce(latest.mark_at, '-infinity')
    )

-- part: is_archived_behind_in_roles
EXISTS (
        SELECT
        FROM (
            SELECT asked.user_id
            UNION ALL
            SELECT member.user_id
            FROM packed_member AS member
            WHERE member.tenant_id = asked.tenant_id AND member.scope = 'user' AND member.subject = asked.user_id
        ) AS holder
        JOIN pack ON pack.tenant_id = asked.tenant_id AND pack.user_id = holder.user_id
            AND pack.last_at >= coalesce(latest.mark_at, '-infinity')
    )

-- part: asked_with_checkpoint
FROM unnest(
    :positions.tenant_id::text[], :positions.subject::text[], :positions.at::timestamptz[],
    :positions.id::text[])
    WITH ORDINALITY AS asked (tenant_id, user_id, late_at, late_id, n)
LEFT JOIN LATERAL (
    SELECT mark_at, mark_id, stamp, state
    FROM checkpoint
    WHERE checkpoint.tenant_id = asked.tenant_id AND checkpoint.scope = 'user'
        AND checkpoint.subject = asked.user_id
        AND (checkpoint.mark_at, checkpoint.mark_id) < (asked.late_at, asked.late_id)
    ORDER BY mark_at DESC, mark_id DESC
    LIMIT 1
) AS latest ON latest.stamp = :stamp

-- name: pasts_of_users
-- The data to fold users again after a late event that may move a grant, in one read and without a lock: each user's
-- last checkpoint of this plan before it, whether later events may be archived, at most `limit` of the others of these
-- types, and the unlocks.
SELECT
    asked.n, latest.mark_at, latest.mark_id, latest.state,
    -- use is_archived_behind
    AS archived,
    ARRAY(
        SELECT ROW(tenant_id, event_id, event_type, user_id, occurred_at, utc_offset, payload)
        FROM event
        WHERE event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id
            AND bin_of(event.occurred_at) >= bin_of(coalesce(latest.mark_at, '-infinity'))
            AND (event.occurred_at, event.event_id) > (coalesce(latest.mark_at, '-infinity'), coalesce(latest.mark_id, ''))
            AND event_type = ANY (:types::text[])
        ORDER BY bin_of(occurred_at), occurred_at, event_id
        LIMIT :limit
    ),
    -- use unlocks_of_late
    -- use asked_with_checkpoint
;

-- name: pasts_of_users_in_roles
-- The same with the events that name a user beside the one who did them.
SELECT
    asked.n, latest.mark_at, latest.mark_id, latest.state,
    -- use is_archived_behind_in_roles
    AS archived,
    ARRAY(
        SELECT ROW(tenant_id, event_id, event_type, user_id, occurred_at, utc_offset, payload)
        FROM (
            SELECT tenant_id, event_id, event_type, user_id, occurred_at, utc_offset, payload
            FROM event
            WHERE event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id
                AND bin_of(event.occurred_at) >= bin_of(coalesce(latest.mark_at, '-infinity'))
                AND (event.occurred_at, event.event_id)
                    > (coalesce(latest.mark_at, '-infinity'), coalesce(latest.mark_id, ''))
            UNION ALL
            SELECT event.tenant_id, event.event_id, event_type, user_id, event.occurred_at, utc_offset, payload
            FROM event_subject AS member
            JOIN LATERAL
                -- use event_of_member
            WHERE member.tenant_id = asked.tenant_id AND member.scope = 'user' AND member.subject = asked.user_id
                AND (member.occurred_at, member.event_id)
                    > (coalesce(latest.mark_at, '-infinity'), coalesce(latest.mark_id, ''))
        ) AS event
        WHERE event_type = ANY (:types::text[])
        ORDER BY occurred_at, event_id
        LIMIT :limit
    ),
    -- use unlocks_of_late
    -- use asked_with_checkpoint
;

-- part: held_and_recorded
WITH held AS (
    UPDATE partition SET generation = generation + 1
    WHERE partition_id = ANY (:partitions::integer[])
        AND generation = (:generations::bigint[])[array_position(:partitions::integer[], partition_id)]
        AND owner = :owner AND rules_epoch = :epoch::bigint
    RETURNING 1
), recorded AS (
    -- use insert_new_events
),

-- part: written_fast
saved AS (
    -- use upsert_progress
), pruned AS (
    -- use prune_checkpoints
), kept AS (
    -- use insert_checkpoints
), new AS (
    -- use insert_unlocks
), decided AS (
    -- use insert_decisions
), before AS (
    -- use rows_to_amend
), amended AS (
    -- use amend_rows
), corrected AS (
    -- use correct_amended
), noted AS (
    -- use insert_evaluations
), forgotten AS (
    -- use forget_checkpoints
)
SELECT CASE
    WHEN (SELECT count(*) FROM held) < cardinality(:partitions::integer[])
        THEN overtaken('partition_moved', (SELECT count(*) FROM held))
    WHEN cardinality(:suspects.event_id::text[]) > 0 AND EXISTS (
        SELECT
        FROM (
            SELECT
                -- use packed_hash
                AS hash
            FROM unnest(:suspects.event_id::text[], :suspects.tenant_id::text[]) AS asked (event_id, tenant_id)
        ) AS asked
        -- use packed_row
    )
        THEN overtaken('archived', cardinality(:suspects.event_id::text[]))
    WHEN (SELECT count(*) FROM new) < cardinality(:unlocks.unlock_id::uuid[])
        THEN overtaken('unlock_known', (SELECT count(*) FROM new))
    WHEN (SELECT count(*) FROM amended) < cardinality(:amended.unlock_id::uuid[])
        THEN overtaken('unlock_moved', (SELECT count(*) FROM amended))
    ELSE 0
END

-- name: commit_fast
-- One statement in its own transaction. It requires that the partitions are unchanged, the events are new, and the
-- unlocks are the first ones. If one of these is false, it writes nothing. An existing event violates its key,
-- because conflict handling (ON CONFLICT) would cost a quarter of an insert. Ids that may be archived are looked up; ids
-- that grow with time never may (worker/engine/reach.py). For the other guards, `overtaken` ends the statement with its
-- own error code. CASE evaluates them in this order, so the partitions are locked before any write; parts without a
-- reader run last.
-- use held_and_recorded
-- use written_fast
;

-- name: commit_fast_with_members
-- The same for events that name users beside the one who did them, which have a row for each of these.
-- use held_and_recorded
joined AS (
    INSERT INTO event_subject (tenant_id, scope, subject, occurred_at, event_id)
    SELECT
        tenant_id, 'user', user_id,
        timestamptz 'epoch' + at / 1000000 * interval '1 second' + at % 1000000 * interval '1 microsecond', event_id
    FROM unnest(
        string_to_array(:named.tenant_id, :named.separator), string_to_array(:named.user_id, :named.separator),
        string_to_array(:named.event_id, :named.separator), :named.at::text::bigint[])
        AS rows (tenant_id, user_id, event_id, at)
    WHERE at IS NOT NULL
),
-- use written_fast
;
