-- The progress of subjects.

-- part: unsaved_events
-- The events of these types that a user did, or that name the user, since the progress was written, in order; only a
-- few. Each one that names the user only by its key, as in `events_there_before`.
ARRAY(
    SELECT ROW(tenant_id, event_id, event_type, user_id, occurred_at, utc_offset, payload)
    FROM (
        SELECT tenant_id, event_id, event_type, user_id, occurred_at, utc_offset, payload
        FROM event
        WHERE progress.scope = 'user' AND event.tenant_id = progress.tenant_id AND event.user_id = progress.subject
            AND bin_of(event.occurred_at) >= bin_of(progress.mark_at)
            AND (event.occurred_at, event.event_id) > (progress.mark_at, progress.mark_id)
        UNION ALL
        SELECT event.tenant_id, event.event_id, event_type, user_id, event.occurred_at, utc_offset, payload
        FROM event_subject AS member
        JOIN LATERAL
            -- use event_of_member
        WHERE progress.scope = 'user' AND member.tenant_id = progress.tenant_id AND member.scope = 'user'
            AND member.subject = progress.subject
            AND (member.occurred_at, member.event_id) > (progress.mark_at, progress.mark_id)
    ) AS event
    WHERE event_type = ANY (:types::text[])
    ORDER BY occurred_at, event_id
)

-- name: standing_of_users
-- Read before the batch is inserted: the state, the events that this plan must fold on top of it, the latest known
-- event of the user, whether one names the user if there is none, and whether the user was erased.
SELECT
    asked.n,
    progress.stamp,
    progress.state,
    progress.folded,
    CASE WHEN progress.stamp = :stamp THEN
    -- use unsaved_events
    END AS unsaved,
    latest.occurred_at AS latest_at,
    latest.event_id AS latest_id,
    latest.event_id IS NULL AND (EXISTS (
        SELECT FROM event_subject AS member
        WHERE member.tenant_id = asked.tenant_id AND member.scope = 'user' AND member.subject = asked.user_id
    ) OR EXISTS (
        SELECT FROM packed_member AS member
        WHERE member.tenant_id = asked.tenant_id AND member.scope = 'user' AND member.subject = asked.user_id
    )) AS named,
    EXISTS (
        SELECT FROM erasure WHERE erasure.tenant_id = asked.tenant_id AND erasure.user_id = asked.user_id
    ) AS erased
FROM unnest(:tenant_ids::text[], :user_ids::text[]) WITH ORDINALITY AS asked (tenant_id, user_id, n)
LEFT JOIN progress
    ON progress.tenant_id = asked.tenant_id AND progress.scope = 'user' AND progress.subject = asked.user_id
LEFT JOIN LATERAL (
    SELECT occurred_at, event_id
    FROM event
    WHERE event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id
    ORDER BY bin_of(occurred_at) DESC, occurred_at DESC, event_id DESC
    LIMIT 1
) AS latest ON true;

-- name: standing_of_subjects
-- The same for tenants and field scopes. For these it is enough to know whether there was an earlier event; if the
-- events are erased, an unlock shows it.
SELECT
    asked.n,
    progress.stamp,
    progress.state,
    progress.folded,
    CASE asked.scope
        WHEN 'tenant' THEN EXISTS (SELECT FROM event WHERE event.tenant_id = asked.subject)
        ELSE EXISTS (
            SELECT FROM event_subject AS member
            WHERE member.tenant_id = asked.tenant_id AND member.scope = asked.scope
                AND member.subject = asked.subject)
    END OR EXISTS (
        SELECT FROM packed_member AS member
        WHERE member.tenant_id = asked.tenant_id AND member.scope = asked.scope AND member.subject = asked.subject
    ) OR EXISTS (
        SELECT FROM unlock
        WHERE unlock.tenant_id = asked.tenant_id AND unlock.scope = asked.scope AND unlock.subject = asked.subject
    ) AS known
