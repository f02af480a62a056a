-- The account of deliveries to endpoints.

-- name: insert_deliveries
-- Under the lock `share_letters`, so that no erasure runs at the same time. Of an erased user no row gives the name.
INSERT INTO delivery (
    endpoint, webhook_id, type, tenant_id, scope, subject, attempt, attempted_at, outcome, status, latency_ms, detail)
SELECT
    rows.endpoint, rows.webhook_id, rows.type,
    CASE WHEN erasure.user_id IS NULL THEN rows.tenant_id END,
    CASE WHEN erasure.user_id IS NULL THEN rows.scope END,
    CASE WHEN erasure.user_id IS NULL THEN rows.subject END,
    rows.attempt, rows.attempted_at, rows.outcome, rows.status, rows.latency_ms, rows.detail
FROM unnest(
    :rows.endpoint::text[], :rows.webhook_id::text[], :rows.type::text[], :rows.tenant_id::text[],
    :rows.scope::text[], :rows.subject::text[], :rows.attempt::integer[], :rows.attempted_at::timestamptz[],
    :rows.outcome::text[], :rows.status::smallint[], :rows.latency_ms::integer[], :rows.detail::text[])
    WITH ORDINALITY AS rows (
    endpoint, webhook_id, type, tenant_id, scope, subject, attempt, attempted_at, outcome, status, latency_ms, detail,
    n)
LEFT JOIN erasure
    ON rows.scope = 'user' AND erasure.tenant_id = rows.tenant_id AND erasure.user_id = rows.subject
ORDER BY rows.n;

-- name: deliveries
-- Newest first; what is null means any.
SELECT
    delivery_id, endpoint, webhook_id, type, tenant_id, scope, subject, attempt, attempted_at, outcome, status,
    latency_ms, detail
FROM delivery
WHERE (:endpoint::text IS NULL OR endpoint = :endpoint)
    AND (:outcome::text IS NULL OR outcome = :outcome)
    AND (:webhook_id::text IS NULL OR webhook_id = :webhook_id)
ORDER BY delivery_id DESC
LIMIT :limit;

-- name: prune_deliveries
-- So many of the oldest at a time.
DELETE FROM delivery
WHERE delivery_id IN (
    SELECT delivery_id FROM delivery WHERE attempted_at < :before ORDER BY attempted_at LIMIT :limit);

-- name: erase_deliveries
DELETE FROM delivery WHERE tenant_id = :tenant_id AND scope = 'user' AND subject = :user_id;
