-- Changes of rules: how they come into force, are built, and are watched.

-- part: change_columns
change_id, state, epoch, epoch_before, plan, encode(hash, 'hex'), begun_at, applied_at, applied_by, message, announce,
announce_since, rate, max_lag, builder, (extract(epoch FROM clock_timestamp() - beat_at) * 1000)::bigint,
cursor::text, expected, looked_at, subjects, events, built_ms, waits_for, ended_at, ended_by

-- name: changes
-- The latest first.
SELECT
    -- use change_columns
FROM change
ORDER BY change_id DESC
LIMIT :limit;

-- name: change_of_id
SELECT
    -- use change_columns
FROM change
WHERE change_id = :change_id;

-- name: changes_open
-- What is under way, or rests: at most one that is not in force yet, and one that is built; the latter first.
SELECT
    -- use change_columns
FROM change
WHERE state IN ('pending', 'building', 'paused')
ORDER BY change_id;

-- name: change_of_epoch
SELECT
    -- use change_columns
FROM change
WHERE epoch = :epoch
ORDER BY change_id DESC
LIMIT 1;

-- name: begin_change
-- No row where another one is pending.
INSERT INTO change (
    state, epoch_before, plan, hash, sources, begun_at, applied_by, message, announce, announce_since, rate, max_lag,
    builder, beat_at)
VALUES (
    'pending', :epoch_before, :plan, :digest, :sources, :now, :by, :message, :announce, :announce_since, :rate,
    :max_lag, :builder, clock_timestamp())
ON CONFLICT DO NOTHING
RETURNING change_id;

-- name: beat_pending
-- No row is touched where the change was cancelled, or taken for dead.
UPDATE change SET beat_at = clock_timestamp()
WHERE change_id = :change_id AND state = 'pending' AND builder = :builder;

-- name: drop_pending
-- Before it is in force.
UPDATE change SET state = 'cancelled', sources = NULL, ended_at = :now, ended_by = :by
WHERE change_id = :change_id AND state = 'pending';

-- name: drop_silent_pending
-- Its process has said nothing for a while.
UPDATE change SET state = 'cancelled', sources = NULL, ended_at = :now, ended_by = :by
WHERE state = 'pending' AND beat_at <= clock_timestamp() - :silent_ms::bigint * interval '1 millisecond';

-- name: supersede_changes
-- Whatever is built or rests when other rules come into force; what it has left is a part of the new one.
UPDATE change SET state = 'superseded', ended_at = :now, ended_by = :by, waits_for = ''
WHERE state IN ('building', 'paused');

-- name: put_change_into_force
UPDATE change SET
    state = 'building', epoch = :epoch::bigint, epoch_before = :epoch::bigint - 1, applied_at = :now, sources = NULL,
    cursor = :cursor::text::jsonb, beat_at = clock_timestamp()
WHERE change_id = :change_id AND state = 'pending' AND builder = :builder;

-- name: take_change
-- For a process that builds it from here on: an operator's takes any that is not done, a worker one that was left.
UPDATE change SET
    state = 'building', builder = :builder, beat_at = clock_timestamp(), waits_for = '', ended_at = NULL,
    ended_by = NULL, rate = coalesce(:rate::integer, rate), max_lag = coalesce(:max_lag::integer, max_lag)
WHERE change_id = :change_id
    AND epoch = (SELECT max(epoch) FROM rule_set)
    AND (
        state = 'building' AND beat_at <= clock_timestamp() - :silent_ms::bigint * interval '1 millisecond'
        OR :by_operator::boolean AND state IN ('building', 'paused', 'cancelled'))
RETURNING
    -- use change_columns
;

-- name: beat_change
-- With what was done since the last time. No row where the process is not to build it any more.
UPDATE change SET
    beat_at = clock_timestamp(),
    cursor = coalesce(:cursor::text::jsonb, cursor),
    expected = coalesce(:expected::bigint, expected),
    looked_at = looked_at + :looked_at,
    subjects = subjects + :subjects,
    events = events + :events,
    built_ms = built_ms + :built_ms,
    waits_for = :waits_for
WHERE change_id = :change_id AND state = 'building' AND builder = :builder
RETURNING rate, max_lag;