FROM unnest(
    :tenant_ids::text[], :scopes::text[], :subjects::text[]) WITH ORDINALITY AS asked (tenant_id, scope, subject, n)
LEFT JOIN progress
    ON progress.tenant_id = asked.tenant_id AND progress.scope = asked.scope AND progress.subject = asked.subject;

-- name: upsert_progress
-- Packed as in worker/contract/packing.py, sorted by key.
INSERT INTO progress (tenant_id, scope, subject, stamp, mark_at, mark_id, state, folded, updated_at)
SELECT
    tenant_id, scope, subject, stamp,
    timestamptz 'epoch' + at / 1000000 * interval '1 second' + at % 1000000 * interval '1 microsecond',
    mark_id, state, folded, :now::timestamptz
FROM unnest(
    string_to_array(:progress.tenant_id, :progress.separator),
    string_to_array(:progress.scope, :progress.separator),
    string_to_array(:progress.subject, :progress.separator),
    string_to_array(:progress.stamp, :progress.separator),
    string_to_array(:progress.mark_id, :progress.separator),
    string_to_array(:progress.state, :progress.separator), :progress.mark_at::text::bigint[],
    :progress.folded::text::integer[])
    WITH ORDINALITY AS rows (tenant_id, scope, subject, stamp, mark_id, state, at, folded, n)
WHERE n <= :progress.rows::integer
ON CONFLICT (tenant_id, scope, subject) DO UPDATE SET
    stamp = excluded.stamp,
    mark_at = excluded.mark_at,
    mark_id = excluded.mark_id,
    state = excluded.state,
    folded = excluded.folded,
    updated_at = excluded.updated_at;

-- name: stale_subjects
-- Which of the given subjects have no state, or a state of another plan.
SELECT asked.tenant_id, asked.subject
FROM unnest(:tenant_ids::text[], :subjects::text[]) AS asked (tenant_id, subject)
LEFT JOIN progress
    ON progress.tenant_id = asked.tenant_id AND progress.scope = :scope AND progress.subject = asked.subject
WHERE progress.stamp IS DISTINCT FROM :stamp;

-- name: subjects_with_rows
-- In pages by key: the subjects of this scope with any result of a fold, with or without events.
SELECT tenant_id, subject
FROM (
    (
        SELECT tenant_id, subject
        FROM progress
        WHERE scope = :scope AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
        ORDER BY tenant_id, subject
        LIMIT :limit
    )
    UNION
    (
        SELECT DISTINCT tenant_id, subject
        FROM checkpoint
        WHERE scope = :scope AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
        ORDER BY tenant_id, subject
        LIMIT :limit
    )
    UNION
    (
        SELECT DISTINCT tenant_id, subject
        FROM unlock
        WHERE scope = :scope AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
        ORDER BY tenant_id, subject
        LIMIT :limit
    )
) AS found
ORDER BY tenant_id, subject
LIMIT :limit;

-- name: stamps_of_progress
-- Which rules have folded the states that there are.
SELECT DISTINCT scope, stamp FROM progress;

-- name: stale_states
-- In pages by key: states of other plans, with the events that their users have had since, of some types.
SELECT tenant_id, subject, stamp, state,
    -- use unsaved_events
    AS unsaved
FROM progress
WHERE scope = :scope AND stamp <> :stamp
    AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
ORDER BY tenant_id, subject
LIMIT :limit;

-- name: states_before
-- In pages by key: states whose mark lies before an instant, with the events that their users have had since.
SELECT tenant_id, subject, stamp, state,
    -- use unsaved_events
    AS unsaved
FROM progress
WHERE scope = :scope AND mark_at < :until
    AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
ORDER BY tenant_id, subject
LIMIT :limit;

