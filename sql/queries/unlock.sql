-- Unlocks, the decisions about them, and the outbox.

-- name: insert_unlocks
-- Rows that are not returned existed before. A silent one has its mark from the start: it is never in the outbox.
INSERT INTO unlock (
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    reward, granted_at, published_at, origin, change_id, silent)
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    reward::jsonb, CASE WHEN settles_at IS NULL OR settles_at <= :clock::timestamptz THEN :now::timestamptz END,
    CASE WHEN silent AND (settles_at IS NULL OR settles_at <= :clock::timestamptz) THEN :now::timestamptz END,
    CASE WHEN settles_at IS NULL OR settles_at <= :clock::timestamptz THEN origin ELSE 'settled' END, change_id, silent
FROM unnest(
    :unlocks.tenant_id::text[], :unlocks.scope::text[], :unlocks.subject::text[],
    :unlocks.achievement::text[], :unlocks.tier::text[], :unlocks.occurrence::text[],
    :unlocks.unlock_id::uuid[], :unlocks.version::integer[], :unlocks.earned_at::timestamptz[],
    :unlocks.event_id::text[], :unlocks.settles_at::timestamptz[], :unlocks.reward::text[],
    :unlocks.origin::text[], :unlocks.change_id::bigint[], :unlocks.silent::boolean[]) AS rows (
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    reward, origin, change_id, silent)
ON CONFLICT (tenant_id, scope, subject, achievement, tier, occurrence) DO NOTHING
RETURNING *;

-- part: insert_decisions
-- Decisions about the inserted unlocks: `new` holds them, `final_ids` names the final ones.
INSERT INTO evaluation (
    tenant_id, scope, subject, achievement, tier, occurrence, version, decision, final, earned_at, event_id,
    decided_at, change_id)
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, version,
    CASE WHEN granted_at IS NULL THEN 'settling' ELSE 'granted' END,
    unlock_id IN (SELECT unnest(:final_ids::uuid[])), earned_at, event_id, :now::timestamptz, change_id
FROM new;

-- name: grant_unlocks
-- With the decisions about them. Returns how many were not there before.
WITH new AS (
    -- use insert_unlocks
), decided AS (
    -- use insert_decisions
)
SELECT count(*) FROM new;

-- part: stored_unlocks_of_asked
SELECT
    unlock.tenant_id, unlock.scope, unlock.subject, achievement, tier, occurrence, unlock_id, version, earned_at,
    event_id, settles_at, granted_at, contested_at, revoked_at, by_hand
FROM unnest(:tenant_ids::text[], :scopes::text[], :subjects::text[]) AS asked (tenant_id, scope, subject)
JOIN unlock
    ON unlock.tenant_id = asked.tenant_id AND unlock.scope = asked.scope AND unlock.subject = asked.subject

-- name: unlocks_of_subjects
-- Locked, because the notifier may be granting one that settles.
-- use stored_unlocks_of_asked
ORDER BY unlock.tenant_id, unlock.scope, unlock.subject, achievement, tier, occurrence
FOR UPDATE OF unlock;

-- name: all_unlocks_of_subjects
-- As `unlocks_of_subjects`, without locks: to look at.
-- use stored_unlocks_of_asked
ORDER BY unlock.tenant_id, unlock.scope, unlock.subject, achievement, tier, occurrence;

-- name: unlocks_to_compare
-- Those of `unlocks_of_subjects` that a refold from a position may decide about: the others stay unlocked.
SELECT
    unlock.tenant_id, unlock.scope, unlock.subject, achievement, tier, occurrence, unlock_id, version, earned_at,
    event_id, settles_at, granted_at, contested_at, revoked_at, by_hand
FROM unnest(:tenant_ids::text[], :scopes::text[], :subjects::text[], :after_at::timestamptz[], :after_id::text[])
    AS asked (tenant_id, scope, subject, after_at, after_id)
JOIN unlock
    ON unlock.tenant_id = asked.tenant_id AND unlock.scope = asked.scope AND unlock.subject = asked.subject
