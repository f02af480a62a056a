-- RisingWave: UNLOCKS by its connector `nats`, the highest revision of each unlock by a materialized view.
-- A table with a primary key would let the last arrival win, not the highest revision: keep all messages.

CREATE TABLE unlock_message (
    unlock_id VARCHAR,
    revision INT,
    tenant_id VARCHAR,
    user_id VARCHAR,
    achievement VARCHAR,
    tier VARCHAR,
    status VARCHAR,
    earned_at TIMESTAMPTZ
) WITH (
    connector = 'nats',
    server_url = 'localhost:4222',
    subject = 'unlocks.>',
    stream = 'UNLOCKS',
    connect_mode = 'plain',
    consumer.durable_name = 'risingwave',
    consumer.ack_policy = 'explicit',
    scan.startup.mode = 'earliest'
) FORMAT PLAIN ENCODE JSON;

CREATE MATERIALIZED VIEW unlock_now AS
SELECT unlock_id, revision, tenant_id, user_id, achievement, tier, status, earned_at
FROM (
    SELECT *, row_number() OVER (PARTITION BY unlock_id ORDER BY revision DESC) AS place
    FROM unlock_message
) AS ranked
WHERE place = 1 AND status <> 'erased';

CREATE MATERIALIZED VIEW holders AS
SELECT tenant_id, achievement, count(*) AS holders
FROM unlock_now
WHERE status IN ('granted', 'contested')
GROUP BY tenant_id, achievement;
