-- An erased user: what is deleted, and what must be folded anew without it.

-- name: insert_erasure
INSERT INTO erasure (tenant_id, user_id, erased_at, erased_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, user_id) DO NOTHING;

-- name: shared_subjects
-- Teams, courses and the like that the user's events belong to.
SELECT DISTINCT event.tenant_id, member.scope, member.subject
FROM event
JOIN event_subject AS member ON member.tenant_id = event.tenant_id AND member.event_id = event.event_id
WHERE event.tenant_id = $1 AND event.user_id = $2;

-- name: erase_events
DELETE FROM event WHERE tenant_id = $1 AND user_id = $2;

-- name: erase_unlocks
DELETE FROM unlock WHERE tenant_id = $1 AND scope = 'user' AND subject = $2;

-- name: erase_evaluations
DELETE FROM evaluation WHERE tenant_id = $1 AND scope = 'user' AND subject = $2;

-- name: erase_dead_letters
DELETE FROM dead_letter WHERE starts_with(nats_subject, $1);

-- name: forget_progress
-- The next event, or a backfill, folds them anew.
DELETE FROM progress
USING unnest($1::text[], $2::text[], $3::text[]) AS gone (tenant_id, scope, subject)
WHERE progress.tenant_id = gone.tenant_id AND progress.scope = gone.scope AND progress.subject = gone.subject;

-- name: forget_all_checkpoints
DELETE FROM checkpoint
USING unnest($1::text[], $2::text[], $3::text[]) AS gone (tenant_id, scope, subject)
WHERE checkpoint.tenant_id = gone.tenant_id AND checkpoint.scope = gone.scope AND checkpoint.subject = gone.subject;