WHERE (earned_at, event_id) > (asked.after_at, asked.after_id)
    OR achievement || '.' || tier = ANY (:rulings::text[])
    OR unlock_id = ANY (:unlock_ids::uuid[])
    OR occurrence LIKE '~erased~%'  -- renamed, with the id of the name before
ORDER BY unlock.tenant_id, unlock.scope, unlock.subject, achievement, tier, occurrence
FOR UPDATE OF unlock;

-- name: unlocks_of_keys
-- Those of some that are there, seldom any; locked like the others. The partition is locked, so no other one is inserted.
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    granted_at, contested_at, revoked_at, by_hand
FROM unlock
WHERE unlock_id = ANY (:unlock_ids::uuid[])
ORDER BY unlock_id
FOR UPDATE;

-- part: rows_to_amend
-- The locked rows with their new values. Revoked unlocks stay unchanged.
SELECT unlock.*, to_version, to_earned_at, to_event_id, to_settles_at, by_change
FROM unnest(
    :amended.unlock_id::uuid[], :amended.version::integer[], :amended.earned_at::timestamptz[],
    :amended.event_id::text[], :amended.settles_at::timestamptz[], :amended.change_id::bigint[])
    AS rows (amended_id, to_version, to_earned_at, to_event_id, to_settles_at, by_change)
JOIN unlock ON unlock.unlock_id = rows.amended_id
WHERE unlock.revoked_at IS NULL
ORDER BY unlock.unlock_id
FOR UPDATE OF unlock;

-- part: amend_rows
-- Updates the rows of `before`. Id, reward and granted_at stay. A settling unlock waits again; if its new version has
-- no settle, the relay grants it next. A change of a granted unlock is a revision, unless nothing is announced of it.
UPDATE unlock SET
    version = before.to_version,
    earned_at = before.to_earned_at,
    event_id = before.to_event_id,
    settles_at = coalesce(before.to_settles_at, CASE WHEN before.granted_at IS NULL THEN before.to_earned_at END),
    contested_at = NULL,
    revision = before.revision + CASE WHEN before.granted_at IS NULL OR before.silent THEN 0 ELSE 1 END
FROM before
WHERE unlock.unlock_id = before.unlock_id
RETURNING 1;

-- part: correct_amended
-- Corrections for the granted rows of `before`, decided at `now`.
INSERT INTO correction (
    unlock_id, revision, kind, tenant_id, scope, subject, achievement, tier, occurrence, origin, granted_at, reward,
    status_before, status, version_before, version, earned_before, earned_at, event_before, event_id, by_hand_before,
    by_hand, announced, decided_at, change_id)
SELECT
    unlock_id, revision + 1, CASE WHEN contested_at IS NULL THEN 'amended' ELSE 'restored' END, tenant_id, scope,
    subject, achievement, tier, occurrence, origin, granted_at, reward,
    CASE WHEN contested_at IS NULL THEN 'granted' ELSE 'contested' END, 'granted', version, to_version, earned_at,
    to_earned_at, event_id, to_event_id, by_hand, by_hand, published_at IS NOT NULL, :now::timestamptz, by_change
FROM before
WHERE granted_at IS NOT NULL AND NOT silent
ORDER BY unlock_id;

-- name: amend_unlocks
-- Late evidence moved them, or supports them again.
WITH before AS (
    -- use rows_to_amend
), amended AS (
    -- use amend_rows
)
    -- use correct_amended

-- name: contest_unlocks
-- Unlocks that an operator granted or revoked stay unchanged.
WITH contested AS (
    UPDATE unlock SET contested_at = :now, revision = revision + CASE WHEN silent THEN 0 ELSE 1 END
    FROM unnest(:contested.unlock_id::uuid[], :contested.change_id::bigint[]) AS rows (contested_id, by_change)
    WHERE unlock_id = contested_id
        AND granted_at IS NOT NULL AND contested_at IS NULL AND revoked_at IS NULL AND NOT by_hand
    RETURNING unlock.*, by_change
)
INSERT INTO correction (
    unlock_id, revision, kind, tenant_id, scope, subject, achievement, tier, occurrence, origin, granted_at, reward,
    status_before, status, version_before, version, earned_before, earned_at, event_before, event_id, by_hand_before,
    by_hand, announced, decided_at, change_id)
