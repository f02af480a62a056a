-- Rebuilds: states folded again from the ledger, beside live workers.

-- name: rebuild_to_go_on_with
SELECT rebuild_id, after_scope, after_tenant, after_subject, subjects, events, states, decisions
FROM rebuild
WHERE ended_at IS NULL
    AND tenant_id IS NOT DISTINCT FROM :tenant_id::text AND achievement IS NOT DISTINCT FROM :achievement::text
ORDER BY rebuild_id DESC
LIMIT 1;

-- name: begin_rebuild
INSERT INTO rebuild (tenant_id, achievement, begun_at, begun_by)
VALUES (:tenant_id::text, :achievement::text, :now, :by)
RETURNING rebuild_id;

-- name: note_rebuild
-- Counts are what was done since the last time: two that work on one rebuild do no harm, and each is counted.
UPDATE rebuild SET
    after_scope = :scope, after_tenant = :after_tenant, after_subject = :after_subject,
    subjects = subjects + :subjects, events = events + :events, states = states + :states,
    decisions = decisions + :decisions
WHERE rebuild_id = :rebuild_id;

-- name: end_rebuilds
-- All that are open for the same subjects, up to one: an earlier one may have been left behind, and a later one is another
-- operator's.
UPDATE rebuild SET ended_at = :now, after_scope = '', after_tenant = '', after_subject = ''
WHERE ended_at IS NULL AND rebuild_id <= :upto::bigint
    AND tenant_id IS NOT DISTINCT FROM :tenant_id::text AND achievement IS NOT DISTINCT FROM :achievement::text;

-- name: forget_place_of_rebuild
-- The name of an erased user stays nowhere: the subjects of that scope are done again.
UPDATE rebuild SET after_tenant = '', after_subject = ''
WHERE after_scope = 'user' AND after_tenant = :tenant_id AND after_subject = :user_id;

-- name: count_of_users
-- Events up to a position of each user, of some types; none where some are archived, which only a fold would count.
SELECT asked.n, count(event.event_id)
FROM unnest(
    :positions.tenant_id::text[], :positions.subject::text[], :positions.at::timestamptz[],
    :positions.id::text[])
    WITH ORDINALITY AS asked (tenant_id, user_id, until_at, until_id, n)
JOIN event ON event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id
    AND bin_of(event.occurred_at) <= bin_of(asked.until_at)
    AND (event.occurred_at, event.event_id) <= (asked.until_at, asked.until_id)
WHERE event_type = ANY (:types::text[])
    AND NOT EXISTS (SELECT FROM pack WHERE pack.tenant_id = asked.tenant_id AND pack.user_id = asked.user_id)
GROUP BY asked.n
ORDER BY asked.n;

-- name: count_of_tenants
SELECT asked.n, count(event.event_id)
FROM unnest(
    :positions.tenant_id::text[], :positions.subject::text[], :positions.at::timestamptz[],
    :positions.id::text[])
    WITH ORDINALITY AS asked (tenant_id, subject, until_at, until_id, n)
JOIN event ON event.tenant_id = asked.subject
    AND bin_of(event.occurred_at) <= bin_of(asked.until_at)
    AND (event.occurred_at, event.event_id) <= (asked.until_at, asked.until_id)
WHERE event_type = ANY (:types::text[])
    AND NOT EXISTS (SELECT FROM pack WHERE pack.tenant_id = asked.subject)
GROUP BY asked.n
ORDER BY asked.n;

-- name: count_of_subjects
SELECT asked.n, count(event.event_id)
FROM unnest(
    :positions.tenant_id::text[], :positions.subject::text[], :positions.at::timestamptz[],
    :positions.id::text[])
    WITH ORDINALITY AS asked (tenant_id, subject, until_at, until_id, n)
JOIN event_subject AS member ON member.tenant_id = asked.tenant_id AND member.scope = :scope
    AND member.subject = asked.subject
    AND (member.occurred_at, member.event_id) <= (asked.until_at, asked.until_id)
JOIN event ON event.event_id = member.event_id AND event.tenant_id = member.tenant_id
WHERE event.event_type = ANY (:types::text[])
    AND NOT EXISTS (
        SELECT FROM packed_member AS packed
        WHERE packed.tenant_id = asked.tenant_id AND packed.scope = :scope AND packed.subject = asked.subject)
GROUP BY asked.n
ORDER BY asked.n;

-- name: checkpoints_of_subjects
SELECT checkpoint.tenant_id, checkpoint.scope, checkpoint.subject, mark_at, mark_id, stamp, state
FROM unnest(:tenant_ids::text[], :scopes::text[], :subjects::text[]) AS asked (tenant_id, scope, subject)
JOIN checkpoint ON checkpoint.tenant_id = asked.tenant_id AND checkpoint.scope = asked.scope
    AND checkpoint.subject = asked.subject
ORDER BY checkpoint.tenant_id, checkpoint.scope, checkpoint.subject, mark_at, mark_id;