-- name: states_marked_by_types
-- In pages by key: subjects with a state of another plan whose mark is an event of some types, or is archived, which no
-- mark of a user is.
SELECT progress.tenant_id, progress.subject
FROM progress
LEFT JOIN LATERAL (
    SELECT *
    FROM event
    WHERE (event.event_id, event.tenant_id) >= (progress.mark_id, progress.tenant_id)
    ORDER BY event.event_id, event.tenant_id
    LIMIT 1
) AS last ON last.event_id = progress.mark_id AND last.tenant_id = progress.tenant_id
WHERE progress.scope = :scope AND stamp <> :stamp AND (event_type = ANY (:types::text[]) OR event_type IS NULL)
    AND (progress.tenant_id, progress.scope, progress.subject) > (:after_tenant, :scope, :after_subject)
ORDER BY progress.tenant_id, progress.subject
LIMIT :limit;

-- name: subjects_without_state
-- In pages by key: subjects without a state, but with checkpoints or a supported unlock that rules in force judge
-- (`judged`: achievement and tier, joined by a dot).
SELECT tenant_id, subject
FROM (
    (
        SELECT DISTINCT tenant_id, subject
        FROM checkpoint
        WHERE scope = :scope AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
            AND NOT EXISTS (
                SELECT FROM progress
                WHERE progress.tenant_id = checkpoint.tenant_id AND progress.scope = :scope
                    AND progress.subject = checkpoint.subject)
        ORDER BY tenant_id, subject
        LIMIT :limit
    )
    UNION
    (
        SELECT DISTINCT tenant_id, subject
        FROM unlock
        WHERE scope = :scope AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
            AND contested_at IS NULL AND revoked_at IS NULL
            AND (event_id <> '' OR NOT by_hand OR earned_at <> granted_at)
            AND achievement || '.' || tier = ANY (:judged::text[])
            AND NOT EXISTS (
                SELECT FROM progress
                WHERE progress.tenant_id = unlock.tenant_id AND progress.scope = :scope
                    AND progress.subject = unlock.subject)
        ORDER BY tenant_id, subject
        LIMIT :limit
    )
) AS found
ORDER BY tenant_id, subject
LIMIT :limit;

-- name: subjects_judged_anew
-- In pages by key: subjects with a state of another plan and a supported unlock of what that plan did not judge.
SELECT DISTINCT unlock.tenant_id, unlock.subject
FROM unlock
JOIN progress ON progress.tenant_id = unlock.tenant_id AND progress.scope = :scope AND progress.subject = unlock.subject
WHERE unlock.scope = :scope AND stamp <> :stamp
    AND contested_at IS NULL AND revoked_at IS NULL
    AND (event_id <> '' OR NOT by_hand OR earned_at <> granted_at)
    AND achievement || '.' || tier = ANY (:judged::text[])
    AND (unlock.tenant_id, unlock.scope, unlock.subject) > (:after_tenant, :scope, :after_subject)
ORDER BY unlock.tenant_id, unlock.subject
LIMIT :limit;

-- name: last_of_users
-- The last event of each user of some types.
SELECT asked.n, last.occurred_at, last.event_id
FROM unnest(:tenant_ids::text[], :subjects::text[]) WITH ORDINALITY AS asked (tenant_id, user_id, n)
JOIN LATERAL (
    SELECT occurred_at, event_id
    FROM event
    WHERE event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id AND event_type = ANY (:types::text[])
    ORDER BY bin_of(occurred_at) DESC, occurred_at DESC, event_id DESC
    LIMIT 1
) AS last ON true;

-- name: last_of_tenants
SELECT asked.n, last.occurred_at, last.event_id
FROM unnest(:tenant_ids::text[], :subjects::text[]) WITH ORDINALITY AS asked (tenant_id, subject, n)
JOIN LATERAL (
    SELECT occurred_at, event_id
    FROM event
    WHERE event.tenant_id = asked.subject AND event_type = ANY (:types::text[])
    ORDER BY occurred_at DESC, event_id DESC
    LIMIT 1
) AS last ON true;

