-- What new rules would change: read in one snapshot, without locks.

-- name: events_by_user
-- Everything that a plan hears, user by user, in canonical order; payloads of the types whose fields it reads.
SELECT
    tenant_id, event_id, event_type, user_id, occurred_at, utc_offset,
    CASE WHEN event_type = ANY (:read::text[]) THEN payload END
FROM event
WHERE event_type = ANY (:types::text[])
ORDER BY tenant_id, user_id, occurred_at, event_id;

-- name: events_by_user_in_roles
-- The same, with the events that name a user beside the one who did them.
SELECT event.user_id AS subject, tenant_id, event_id, event_type, user_id, occurred_at, utc_offset, payload
FROM event
WHERE event_type = ANY (:types::text[])
UNION ALL
SELECT member.subject, event.tenant_id, event.event_id, event_type, user_id, event.occurred_at, utc_offset, payload
FROM event_subject AS member
JOIN event ON event.tenant_id = member.tenant_id AND event.event_id = member.event_id
WHERE member.scope = 'user' AND event_type = ANY (:types::text[])
ORDER BY tenant_id, subject, occurred_at, event_id;

-- name: events_by_tenant
SELECT
    tenant_id, event_id, event_type, user_id, occurred_at, utc_offset,
    CASE WHEN event_type = ANY (:read::text[]) THEN payload END
FROM event
WHERE event_type = ANY (:types::text[])
ORDER BY tenant_id, occurred_at, event_id;

-- name: unlocks_by_subject
-- Of some achievements and tiers, subject by subject. That the achievement is one of them is seen sooner than that the
-- pair is, and rules out nearly all.
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    granted_at, contested_at, revoked_at, by_hand
FROM unlock
WHERE scope = :scope AND achievement = ANY (:keys.achievement::text[])
    AND (achievement, tier) IN (SELECT * FROM unnest(:keys.achievement::text[], :keys.tier::text[]))
ORDER BY tenant_id, subject, achievement, tier, occurrence;

-- name: some_unlocks_by_subject
-- The first ones.
-- use unlocks_by_subject
LIMIT :limit::bigint;

-- name: ever_in_force
-- Whether any of some achievements and tiers may ever have been in force: an achievement has a version then, and the name of
-- a tier is in the text of some rules.
SELECT EXISTS (
    SELECT FROM unnest(:keys.achievement::text[], :keys.tier::text[]) AS keys (achievement, tier)
    WHERE EXISTS (SELECT FROM rule_version WHERE rule_version.achievement = keys.achievement)
        AND EXISTS (SELECT FROM rule_set WHERE strpos(sources::text, tier) > 0));

-- name: unlocks_without_events
-- Those of users that have no event of some types; seldom any.
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    granted_at, contested_at, revoked_at, by_hand
FROM unlock
WHERE scope = 'user' AND (achievement, tier) IN (SELECT * FROM unnest(:keys.achievement::text[], :keys.tier::text[]))
    AND NOT EXISTS (
        SELECT FROM event
        WHERE event.tenant_id = unlock.tenant_id AND event.user_id = unlock.subject
            AND event_type = ANY (:types::text[]))
    AND NOT EXISTS (
        SELECT FROM pack
        WHERE pack.tenant_id = unlock.tenant_id AND pack.user_id = unlock.subject AND types && :types::text[])
ORDER BY tenant_id, subject, achievement, tier, occurrence;

-- name: unlocks_as_they_are
-- As `unlocks_of_subjects`, without locks.
-- use stored_unlocks_of_asked
WHERE (achievement, tier) IN (SELECT * FROM unnest(:keys.achievement::text[], :keys.tier::text[]))
ORDER BY unlock.tenant_id, unlock.scope, unlock.subject, achievement, tier, occurrence;

-- name: users_in_ledger
-- Every user, by one search of the index each.
WITH RECURSIVE found AS (
    (SELECT tenant_id, user_id FROM event ORDER BY tenant_id, user_id LIMIT 1)
    UNION ALL
    SELECT next.tenant_id, next.user_id
    FROM found
    CROSS JOIN LATERAL (
        SELECT tenant_id, user_id
        FROM event
        WHERE (event.tenant_id, event.user_id) > (found.tenant_id, found.user_id)
        ORDER BY tenant_id, user_id
        LIMIT 1
    ) AS next
)
SELECT tenant_id, user_id AS subject FROM found;

-- name: users_in_ledger_in_roles
-- The same, with users that events of others name.
SELECT tenant_id, user_id AS subject FROM event
UNION
SELECT tenant_id, subject FROM event_subject WHERE scope = 'user'
UNION
SELECT tenant_id, subject FROM packed_member WHERE scope = 'user'
ORDER BY tenant_id, subject;