SELECT
    unlock_id, revision, 'contested', tenant_id, scope, subject, achievement, tier, occurrence, origin, granted_at,
    reward, 'granted', 'contested', version, version, earned_at, earned_at, event_id, event_id, by_hand, by_hand,
    published_at IS NOT NULL, contested_at, by_change
FROM contested
WHERE NOT silent
ORDER BY unlock_id;

-- name: withdraw_unlocks
-- These were never granted or announced. Revoked unlocks stay, otherwise new evidence would restore them.
DELETE FROM unlock WHERE unlock_id = ANY (:unlock_ids::uuid[]) AND granted_at IS NULL AND revoked_at IS NULL;

-- name: withdraw_retired
-- Unlocks that have not settled by the clock and that no rule judges any more: `judged` holds the scopes, achievements
-- and tiers in force. An operator's decision stays.
WITH gone AS (
    DELETE FROM unlock
    WHERE published_at IS NULL AND granted_at IS NULL AND revoked_at IS NULL AND settles_at > :clock::timestamptz
        AND (scope, achievement, tier) NOT IN (SELECT * FROM unnest(
            :judged.scope::text[], :judged.achievement::text[], :judged.tier::text[]))
    RETURNING *
)
INSERT INTO evaluation (
    tenant_id, scope, subject, achievement, tier, occurrence, version, decision, final, earned_at, event_id,
    decided_at, change_id)
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, version, 'withdrawn', false, earned_at, event_id,
    :now::timestamptz, :change_id::bigint
FROM gone
ORDER BY tenant_id, scope, subject, achievement, tier, occurrence;

-- name: insert_evaluations
INSERT INTO evaluation (
    tenant_id, scope, subject, achievement, tier, occurrence, version, decision, final, earned_at, event_id,
    change_id, decided_at)
SELECT rows.*, :now::timestamptz
FROM unnest(
    :evaluations.tenant_id::text[], :evaluations.scope::text[], :evaluations.subject::text[],
    :evaluations.achievement::text[], :evaluations.tier::text[], :evaluations.occurrence::text[],
    :evaluations.version::integer[], :evaluations.decision::text[], :evaluations.final::boolean[],
    :evaluations.earned_at::timestamptz[], :evaluations.event_id::text[], :evaluations.change_id::bigint[]) AS rows;

-- name: grant_settled
-- Committed separately, before the announcement. So every announced unlock is stored as granted, even if the worker
-- dies in between, and late evidence contests it from now on. Skips rows that a batch or another relay has locked.
-- The row already records whether the decision is final.
WITH due AS (
    SELECT unlock_id
    FROM unlock
    WHERE granted_at IS NULL AND revoked_at IS NULL AND settles_at <= :clock::timestamptz
    ORDER BY settles_at
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
), settled AS (
    UPDATE unlock SET granted_at = :now::timestamptz, published_at = CASE WHEN silent THEN :now::timestamptz END
    FROM due
    WHERE unlock.unlock_id = due.unlock_id
    RETURNING unlock.*
)
INSERT INTO evaluation (
    tenant_id, scope, subject, achievement, tier, occurrence, version, decision, final, earned_at, event_id,
    decided_at, change_id)
SELECT
    settled.tenant_id, settled.scope, settled.subject, settled.achievement, settled.tier, settled.occurrence,
    settled.version, 'granted', coalesce(before.final, false), settled.earned_at, settled.event_id, :now::timestamptz,
    settled.change_id
FROM settled
LEFT JOIN LATERAL (
    SELECT final
    FROM evaluation
    WHERE evaluation.tenant_id = settled.tenant_id AND evaluation.scope = settled.scope
        AND evaluation.subject = settled.subject AND evaluation.achievement = settled.achievement
        AND evaluation.tier = settled.tier AND evaluation.occurrence = settled.occurrence
    ORDER BY evaluation_id DESC
    LIMIT 1
) AS before ON true;