-- name: last_of_subjects
-- Each event only by its key, as in `events_there_before`.
SELECT asked.n, last.occurred_at, last.event_id
FROM unnest(:tenant_ids::text[], :subjects::text[]) WITH ORDINALITY AS asked (tenant_id, subject, n)
JOIN LATERAL (
    SELECT member.occurred_at, member.event_id
    FROM event_subject AS member
    JOIN LATERAL
        -- use event_of_member
    WHERE member.tenant_id = asked.tenant_id AND member.scope = :scope AND member.subject = asked.subject
        AND event_type = ANY (:types::text[])
    ORDER BY member.occurred_at DESC, member.event_id DESC
    LIMIT 1
) AS last ON true;

-- name: states_ahead
-- Read without a lock: which of the given subjects have no state, or a state of another plan. `version` is the transaction
-- that wrote the row.
SELECT asked.n, progress.stamp, progress.state, progress.folded, progress.xmin::text::bigint AS version
FROM unnest(:tenant_ids::text[], :subjects::text[]) WITH ORDINALITY AS asked (tenant_id, subject, n)
LEFT JOIN progress
    ON progress.tenant_id = asked.tenant_id AND progress.scope = :scope AND progress.subject = asked.subject
WHERE progress.stamp IS DISTINCT FROM :stamp;

-- name: unmoved_subjects
-- Under the lock of their partition: which subjects still have the row that was read, or still none (`version` 0). A user
-- without a row may have been erased: the event `witness` tells, or one that is archived, whichever that is; or the
-- tombstone, where that is the event of another.
SELECT asked.n
FROM unnest(:tenant_ids::text[], :subjects::text[], :versions::bigint[], :witnesses::text[]) WITH ORDINALITY
    AS asked (tenant_id, subject, version, witness, n)
LEFT JOIN progress
    ON progress.tenant_id = asked.tenant_id AND progress.scope = :scope AND progress.subject = asked.subject
WHERE coalesce(progress.xmin::text::bigint, 0) = asked.version
    AND (asked.witness = '' OR EXISTS (
        SELECT FROM pack WHERE pack.tenant_id = asked.tenant_id AND pack.user_id = asked.subject
    ) OR EXISTS (
        SELECT FROM packed_member AS member
        WHERE member.tenant_id = asked.tenant_id AND member.scope = :scope AND member.subject = asked.subject
    ) OR EXISTS (
        SELECT FROM (
            SELECT *
            FROM event
            WHERE (event.event_id, event.tenant_id) >= (asked.witness, asked.tenant_id)
            ORDER BY event.event_id, event.tenant_id
            LIMIT 1
        ) AS found
        WHERE found.event_id = asked.witness AND found.tenant_id = asked.tenant_id))
    AND (asked.version <> 0 OR :scope <> 'user' OR NOT EXISTS (
        SELECT FROM erasure WHERE erasure.tenant_id = asked.tenant_id AND erasure.user_id = asked.subject));

-- name: place_void_states
-- Rows that no rules have folded, for subjects that have none: what touches them meanwhile writes or deletes the row.
INSERT INTO progress (tenant_id, scope, subject, stamp, mark_at, mark_id, state, folded, updated_at)
SELECT tenant_id, :scope, subject, '', 'epoch', '', '', 0, :now::timestamptz
FROM unnest(:tenant_ids::text[], :subjects::text[]) AS rows (tenant_id, subject)
ORDER BY tenant_id, subject
ON CONFLICT DO NOTHING;

-- name: forget_states_of_scope
-- For a scope that no longer has a plan, `limit` at a time.
DELETE FROM progress
USING (SELECT tenant_id, scope, subject FROM progress WHERE scope = :scope LIMIT :limit) AS gone
WHERE progress.tenant_id = gone.tenant_id AND progress.scope = gone.scope AND progress.subject = gone.subject;