-- name: tenants_in_ledger
WITH RECURSIVE found AS (
    (SELECT tenant_id FROM event ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT next.tenant_id
    FROM found
    CROSS JOIN LATERAL (
        SELECT tenant_id FROM event WHERE event.tenant_id > found.tenant_id ORDER BY tenant_id LIMIT 1
    ) AS next
)
SELECT tenant_id, tenant_id AS subject FROM found;

-- name: retired_settling
-- What an apply would withdraw at once, as `withdraw_retired` says.
SELECT
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, settles_at,
    granted_at, contested_at, revoked_at, by_hand
FROM unlock
WHERE published_at IS NULL AND granted_at IS NULL AND revoked_at IS NULL AND settles_at > :clock::timestamptz
    AND (scope, achievement, tier) NOT IN (SELECT * FROM unnest(
        :judged.scope::text[], :judged.achievement::text[], :judged.tier::text[]))
ORDER BY tenant_id, scope, subject, achievement, tier, occurrence;

-- name: kept_unlocks
-- How many granted unlocks of some achievements there are, without those that were revoked.
SELECT achievement, count(*)
FROM unlock
WHERE achievement = ANY (:achievements::text[]) AND granted_at IS NOT NULL AND revoked_at IS NULL
GROUP BY achievement;

-- name: estimated_events
-- By the statistics of the server; negative where it has none.
SELECT reltuples::bigint + coalesce((SELECT sum(events) FROM pack), 0)::bigint
FROM pg_class
WHERE oid = 'event'::regclass;

-- name: exact_events
SELECT (SELECT count(*) FROM event) + coalesce((SELECT sum(events) FROM pack), 0)::bigint;

-- name: states_by_subject
SELECT tenant_id, subject, stamp, state
FROM progress
WHERE scope = :scope
ORDER BY tenant_id, subject;

-- name: states_behind
-- In pages by key.
SELECT tenant_id, subject, stamp, state
FROM progress
WHERE scope = :scope AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
ORDER BY tenant_id, subject
LIMIT :limit;

-- name: events_behind
-- How many events each user has from an instant on, up to a number.
SELECT (
    SELECT count(*)
    FROM (
        SELECT
        FROM event
        WHERE event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id
            AND bin_of(occurred_at) >= bin_of(asked.mark_at) AND occurred_at >= asked.mark_at
        LIMIT :most::integer
    ) AS found
)
FROM unnest(:tenant_ids::text[], :user_ids::text[], :marks::timestamptz[]) WITH ORDINALITY
    AS asked (tenant_id, user_id, mark_at, n)
ORDER BY n;

-- name: states_within_reach
-- Those that do not plainly say that each of some counts is below a number, as they lie in the table; one for each of its
-- counts that is not. Numbers are compared as texts of twenty digits, no number as zero, and what is none is above all: with
-- a quotation mark or a bracket in it. States that are long may lack many events, and a mark without an event is a
-- moment: both are for the engine to judge, as all that is written in another way.
SELECT tenant_id, subject, progress.stamp, state
FROM progress
LEFT JOIN unnest(:counts.stamp::text[], :counts.before::text[], :counts.least::text[])
    AS counts (stamp, before, least) ON counts.stamp = progress.stamp
WHERE scope = :scope AND (
    counts.stamp IS NULL OR mark_id = '' OR octet_length(state) >= :long::integer
    OR NOT starts_with(state, :prefix::text)
    OR lpad(translate(split_part(split_part(state, before, 2), ']', 1), '"', 'x'), 20, '0') COLLATE "C" >= least)
LIMIT :limit::bigint;

-- name: events_of_many_users
-- In one scan of the ledger, user by user as they are asked for, in canonical order: by key, each event of a user lies in
-- another page, whatever its type is.
SELECT
    n, event.tenant_id, event_id, event_type, event.user_id, occurred_at, utc_offset,
    CASE WHEN event_type = ANY (:read::text[]) THEN payload END
FROM unnest(:tenant_ids::text[], :user_ids::text[]) WITH ORDINALITY AS asked (tenant_id, user_id, n)
JOIN event ON event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id
WHERE event_type = ANY (:types::text[])
ORDER BY n, occurred_at, event_id;

-- name: has_packs
SELECT EXISTS (SELECT FROM pack);

-- name: states_of_subjects
SELECT progress.tenant_id, progress.subject, stamp, state
FROM unnest(:tenant_ids::text[], :scopes::text[], :subjects::text[]) AS asked (tenant_id, scope, subject)
JOIN progress
    ON progress.tenant_id = asked.tenant_id AND progress.scope = asked.scope AND progress.subject = asked.subject;

-- name: number_of_states
-- Of some subjects.
SELECT count(*)
FROM (
    -- use states_of_subjects
) AS found;

-- name: stamps_of_scope
-- With how many states have each.
SELECT stamp, count(*) FROM progress WHERE scope = :scope GROUP BY stamp;

-- name: unseen_events_in_roles
-- Those behind the marks of stored states, with the events that name a user beside the one who did them.
SELECT
    progress.subject, event.tenant_id, event_id, event_type, event.user_id, occurred_at, utc_offset, payload
FROM progress
JOIN event
    ON event.tenant_id = progress.tenant_id AND event.user_id = progress.subject
    AND bin_of(event.occurred_at) >= bin_of(progress.mark_at)
    AND (event.occurred_at, event.event_id) > (progress.mark_at, progress.mark_id)
WHERE progress.scope = 'user' AND event_type = ANY (:types::text[])
UNION ALL
SELECT
    progress.subject, event.tenant_id, event.event_id, event_type, event.user_id, event.occurred_at, utc_offset, payload
FROM progress
JOIN event_subject AS member
    ON member.tenant_id = progress.tenant_id AND member.scope = 'user' AND member.subject = progress.subject
    AND (member.occurred_at, member.event_id) > (progress.mark_at, progress.mark_id)
JOIN event ON event.tenant_id = member.tenant_id AND event.event_id = member.event_id
WHERE progress.scope = 'user' AND event_type = ANY (:types::text[])
ORDER BY tenant_id, subject, occurred_at, event_id;