-- name: claim_unlocks
-- The outbox, oldest first, without recently refused unlocks. Skips rows that another relay has locked; there is no
-- state between two claims. A claimed unlock cannot be amended or revoked until it is marked. If an unlock has changed
-- since its grant, the announcement shows the original grant: the change is a revision, which waits for this one.
SELECT
    unlock.unlock_id, unlock.tenant_id, unlock.scope, unlock.subject, unlock.achievement, unlock.tier,
    unlock.occurrence, coalesce(change.version_before, unlock.version), coalesce(change.earned_before, unlock.earned_at),
    coalesce(change.event_before, unlock.event_id), unlock.granted_at, unlock.reward::text, unlock.origin,
    unlock.change_id
FROM unlock
LEFT JOIN correction AS change ON change.unlock_id = unlock.unlock_id AND change.revision = 2
WHERE published_at IS NULL AND unlock.granted_at IS NOT NULL AND revoked_at IS NULL
    AND unlock.unlock_id <> ALL (:refused::uuid[])
ORDER BY unlock.granted_at
LIMIT :limit
FOR UPDATE OF unlock SKIP LOCKED;

-- name: claim_corrections
-- The outbox of corrections, oldest first, without unlocks that the broker has refused. For each unlock, the first
-- pending correction after its predecessor is published. The predecessor is the grant, unless the unlock was revoked or
-- erased before it was marked as announced. `withheld` marks that case: it must take the subject of the grant first.
SELECT
    change.unlock_id, change.revision, change.kind, change.tenant_id, change.scope, change.subject, change.achievement,
    change.tier, change.occurrence, change.origin, change.granted_at, change.reward::text, change.status_before,
    change.status, change.version_before, change.version, change.earned_before, change.earned_at, change.event_before,
    change.event_id, change.by_hand_before, change.by_hand, change.actor, change.reason, change.decided_at,
    NOT change.announced AND unlock.published_at IS NULL AS withheld, change.change_id
FROM correction AS change
LEFT JOIN unlock ON unlock.unlock_id = change.unlock_id
WHERE change.unlock_id <> ALL (:refused::uuid[])
    AND NOT EXISTS (
        SELECT FROM correction AS earlier
        WHERE earlier.unlock_id = change.unlock_id AND earlier.revision < change.revision)
    AND (
        change.announced OR unlock.unlock_id IS NULL OR unlock.published_at IS NOT NULL
        OR unlock.revoked_at IS NOT NULL)
ORDER BY change.decided_at, change.unlock_id, change.revision
LIMIT :limit
FOR UPDATE OF change SKIP LOCKED;

-- name: corrections_announced
DELETE FROM correction
USING unnest(:unlock_ids::uuid[], :revisions::integer[]) AS gone (unlock_id, revision)
WHERE correction.unlock_id = gone.unlock_id AND correction.revision = gone.revision;

-- name: no_correction_waits
-- Ignores unlocks that the broker refuses.
SELECT NOT EXISTS (SELECT FROM correction WHERE unlock_id <> ALL (:refused::uuid[]));

-- name: mark_published
UPDATE unlock SET published_at = :now WHERE unlock_id = ANY (:unlock_ids::uuid[]) AND granted_at IS NOT NULL;

-- name: mark_announced
-- Without a claim: skips locked rows, because their holder may be waiting for another of these rows. By id only: with
-- the condition of the outbox's index, PostgreSQL would read that whole index, including settling unlocks.
UPDATE unlock SET published_at = :now
WHERE unlock_id IN (
    SELECT unlock_id
    FROM unlock
    WHERE unlock_id = ANY (:unlock_ids::uuid[]) AND coalesce(published_at, 'infinity') = 'infinity'
    FOR UPDATE SKIP LOCKED);