-- name: forget_checkpoints_of_scope
DELETE FROM checkpoint
USING (SELECT tenant_id, scope, subject, mark_at, mark_id FROM checkpoint WHERE scope = :scope LIMIT :limit) AS gone
WHERE checkpoint.tenant_id = gone.tenant_id AND checkpoint.scope = gone.scope AND checkpoint.subject = gone.subject
    AND checkpoint.mark_at = gone.mark_at AND checkpoint.mark_id = gone.mark_id;

-- name: prune_checkpoints
-- Keeps the latest `checkpoints_kept` checkpoints of each subject, including its `new` ones. An event before all of
-- them is rare, and its subject is folded from the beginning.
DELETE FROM checkpoint
USING unnest(
    :pruned.tenant_id::text[], :pruned.scope::text[], :pruned.subject::text[], :pruned.new::integer[])
    AS asked (tenant_id, scope, subject, new)
WHERE checkpoint.tenant_id = asked.tenant_id AND checkpoint.scope = asked.scope
    AND checkpoint.subject = asked.subject
    AND (asked.new >= :checkpoints_kept::integer OR (checkpoint.mark_at, checkpoint.mark_id) < (
        SELECT kept.mark_at, kept.mark_id
        FROM checkpoint AS kept
        WHERE kept.tenant_id = asked.tenant_id AND kept.scope = asked.scope AND kept.subject = asked.subject
        ORDER BY kept.mark_at DESC, kept.mark_id DESC
        LIMIT 1 OFFSET greatest(:checkpoints_kept::integer - asked.new - 1, 0)));

-- name: insert_checkpoints
INSERT INTO checkpoint (tenant_id, scope, subject, mark_at, mark_id, stamp, state)
SELECT * FROM unnest(
    :checkpoints.tenant_id::text[], :checkpoints.scope::text[], :checkpoints.subject::text[],
    :checkpoints.mark_at::timestamptz[], :checkpoints.mark_id::text[], :checkpoints.stamp::text[],
    :checkpoints.state::text[])
ON CONFLICT (tenant_id, scope, subject, mark_at, mark_id) DO UPDATE SET stamp = excluded.stamp, state = excluded.state;

-- name: save_progress
-- The progress of subjects and their checkpoints.
WITH forgotten AS (
    -- use forget_checkpoints
), pruned AS (
    -- use prune_checkpoints
), kept AS (
    -- use insert_checkpoints
)
-- use upsert_progress
;

-- name: forget_checkpoints
-- Deletes the checkpoints after a late event, because they do not include it.
DELETE FROM checkpoint
USING unnest(
    :positions.tenant_id::text[], :positions.scope::text[], :positions.subject::text[],
    :positions.at::timestamptz[], :positions.id::text[])
    AS late (tenant_id, scope, subject, occurred_at, event_id)
WHERE checkpoint.tenant_id = late.tenant_id AND checkpoint.scope = late.scope
    AND checkpoint.subject = late.subject
    AND (checkpoint.mark_at, checkpoint.mark_id) >= (late.occurred_at, late.event_id);

-- name: checkpoints_before
-- The last checkpoint of each subject before a late event; deletes the later ones.
WITH forgotten AS (
    -- use forget_checkpoints
)
SELECT late.tenant_id, late.scope, late.subject, latest.mark_at, latest.mark_id, latest.stamp, latest.state
FROM unnest(
    :positions.tenant_id::text[], :positions.scope::text[], :positions.subject::text[],
    :positions.at::timestamptz[], :positions.id::text[])
    AS late (tenant_id, scope, subject, occurred_at, event_id)
JOIN LATERAL (
    SELECT mark_at, mark_id, stamp, state
    FROM checkpoint
    WHERE checkpoint.tenant_id = late.tenant_id AND checkpoint.scope = late.scope
        AND checkpoint.subject = late.subject
        AND (checkpoint.mark_at, checkpoint.mark_id) < (late.occurred_at, late.event_id)
    ORDER BY mark_at DESC, mark_id DESC
    LIMIT 1
) AS latest ON true;
