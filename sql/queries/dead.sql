-- Dead letters.

-- name: insert_dead_letters
-- A batch that is tried again after a commit of unknown outcome buries nobody twice.
INSERT INTO dead_letter (
    stream, stream_seq, element, digest, reason, detail, nats_subject, headers, body, deliveries, died_at)
SELECT
    $1, stream_seq, element, digest, reason, detail, nats_subject, headers::jsonb, body, deliveries,
    $10::timestamptz
FROM unnest(
    $2::bigint[], $3::integer[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[],
    $11::integer[]) AS rows (
    stream_seq, element, digest, reason, detail, nats_subject, headers, body, deliveries)
ON CONFLICT (stream, stream_seq, element, digest) DO NOTHING;

-- name: dead_letters
-- Newest first; a null reason means any.
SELECT
    dead_letter_id, stream, stream_seq, element, reason, detail, nats_subject, headers::text AS headers, body,
    deliveries, died_at, replayed_at
FROM dead_letter
WHERE ($1::text IS NULL OR reason = $1) AND ($2::boolean OR replayed_at IS NULL)
ORDER BY dead_letter_id DESC
LIMIT $3;

-- name: dead_letter
SELECT
    dead_letter_id, stream, stream_seq, element, reason, detail, nats_subject, headers::text AS headers, body,
    deliveries, died_at, replayed_at
FROM dead_letter
WHERE dead_letter_id = $1;

-- name: mark_replayed
UPDATE dead_letter SET replayed_at = $2 WHERE dead_letter_id = $1;

-- name: purge_dead_letters
DELETE FROM dead_letter
WHERE ($1::bigint[] IS NULL OR dead_letter_id = ANY ($1))
    AND ($2::text IS NULL OR reason = $2)
    AND died_at < $3;

-- name: count_dead_letters
SELECT reason, count(*) AS letters FROM dead_letter WHERE replayed_at IS NULL GROUP BY reason ORDER BY reason;