-- name: change_is_done
UPDATE change SET state = 'done', cursor = NULL, waits_for = '', ended_at = :now
WHERE change_id = :change_id AND state = 'building' AND builder = :builder;

-- name: pause_change
UPDATE change SET state = 'paused', waits_for = '' WHERE change_id = :change_id AND state = 'building';

-- name: cancel_change
-- One that is not in force yet never will be. Of one that is, the rules stay in force.
UPDATE change SET state = 'cancelled', sources = NULL, waits_for = '', ended_at = :now, ended_by = :by
WHERE change_id = :change_id AND state IN ('pending', 'building', 'paused');

-- name: changes_at_hand
-- For workers, several times a second: there is seldom any.
SELECT
    change_id, state, max_lag, (extract(epoch FROM clock_timestamp() - beat_at) * 1000)::bigint AS silent_ms
FROM change
WHERE state IN ('pending', 'building')
ORDER BY change_id;

-- name: pending_sources
SELECT sources FROM change WHERE change_id = :change_id AND state = 'pending';

-- name: workers_of_change
-- Of the workers that are alive, how many have yet to load the rules of a change, and how many know no changes.
SELECT
    count(*) FILTER (WHERE loaded_change < :change_id) AS behind,
    count(*) FILTER (WHERE loaded_change IS NULL) AS older,
    max(release) FILTER (WHERE loaded_change IS NULL) AS release
FROM worker
WHERE NOT stopped AND seen_at > :since;

-- name: live_lag
-- Messages that wait for workers, as one of them has said lately; and since when an unlock waits to be announced.
SELECT
    (SELECT max(pending) FROM worker WHERE NOT stopped AND seen_at > :since) AS pending,
    (
        SELECT granted_at
        FROM unlock
        WHERE published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL
        ORDER BY granted_at
        LIMIT 1
    ) AS oldest_unlock_at;

-- name: count_progress
-- Per scope.
SELECT scope, count(*) FROM progress GROUP BY scope ORDER BY scope;

-- name: decisions_of_change
SELECT decision, count(*) FROM evaluation WHERE change_id = :change_id GROUP BY decision ORDER BY decision;

-- name: unlocks_of_change
-- How many it has granted, and how many of them are not to be announced, wait to be, and are.
SELECT
    count(*) FILTER (WHERE granted_at IS NOT NULL) AS granted,
    count(*) FILTER (WHERE silent) AS silent,
    count(*) FILTER (
        WHERE NOT silent AND published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL) AS waiting,
    count(*) FILTER (WHERE NOT silent AND published_at IS NOT NULL) AS announced
FROM unlock
WHERE change_id = :change_id;

-- name: announce_silent_unlocks
-- Of a change: they enter the outbox, as they stand. What was contested or revoked meanwhile stays silent.
UPDATE unlock SET silent = false, published_at = NULL
WHERE unlock_id IN (
    SELECT unlock_id
    FROM unlock
    WHERE change_id = :change_id AND silent AND contested_at IS NULL AND revoked_at IS NULL
    ORDER BY unlock_id
    LIMIT :limit
    FOR UPDATE);

-- name: roll_back_changes
-- All that came into force between an epoch and the one in force; one that is rolled back already stays as it is.
UPDATE change SET state = 'rolled_back', cursor = NULL, waits_for = '', ended_at = coalesce(ended_at, :now)
WHERE epoch > :epoch AND epoch < (SELECT max(epoch) FROM rule_set) AND state <> 'rolled_back'
RETURNING change_id;

-- name: silence_rolled_back
-- What changes have granted, and what of theirs has not settled: nothing is announced of it. Rows of the outbox that a
-- relay holds are waited for. Corrections that waited for the grant go with it.
WITH waiting AS (
    SELECT unlock_id
    FROM unlock
    WHERE change_id = ANY (:change_ids::bigint[]) AND NOT silent AND published_at IS NULL AND revoked_at IS NULL
        AND NOT by_hand
    ORDER BY unlock_id
    FOR UPDATE
), forgotten AS (
    DELETE FROM correction USING waiting WHERE correction.unlock_id = waiting.unlock_id
)
UPDATE unlock SET silent = true, published_at = granted_at, revision = 1
FROM waiting
WHERE unlock.unlock_id = waiting.unlock_id;