-- name: next_settling
-- The next time when the outbox must look again.
SELECT min(settles_at) FROM unlock WHERE granted_at IS NULL AND revoked_at IS NULL;

-- name: outbox_is_empty
-- Ignores unlocks that the broker refuses.
SELECT NOT EXISTS (
    SELECT FROM unlock
    WHERE published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL AND unlock_id <> ALL (:refused::uuid[])
) AND NOT EXISTS (
    SELECT FROM unlock WHERE granted_at IS NULL AND revoked_at IS NULL AND settles_at <= :clock::timestamptz
);

-- name: contested_of_subject
-- A subject's contested unlocks of some achievements.
SELECT achievement, tier, occurrence, earned_at, contested_at
FROM unlock
WHERE tenant_id = :tenant_id AND scope = :scope AND subject = :subject AND achievement = ANY (:achievements::text[])
    AND contested_at IS NOT NULL AND revoked_at IS NULL
ORDER BY achievement, tier, occurrence;

-- name: unlocks_of_achievement
-- Unlocks that an operator can revoke; only of one tier, version, tenant and subject, if given.
SELECT unlock_id, tenant_id, scope, subject, achievement, tier, occurrence
FROM unlock
WHERE revoked_at IS NULL AND achievement = :achievement AND (:tier::text IS NULL OR tier = :tier)
    AND (:version::integer IS NULL OR version = :version)
    AND (:tenant_id::text IS NULL OR tenant_id = :tenant_id) AND (:subject::text IS NULL OR subject = :subject)
ORDER BY tenant_id, scope, subject, achievement, tier, occurrence;

-- name: revocable_of_change
-- Unlocks that an operator can revoke, of a change of rules; what an operator has granted by hand since is not of it.
SELECT unlock_id, tenant_id, scope, subject, achievement, tier, occurrence
FROM unlock
WHERE change_id = :change_id AND revoked_at IS NULL AND NOT by_hand
ORDER BY tenant_id, scope, subject, achievement, tier, occurrence;

-- name: unlocks_of_ids
-- Unlocks that an operator can revoke.
SELECT unlock_id, tenant_id, scope, subject, achievement, tier, occurrence
FROM unlock
WHERE revoked_at IS NULL AND unlock_id = ANY (:unlock_ids::uuid[])
ORDER BY tenant_id, scope, subject, achievement, tier, occurrence;

-- name: revoke_unlocks
-- In every state, and permanently: a settling row stays, so that no evidence earns it again. With the decisions,
-- which evidence does not change.
WITH before AS (
    SELECT * FROM unlock WHERE unlock_id = ANY (:unlock_ids::uuid[]) AND revoked_at IS NULL ORDER BY unlock_id FOR UPDATE
), revoked AS (
    UPDATE unlock SET
        revoked_at = :now,
        revision = before.revision + CASE WHEN before.granted_at IS NULL OR before.silent THEN 0 ELSE 1 END
    FROM before
    WHERE unlock.unlock_id = before.unlock_id
), decided AS (
    INSERT INTO evaluation (
        tenant_id, scope, subject, achievement, tier, occurrence, version, decision, final, earned_at, event_id,
        decided_at, actor, reason)
    SELECT
        tenant_id, scope, subject, achievement, tier, occurrence, version, 'revoked', true, earned_at, event_id,
        :now::timestamptz, nullif(:by, ''), nullif(:reason, '')
    FROM before
    ORDER BY unlock_id
), corrected AS (
    INSERT INTO correction (
        unlock_id, revision, kind, tenant_id, scope, subject, achievement, tier, occurrence, origin, granted_at, reward,
        status_before, status, version_before, version, earned_before, earned_at, event_before, event_id,
        by_hand_before, by_hand, announced, actor, reason, decided_at)
    SELECT
        unlock_id, revision + 1, 'revoked', tenant_id, scope, subject, achievement, tier, occurrence, origin,
        granted_at, reward, CASE WHEN contested_at IS NULL THEN 'granted' ELSE 'contested' END, 'revoked', version,
        version, earned_at, earned_at, event_id, event_id, by_hand, by_hand, published_at IS NOT NULL, nullif(:by, ''),
        nullif(:reason, ''), :now::timestamptz
    FROM before
    WHERE granted_at IS NOT NULL AND NOT silent
    ORDER BY unlock_id
)
SELECT tenant_id, scope, subject, achievement, tier, occurrence, version, earned_at, event_id
FROM before
ORDER BY unlock_id;

