-- An erased user: the rows to delete, and the subjects to fold again. Each statement uses a key of the user.

-- name: user_is_known
-- Whether any data of a user exists.
SELECT
    EXISTS (SELECT FROM event WHERE tenant_id = :tenant_id AND user_id = :user_id)
    OR EXISTS (SELECT FROM event_subject WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id)
    OR EXISTS (SELECT FROM packed_member WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id)
    OR EXISTS (SELECT FROM progress WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id)
    OR EXISTS (SELECT FROM unlock WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id)
    OR EXISTS (SELECT FROM evaluation WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id)
    OR EXISTS (SELECT FROM dead_letter_user WHERE user_token = :user_token AND tenant_token IN (:tenant_token, ''))
    OR EXISTS (SELECT FROM erasure WHERE tenant_id = :tenant_id AND user_id = :user_id);

-- name: insert_erasure
INSERT INTO erasure (tenant_id, user_id, tenant_token, user_token, erased_at, erased_by)
VALUES (:tenant_id, :user_id, :tenant_token, :user_token, :now, :by)
ON CONFLICT (tenant_id, user_id) DO NOTHING;

-- name: tombstones_without_tokens
-- Tombstones of older workers.
SELECT tenant_id, user_id FROM erasure WHERE user_token IS NULL ORDER BY tenant_id, user_id FOR UPDATE;

-- name: add_tokens
UPDATE erasure SET tenant_token = rows.tenant_token, user_token = rows.user_token
FROM unnest(:tenant_ids::text[], :user_ids::text[], :tenant_tokens::text[], :user_tokens::text[])
    AS rows (tenant_id, user_id, tenant_token, user_token)
WHERE erasure.tenant_id = rows.tenant_id AND erasure.user_id = rows.user_id;

-- name: shared_subjects
-- The tenant, teams, courses and the like that the user's events belong to, and other users that have a part in them,
-- with the first of these events in each. The user's events are those that the user did, and those that name the user.
WITH concerned AS (
    SELECT tenant_id, event_id, user_id, occurred_at
    FROM event
    WHERE tenant_id = :tenant_id AND user_id = :user_id
    UNION ALL
    SELECT event.tenant_id, event.event_id, event.user_id, event.occurred_at
    FROM event_subject AS member
    JOIN LATERAL
        -- use event_of_member
    WHERE member.tenant_id = :tenant_id AND member.scope = 'user' AND member.subject = :user_id
)
(SELECT tenant_id, 'tenant' AS scope, tenant_id AS subject, occurred_at, event_id
FROM concerned
ORDER BY occurred_at, event_id
LIMIT 1)
UNION ALL
(SELECT DISTINCT ON (scope, subject) tenant_id, scope, subject, occurred_at, event_id
FROM (
    SELECT concerned.tenant_id, member.scope, member.subject, concerned.occurred_at, concerned.event_id
    FROM concerned
    JOIN event_subject AS member
        ON (member.tenant_id, member.event_id) >= (concerned.tenant_id, concerned.event_id)
        AND (member.tenant_id, member.event_id) <= (concerned.tenant_id, concerned.event_id)
    UNION ALL
    SELECT tenant_id, 'user', user_id, occurred_at, event_id FROM concerned
) AS found
WHERE (scope, subject) <> ('user', :user_id)
ORDER BY scope, subject, occurred_at, event_id);

-- name: erase_events
WITH known AS (
    DELETE FROM renamed_event
    USING event
    WHERE event.tenant_id = :tenant_id AND event.user_id = :user_id
        AND renamed_event.event_id = event.event_id AND renamed_event.tenant_id = event.tenant_id
), members AS (
    DELETE FROM event_subject
    USING event
    WHERE event.tenant_id = :tenant_id AND event.user_id = :user_id
        AND event_subject.tenant_id = event.tenant_id AND event_subject.event_id = event.event_id
)
DELETE FROM event WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- part: say_that_gone_is_erased
-- For a granted unlock, consumers get an `erased` message; its pending corrections lose event ids and reasons.
waiting AS (
    UPDATE correction SET
        event_before = '', event_id = '', reason = NULL, announced = announced OR gone.published_at IS NOT NULL
    FROM gone
    WHERE correction.unlock_id = gone.unlock_id
), corrected AS (
    INSERT INTO correction (
        unlock_id, revision, kind, tenant_id, scope, subject, achievement, tier, occurrence, origin, granted_at, reward,
        status_before, status, version_before, version, earned_before, earned_at, event_before, event_id,
        by_hand_before, by_hand, announced, actor, decided_at)
    SELECT
        unlock_id, revision + 1, 'erased', tenant_id, scope, subject, achievement, tier, occurrence, origin, granted_at,
        '{}',
        CASE
            WHEN revoked_at IS NOT NULL THEN 'revoked'
            WHEN contested_at IS NOT NULL THEN 'contested'
            ELSE 'granted'
        END,
        'erased', version, version, earned_at, earned_at, '', '', by_hand, by_hand, published_at IS NOT NULL, :by,
        :now::timestamptz
    FROM gone
    WHERE granted_at IS NOT NULL AND NOT silent
    ORDER BY unlock_id
)

-- name: erase_unlocks
-- Returns the number of unlocks.
WITH gone AS (
    DELETE FROM unlock WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id RETURNING *
),
-- use say_that_gone_is_erased
SELECT count(*)::integer FROM gone;

-- part: bears_the_name
-- Whether a row of `named` is about an occurrence that is called like the user, of `repeat by` over users. What no rule
-- judges any more may have been one; but a number or a date is none.
named.occurrence = :user_id
    AND (
        named.achievement = ANY (:by_users::text[])
        OR (named.achievement <> ALL (:in_force::text[]) AND :user_id !~ '^[0-9]'))

