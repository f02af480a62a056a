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
FROM unnest(
    :tenant_tokens::text[], :user_tokens::text[]) WITH ORDINALITY AS asked (tenant_token, user_token, n)
WHERE EXISTS (
    SELECT FROM erasure
    WHERE erasure.user_token = asked.user_token AND asked.tenant_token IN ('', erasure.tenant_token))
UNION ALL
(SELECT 0 FROM erasure WHERE user_token IS NULL LIMIT 1);

-- name: insert_dead_letters
-- A batch that is retried after a commit of unknown outcome inserts nothing twice. A blank letter is stored without its
-- body.
INSERT INTO dead_letter (
    stream, stream_seq, element, digest, reason, detail, nats_subject, headers, body, deliveries, died_at, erased_at,
    names_read)
SELECT
    :stream, stream_seq, element, digest, reason, detail, nats_subject, headers::jsonb, body, deliveries,
    :now::timestamptz, CASE WHEN blank THEN :now::timestamptz END, true
FROM unnest(
    :letters.stream_seq::bigint[], :letters.element::integer[], :letters.digest::bytea[],
    :letters.reason::text[], :letters.detail::text[], :letters.nats_subject::text[],
    :letters.headers::text[], :letters.body::bytea[], :letters.deliveries::integer[],
    :letters.blank::boolean[]) AS rows (
    stream_seq, element, digest, reason, detail, nats_subject, headers, body, deliveries, blank)
ON CONFLICT (stream, stream_seq, element, digest) DO NOTHING
RETURNING dead_letter_id, stream_seq, element;

-- name: insert_letter_users
INSERT INTO dead_letter_user (dead_letter_id, tenant_token, user_token)
SELECT * FROM unnest(:names.dead_letter_id::bigint[], :names.tenant_token::text[], :names.user_token::text[])
ON CONFLICT DO NOTHING;

-- name: letters_died_again
-- The publisher claims that a letter was sent again from another one. The claim counts only if the letter came on the
-- subject of that one, with the body that was sent last.
UPDATE dead_letter SET died_again_as = again.dead_letter_id
FROM unnest(
    :again.sent_from::bigint[], :again.sent_digest::bytea[], :again.nats_subject::text[],
    :again.dead_letter_id::bigint[])
    AS again (sent_from, sent_digest, nats_subject, dead_letter_id)
WHERE dead_letter.dead_letter_id = again.sent_from AND dead_letter.replay_digest = again.sent_digest
    AND dead_letter.nats_subject = again.nats_subject AND dead_letter.stream = :stream;

-- name: dead_letters
-- Newest first; a null reason means any.
SELECT
    dead_letter_id, stream, stream_seq, element, reason, detail, nats_subject, headers::text AS headers, body,
    deliveries, died_at, replayed_at, died_again_as, erased_at
FROM dead_letter
WHERE (:reason::text IS NULL OR reason = :reason) AND (:replayed::boolean OR replayed_at IS NULL)
ORDER BY dead_letter_id DESC
LIMIT :limit;

-- name: dead_letter
SELECT
    dead_letter_id, stream, stream_seq, element, reason, detail, nats_subject, headers::text AS headers, body,
    deliveries, died_at, replayed_at, died_again_as, erased_at
FROM dead_letter
WHERE dead_letter_id = :dead_letter_id;

-- name: letters_to_send
-- The ids of letters that were not sent again and have a body, in pages by key up to `until`; null means any.
SELECT dead_letter_id
FROM dead_letter
WHERE replayed_at IS NULL AND erased_at IS NULL
    AND (:reason::text IS NULL OR reason = :reason)
    AND (:since::timestamptz IS NULL OR died_at >= :since)
    AND dead_letter_id > :after AND dead_letter_id <= :until
ORDER BY dead_letter_id
LIMIT :limit;

-- name: last_letter
SELECT coalesce(max(dead_letter_id), 0) FROM dead_letter;

-- name: mark_sent
-- Runs before the message is sent, so that the next dead letter can recognise it.
UPDATE dead_letter SET replay_digest = :digest, died_again_as = NULL WHERE dead_letter_id = :dead_letter_id;

-- name: mark_replayed
UPDATE dead_letter SET replayed_at = :now WHERE dead_letter_id = :dead_letter_id;

-- name: purge_dead_letters
DELETE FROM dead_letter
WHERE (:dead_letter_ids::bigint[] IS NULL OR dead_letter_id = ANY (:dead_letter_ids))
    AND (:reason::text IS NULL OR reason = :reason)
    AND died_at < :before;

-- name: count_dead_letters
SELECT reason, count(*) AS letters FROM dead_letter WHERE replayed_at IS NULL GROUP BY reason ORDER BY reason;

-- name: unread_letters
-- Letters of older workers, `bytes` bytes of bodies at a time, or one letter. Locked, because another erasure may read
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
WHERE before < :bytes::bigint OR before = 0
ORDER BY dead_letter_id;

-- name: letters_are_unread
-- More fields of payloads name users from now on.
UPDATE dead_letter SET names_read = false WHERE names_read AND erased_at IS NULL;

-- name: letters_are_read
UPDATE dead_letter SET names_read = true WHERE dead_letter_id = ANY (:dead_letter_ids::bigint[]);