-- name: count_revoked_at
-- How many of some unlocks were revoked at an instant.
SELECT count(*) FROM unlock WHERE unlock_id = ANY (:unlock_ids::uuid[]) AND revoked_at = :now;

-- name: user_is_erased
SELECT EXISTS (SELECT FROM erasure WHERE tenant_id = :tenant_id AND user_id = :user_id);

-- name: grant_by_hand
-- Overwrites an existing row, which the caller has locked. Id, reward, granted_at, origin and published_at keep their
-- values if set. If the unlock was granted before, this is a revision, with the operator and the reason. If nothing was
-- announced of it, the grant by hand is announced as if it were new.
WITH before AS (
    SELECT * FROM unlock WHERE unlock_id = :unlock_id
), granted AS (
    INSERT INTO unlock (
        tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
        granted_at, reward, by_hand, origin)
    VALUES (
        :tenant_id, :scope, :subject, :achievement, :tier, :occurrence, :unlock_id, :version,
        :earned_at, :event_id, :settles_at, :granted_at, :reward::text::jsonb, true, 'by_hand')
    ON CONFLICT (tenant_id, scope, subject, achievement, tier, occurrence) DO UPDATE SET
        version = excluded.version,
        earned_at = excluded.earned_at,
        event_id = excluded.event_id,
        settles_at = excluded.settles_at,
        granted_at = coalesce(unlock.granted_at, excluded.granted_at),
        contested_at = NULL,
        revoked_at = NULL,
        by_hand = true,
        origin = CASE WHEN unlock.granted_at IS NULL OR unlock.silent THEN excluded.origin ELSE unlock.origin END,
        change_id = CASE WHEN unlock.granted_at IS NOT NULL AND NOT unlock.silent THEN unlock.change_id END,
        published_at = CASE WHEN NOT unlock.silent THEN unlock.published_at END,
        silent = false,
        revision = unlock.revision + CASE WHEN unlock.granted_at IS NULL OR unlock.silent THEN 0 ELSE 1 END
    RETURNING *
)
INSERT INTO correction (
    unlock_id, revision, kind, tenant_id, scope, subject, achievement, tier, occurrence, origin, granted_at, reward,
    status_before, status, version_before, version, earned_before, earned_at, event_before, event_id, by_hand_before,
    by_hand, announced, actor, reason, decided_at)
SELECT
    unlock_id, granted.revision, 'granted_by_hand', granted.tenant_id, granted.scope, granted.subject,
    granted.achievement, granted.tier, granted.occurrence, granted.origin, granted.granted_at, granted.reward,
    CASE
        WHEN before.revoked_at IS NOT NULL THEN 'revoked'
        WHEN before.contested_at IS NOT NULL THEN 'contested'
        ELSE 'granted'
    END,
    'granted', before.version, granted.version, before.earned_at, granted.earned_at, before.event_id, granted.event_id,
    before.by_hand, true, before.published_at IS NOT NULL, nullif(:by, ''), nullif(:reason, ''), :now::timestamptz
FROM before
JOIN granted USING (unlock_id)
WHERE before.granted_at IS NOT NULL AND NOT before.silent;

-- name: insert_operators_word
-- An operator's decision and its reason; evidence does not change it.
INSERT INTO evaluation (
    tenant_id, scope, subject, achievement, tier, occurrence, version, decision, final, earned_at, event_id,
    decided_at, actor, reason)
VALUES (
    :tenant_id, :scope, :subject, :achievement, :tier, :occurrence, :version, :decision, true,
    :earned_at, :event_id, :now, nullif(:by, ''), nullif(:reason, ''));
