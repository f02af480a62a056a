-- Dead letters.

-- name: share_letters
-- Writers of dead letters share this lock, and an erasure holds it alone. So an erasure finds all earlier dead
-- letters, and later ones find the tombstone. The key is the word `achd` as a number.
SELECT pg_advisory_xact_lock_shared(1633904740);

-- name: hold_letters
SELECT pg_advisory_xact_lock(1633904740);

-- name: erased_among
-- Which of the given users, by their tokens, are erased; without a tenant, any user of that name counts.
-- 0 means that there are tombstones without tokens.
SELECT asked.n
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (tenant_token, user_token, n)
WHERE EXISTS (
    SELECT FROM erasure
    WHERE erasure.user_token = asked.user_token AND asked.tenant_token IN ('', erasure.tenant_token))
UNION ALL
(SELECT 0 FROM erasure WHERE user_token IS NULL LIMIT 1);

-- name: insert_dead_letters
-- A batch that is retried after a commit of unknown outcome inserts nothing twice. A blank letter ($12) is stored
-- without its body.
INSERT INTO dead_letter (
    stream, stream_seq, element, digest, reason, detail, nats_subject, headers, body, deliveries, died_at, erased_at,
    names_read)
SELECT
    $1, stream_seq, element, digest, reason, detail, nats_subject, headers::jsonb, body, deliveries,
    $10::timestamptz, CASE WHEN blank THEN $10::timestamptz END, true
FROM unnest(
    $2::bigint[], $3::integer[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[],
    $11::integer[], $12::boolean[]) AS rows (
    stream_seq, element, digest, reason, detail, nats_subject, headers, body, deliveries, blank)
ON CONFLICT (stream, stream_seq, element, digest) DO NOTHING
RETURNING dead_letter_id, stream_seq, element;

-- name: insert_letter_users
INSERT INTO dead_letter_user (dead_letter_id, tenant_token, user_token)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])
ON CONFLICT DO NOTHING;

-- name: letters_died_again
-- The publisher claims that a letter was sent again from another one ($1). The claim counts only if the letter came
-- on the subject of that one, with the body that was sent last.
UPDATE dead_letter SET died_again_as = again.dead_letter_id
FROM unnest($1::bigint[], $2::bytea[], $3::text[], $4::bigint[])
    AS again (sent_from, sent_digest, nats_subject, dead_letter_id)
WHERE dead_letter.dead_letter_id = again.sent_from AND dead_letter.replay_digest = again.sent_digest
    AND dead_letter.nats_subject = again.nats_subject AND dead_letter.stream = $5;

-- name: dead_letters
-- Newest first; a null reason means any.
SELECT
    dead_letter_id, stream, stream_seq, element, reason, detail, nats_subject, headers::text AS headers, body,
    deliveries, died_at, replayed_at, died_again_as, erased_at
FROM dead_letter
WHERE ($1::text IS NULL OR reason = $1) AND ($2::boolean OR replayed_at IS NULL)
ORDER BY dead_letter_id DESC
LIMIT $3;

-- name: dead_letter
SELECT
    dead_letter_id, stream, stream_seq, element, reason, detail, nats_subject, headers::text AS headers, body,
    deliveries, died_at, replayed_at, died_again_as, erased_at
FROM dead_letter
WHERE dead_letter_id = $1;

-- name: letters_to_send
-- The ids of letters that were not sent again and have a body, in pages by key up to $4; null means any.
SELECT dead_letter_id
FROM dead_letter
WHERE replayed_at IS NULL AND erased_at IS NULL
    AND ($1::text IS NULL OR reason = $1)
    AND ($2::timestamptz IS NULL OR died_at >= $2)
    AND dead_letter_id > $3 AND dead_letter_id <= $4
ORDER BY dead_letter_id
LIMIT $5;

-- name: last_letter
SELECT coalesce(max(dead_letter_id), 0) FROM dead_letter;

-- name: mark_sent
-- Runs before the message is sent, so that the next dead letter can recognise it.
UPDATE dead_letter SET replay_digest = $2, died_again_as = NULL WHERE dead_letter_id = $1;

-- name: mark_replayed
UPDATE dead_letter SET replayed_at = $2 WHERE dead_letter_id = $1;

-- name: purge_dead_letters
DELETE FROM dead_letter
WHERE ($1::bigint[] IS NULL OR dead_letter_id = ANY ($1))
    AND ($2::text IS NULL OR reason = $2)
    AND died_at < $3;

-- name: count_dead_letters
SELECT reason, count(*) AS letters FROM dead_letter WHERE replayed_at IS NULL GROUP BY reason ORDER BY reason;

-- name: unread_letters
-- Letters of older workers, $1 bytes of bodies at a time, or one letter. Locked, because another erasure may read
-- them at the same time.
SELECT dead_letter_id, nats_subject, body
FROM (
    SELECT *, sum(octet_length(body)) OVER (ORDER BY dead_letter_id) - octet_length(body) AS before
    FROM (
        SELECT dead_letter_id, nats_subject, body
        FROM dead_letter
        WHERE NOT names_read
        ORDER BY dead_letter_id
        LIMIT 1000
        FOR UPDATE
    ) AS unread
) AS page
WHERE before < $1::bigint OR before = 0
ORDER BY dead_letter_id;

-- name: letters_are_read
UPDATE dead_letter SET names_read = true WHERE dead_letter_id = ANY ($1::bigint[]);
