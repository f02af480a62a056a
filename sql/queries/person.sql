-- All that is stored about one user, in the order in which an export prints it. Each statement uses a key of the user, but for
-- `actions_on_person`, whose table is small. Who of the operators did something is left out everywhere.

-- name: person_is_known
-- As `user_is_known`, without dead letters that name a user of an unknown tenant.
SELECT
    EXISTS (SELECT FROM event WHERE tenant_id = :tenant_id AND user_id = :user_id)
    OR EXISTS (SELECT FROM event_subject WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id)
    OR EXISTS (SELECT FROM packed_member WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id)
    OR EXISTS (SELECT FROM progress WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id)
    OR EXISTS (SELECT FROM unlock WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id)
    OR EXISTS (SELECT FROM evaluation WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id)
    OR EXISTS (SELECT FROM dead_letter_user WHERE user_token = :user_token AND tenant_token = :tenant_token)
    OR EXISTS (SELECT FROM erasure WHERE tenant_id = :tenant_id AND user_id = :user_id)
    OR EXISTS (SELECT FROM lifted_erasure WHERE tenant_id = :tenant_id AND user_id = :user_id);

-- name: lifted_of_person
SELECT erased_at, lifted_at, reason
FROM lifted_erasure
WHERE tenant_id = :tenant_id AND user_id = :user_id
ORDER BY lifted_at;

-- name: events_of_person
SELECT
    event_id, event_type, occurred_at, utc_offset, occurred_at_text, source, payload, received_at, stream_seq,
    published_at, region
FROM event
WHERE tenant_id = :tenant_id AND user_id = :user_id
ORDER BY occurred_at, event_id;

-- name: events_naming_person
-- Events of others. What else they say is the others' own.
SELECT event.event_id, event_type, event.occurred_at
FROM event_subject AS member
JOIN event ON event.tenant_id = member.tenant_id AND event.event_id = member.event_id
WHERE member.tenant_id = :tenant_id AND member.scope = 'user' AND member.subject = :user_id
ORDER BY event.occurred_at, event.event_id;

-- name: unlocks_of_person
-- With their decisions; without a row where there were decisions alone, so that the unlock was withdrawn.
SELECT
    named.achievement, named.tier, named.occurrence, unlock.unlock_id, unlock.version, v_unlock.status,
    unlock.earned_at, unlock.event_id, unlock.settles_at, unlock.granted_at, v_unlock.published_at, unlock.contested_at,
    unlock.revoked_at, unlock.by_hand, unlock.origin, unlock.revision, unlock.reward::text AS reward,
    ARRAY(
        SELECT ROW(decided_at, decision, version, final, earned_at, event_id, actor IS NOT NULL, reason)
        FROM evaluation
        WHERE evaluation.tenant_id = :tenant_id AND evaluation.scope = 'user' AND evaluation.subject = :user_id
            AND evaluation.achievement = named.achievement AND evaluation.tier = named.tier
            AND evaluation.occurrence = named.occurrence
        ORDER BY evaluation_id
    ) AS history
FROM (
    SELECT achievement, tier, occurrence FROM unlock
    WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id
    UNION
    SELECT achievement, tier, occurrence FROM evaluation
    WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id
) AS named
LEFT JOIN unlock
    ON unlock.tenant_id = :tenant_id AND unlock.scope = 'user' AND unlock.subject = :user_id
    AND unlock.achievement = named.achievement AND unlock.tier = named.tier AND unlock.occurrence = named.occurrence
LEFT JOIN v_unlock ON v_unlock.unlock_id = unlock.unlock_id
ORDER BY named.achievement, named.tier, named.occurrence;

-- name: corrections_of_person
SELECT unlock_id, revision, kind, achievement, tier, occurrence, status_before, status, reason, decided_at
FROM correction
WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id
ORDER BY unlock_id, revision;

-- name: revealed_to_person
SELECT achievement, tier, revealed_at
FROM revealed
WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id
ORDER BY achievement, tier;

-- name: letters_of_person
-- Without their contents. Of an unknown tenant is none: it may be of another tenant's user.
SELECT
    dead_letter_id, reason, died_at, stream, stream_seq, element, replayed_at, erased_at,
    EXISTS (
        SELECT FROM dead_letter_user AS other
        WHERE other.dead_letter_id = dead_letter.dead_letter_id
            AND (other.tenant_token, other.user_token) <> (:tenant_token, :user_token)
    ) AS names_others
FROM dead_letter_user
JOIN dead_letter USING (dead_letter_id)
WHERE user_token = :user_token AND tenant_token = :tenant_token
ORDER BY dead_letter_id;

-- name: letter_of_person
-- What a dead letter says, if it names this user alone.
SELECT detail, nats_subject, headers::text AS headers, body
FROM dead_letter
WHERE dead_letter_id = :dead_letter_id
    AND NOT EXISTS (
        SELECT FROM dead_letter_user AS other
        WHERE other.dead_letter_id = dead_letter.dead_letter_id
            AND (other.tenant_token, other.user_token) <> (:tenant_token, :user_token));

-- name: deliveries_of_person
SELECT endpoint, webhook_id, type, attempt, attempted_at, outcome, status, detail
FROM delivery
WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id
ORDER BY delivery_id;

-- name: actions_on_person
-- Of a target such as `streak.gold of user ann, unlock 8a...`: an achievement's name has no space. The target of a grant
-- without a scope says `subject`.
SELECT kind, target, reason, outcome, begun_at, ended_at
FROM action
WHERE tenant_id = :tenant_id AND kind IN ('revoke', 'grant')
    AND regexp_replace(target, ', unlock [0-9a-f-]{36}$', '') IN (
        split_part(target, ' of ', 1) || ' of user ' || :user_id::text,
        split_part(target, ' of ', 1) || ' of subject ' || :user_id::text)
ORDER BY action_id;
