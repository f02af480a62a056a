-- The begin of versions, at which all subjects are judged.

-- name: note_past_moments
-- For new rules: their change judges what began before.
INSERT INTO moment (at, looks, beat_at, ended_at)
SELECT DISTINCT starts_at, 2, clock_timestamp(), :now::timestamptz
FROM rule_version
WHERE epoch = :epoch AND starts_at <= :clock
ON CONFLICT (at) DO NOTHING;

-- name: due_moment
-- The first one that the clock has reached and that is not done, or not looked at a second time.
SELECT least(
    (
        SELECT min(starts_at) FROM rule_version
        WHERE retired_at IS NULL AND starts_at <= :clock
            AND NOT EXISTS (SELECT FROM moment WHERE moment.at = starts_at)
    ),
    (
        SELECT min(at) FROM moment
        WHERE ended_at IS NULL AND at <= CASE WHEN looks = 0 THEN :clock::timestamptz ELSE :second::timestamptz END
    )
);

-- name: take_moment
-- No row where another process is at it.
INSERT INTO moment (at, builder, beat_at) VALUES (:at, :builder, clock_timestamp())
ON CONFLICT (at) DO UPDATE SET builder = excluded.builder, beat_at = excluded.beat_at
WHERE moment.ended_at IS NULL
    AND (
        moment.builder IN ('', excluded.builder)
        OR moment.beat_at <= clock_timestamp() - :silent_ms::bigint * interval '1 millisecond')
RETURNING looks, scope, tenant_id, subject;

-- name: beat_moment
-- No row where this process is not to look any more.
UPDATE moment SET
    beat_at = clock_timestamp(), scope = :scope, tenant_id = :tenant_id, subject = :subject, subjects = subjects + :subjects
WHERE at = :at AND builder = :builder AND ended_at IS NULL
RETURNING looks;

-- name: end_look
-- The process gives it back; behind the second look it is done.
UPDATE moment SET
    looks = looks + 1, builder = '', scope = '', tenant_id = '', subject = '',
    ended_at = CASE WHEN looks + 1 = 2 THEN :now::timestamptz END
WHERE at = :at AND builder = :builder AND ended_at IS NULL;
