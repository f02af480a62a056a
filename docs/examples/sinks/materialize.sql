-- Materialize: it has no source for NATS. A bridge posts messages to a webhook source, such as Redpanda Connect with the input
-- nats_jetstream and the output http_client.

CREATE SOURCE unlock_message FROM WEBHOOK BODY FORMAT JSON;

CREATE VIEW unlock_now AS
SELECT DISTINCT ON (body ->> 'unlock_id')
    body ->> 'unlock_id' AS unlock_id,
    (body ->> 'revision')::int AS revision,
    body ->> 'tenant_id' AS tenant_id,
    body ->> 'user_id' AS user_id,
    body ->> 'achievement' AS achievement,
    body ->> 'status' AS status
FROM unlock_message
ORDER BY body ->> 'unlock_id', (body ->> 'revision')::int DESC;

CREATE INDEX unlock_now_by_user ON unlock_now (tenant_id, user_id);