-- name: change_announces_all
UPDATE change SET announce = 'all', announce_since = NULL WHERE change_id = :change_id;

-- -- members of field scopes

-- name: ledger_mark
-- The pages that the ledger has, of its parts the smallest, and the oldest transaction that may not be over: what is
-- older is seen from now on.
SELECT
    coalesce(
        (SELECT min(pg_relation_size(relid)) FROM pg_partition_tree('event') WHERE isleaf), pg_relation_size('event')
    ) / current_setting('block_size')::bigint AS pages,
    (pg_snapshot_xmin(pg_current_snapshot())::text::numeric % 4294967296)::text AS xid;

-- name: events_arrived
-- Events of these types in the ledger's pages from one on, of transactions that were not over at a mark.
SELECT tenant_id, event_id, event_type, user_id, occurred_at, utc_offset, payload
FROM event
WHERE ctid >= format('(%s,0)', :page::bigint)::tid AND event_type = ANY (:types::text[])
    AND age(xmin) <= age(:xid::text::xid);

-- name: insert_members_of_events
-- Of events that are still there. What comes of one that is erased at this moment goes with the members that no scope
-- hears.
INSERT INTO event_subject (tenant_id, scope, subject, occurred_at, event_id)
SELECT rows.tenant_id, rows.scope, rows.subject, rows.occurred_at, rows.event_id
FROM unnest(
    :members.tenant_id::text[], :members.scope::text[], :members.subject::text[],
    :members.occurred_at::timestamptz[], :members.event_id::text[])
    AS rows (tenant_id, scope, subject, occurred_at, event_id)
JOIN event ON event.tenant_id = rows.tenant_id AND event.event_id = rows.event_id
ON CONFLICT DO NOTHING;

-- name: missing_members
SELECT rows.tenant_id, rows.scope, rows.subject, rows.occurred_at, rows.event_id
FROM unnest(
    :members.tenant_id::text[], :members.scope::text[], :members.subject::text[],
    :members.occurred_at::timestamptz[], :members.event_id::text[])
    AS rows (tenant_id, scope, subject, occurred_at, event_id)
LEFT JOIN event_subject AS member
    ON member.tenant_id = rows.tenant_id AND member.scope = rows.scope AND member.subject = rows.subject
    AND member.occurred_at = rows.occurred_at AND member.event_id = rows.event_id
WHERE member.event_id IS NULL;

-- name: forget_members_of_types
-- Of events that a field scope reads in another way than before.
DELETE FROM event_subject
USING event
WHERE event_subject.scope = :scope AND event.tenant_id = event_subject.tenant_id
    AND event.event_id = event_subject.event_id AND event.event_type = ANY (:types::text[]);

-- name: forget_unheard_members
-- One page in the order of the key: those whose scope does not hear the type go, and those of events or users that were
-- erased meanwhile. Returns the last one of the page.
WITH page AS (
    SELECT member.*, event.event_type
    FROM (
        SELECT *
        FROM event_subject
        WHERE (tenant_id, scope, subject, occurred_at, event_id)
            > (:after_tenant, :after_scope, :after_subject, :after_at, :after_id)
        ORDER BY tenant_id, scope, subject, occurred_at, event_id
        LIMIT :limit
    ) AS member
    LEFT JOIN LATERAL
        -- use event_of_member
), gone AS (
    DELETE FROM event_subject
    USING page
    WHERE event_subject.tenant_id = page.tenant_id AND event_subject.scope = page.scope
        AND event_subject.subject = page.subject AND event_subject.occurred_at = page.occurred_at
        AND event_subject.event_id = page.event_id
        AND (page.event_type IS NULL
            OR (page.scope, page.event_type) NOT IN (
                SELECT * FROM unnest(:heard.scope::text[], :heard.type::text[]))
            OR (page.scope = 'user' AND EXISTS (
                SELECT FROM erasure WHERE erasure.tenant_id = page.tenant_id AND erasure.user_id = page.subject)))
)
SELECT tenant_id, scope, subject, occurred_at, event_id
FROM page
ORDER BY tenant_id DESC, scope DESC, subject DESC, occurred_at DESC, event_id DESC
LIMIT 1;