-- name: relabel_unlocks
-- The rows keep their ids. Where the pseudonym has an occurrence too, both are one from now on, and one row goes.
WITH found AS (
    SELECT named.unlock_id, other.unlock_id IS NOT NULL AS twice
    FROM unnest(:subjects.tenant_id::text[], :subjects.scope::text[], :subjects.subject::text[])
        AS asked (tenant_id, scope, subject)
    JOIN unlock AS named
        ON named.tenant_id = asked.tenant_id AND named.scope = asked.scope AND named.subject = asked.subject
    LEFT JOIN unlock AS other
        ON other.tenant_id = named.tenant_id AND other.scope = named.scope AND other.subject = named.subject
        AND other.achievement = named.achievement AND other.tier = named.tier AND other.occurrence = :pseudonym
    WHERE
        -- use bears_the_name
    ORDER BY named.unlock_id
    FOR UPDATE OF named
), gone AS (
    DELETE FROM unlock USING found WHERE unlock.unlock_id = found.unlock_id AND found.twice RETURNING unlock.*
),
-- use say_that_gone_is_erased
UPDATE unlock SET occurrence = :pseudonym
FROM found
WHERE unlock.unlock_id = found.unlock_id AND NOT found.twice;

-- name: unlocks_of_occurrence
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    granted_at, contested_at, revoked_at, by_hand
FROM unlock
WHERE tenant_id = :tenant_id AND occurrence = :occurrence
ORDER BY unlock_id
FOR UPDATE;

-- name: give_ids
-- Changes that are not announced yet are about the new ids too.
WITH given AS (
    SELECT * FROM unnest(:unlock_ids::uuid[], :new_ids::uuid[]) AS given (unlock_id, new_id)
), corrections AS (
    UPDATE correction SET unlock_id = given.new_id FROM given WHERE correction.unlock_id = given.unlock_id
)
UPDATE unlock SET unlock_id = given.new_id FROM given WHERE unlock.unlock_id = given.unlock_id;

-- name: relabel_evaluations
UPDATE evaluation AS named SET occurrence = :pseudonym
FROM unnest(:subjects.tenant_id::text[], :subjects.scope::text[], :subjects.subject::text[])
    AS asked (tenant_id, scope, subject)
WHERE named.tenant_id = asked.tenant_id AND named.scope = asked.scope AND named.subject = asked.subject
    AND
    -- use bears_the_name
;

-- name: relabel_corrections
UPDATE correction AS named SET occurrence = :pseudonym
FROM unnest(:subjects.tenant_id::text[], :subjects.scope::text[], :subjects.subject::text[])
    AS asked (tenant_id, scope, subject)
WHERE named.tenant_id = asked.tenant_id AND named.scope = asked.scope AND named.subject = asked.subject
    AND
    -- use bears_the_name
;

-- name: erase_revealed
-- Behind the row of progress, which every writer of these rows locks.
DELETE FROM revealed WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id;

-- name: erase_evaluations
DELETE FROM evaluation WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id;

-- name: erase_dead_letters
-- Letters that name only this user.
DELETE FROM dead_letter
WHERE dead_letter_id IN (
        SELECT dead_letter_id FROM dead_letter_user WHERE user_token = :user_token AND tenant_token = :tenant_token)
    AND NOT EXISTS (
        SELECT FROM dead_letter_user AS other
        WHERE other.dead_letter_id = dead_letter.dead_letter_id
            AND (other.tenant_token, other.user_token) <> (:tenant_token, :user_token));

-- name: blank_dead_letters
-- Letters that also name others, or a user of that name without a tenant: their rows stay without their content.
WITH named AS (
    DELETE FROM dead_letter_user
    WHERE user_token = :user_token AND tenant_token IN (:tenant_token, '')
    RETURNING dead_letter_id
)
UPDATE dead_letter SET
    detail = :detail, nats_subject = '', headers = '{}', body = '', replay_digest = NULL, erased_at = :now
WHERE dead_letter_id IN (SELECT dead_letter_id FROM named);

-- name: forget_progress
-- The next event, or a backfill, folds them again.
DELETE FROM progress
USING unnest(
    :subjects.tenant_id::text[], :subjects.scope::text[], :subjects.subject::text[]) AS gone (tenant_id, scope, subject)
WHERE progress.tenant_id = gone.tenant_id AND progress.scope = gone.scope AND progress.subject = gone.subject;

-- name: void_progress
-- Of subjects that go on: a row that no rules have folded, and with nothing of what the fold remembered.
UPDATE progress SET stamp = '', state = ''
FROM unnest(
    :subjects.tenant_id::text[], :subjects.scope::text[], :subjects.subject::text[]) AS gone (tenant_id, scope, subject)
WHERE progress.tenant_id = gone.tenant_id AND progress.scope = gone.scope AND progress.subject = gone.subject;

-- name: tombstone
SELECT erased_at FROM erasure WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: correction_of_user_waits
-- Whether something of a user is not announced yet, as a rule that the user was erased.
SELECT EXISTS (
    SELECT FROM correction WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id);

-- name: is_lifted_by
-- Whether a command has lifted it already: the one whose commit was not answered.
SELECT EXISTS (
    SELECT FROM lifted_erasure
    WHERE tenant_id = :tenant_id AND user_id = :user_id AND lifted_at = :now AND lifted_by = :by AND reason = :reason);

-- name: lift_erasure
WITH gone AS (
    DELETE FROM erasure WHERE tenant_id = :tenant_id AND user_id = :user_id RETURNING *
)
INSERT INTO lifted_erasure (tenant_id, user_id, lifted_at, lifted_by, reason, erased_at, erased_by)
SELECT tenant_id, user_id, :now, :by, :reason, erased_at, erased_by FROM gone;
