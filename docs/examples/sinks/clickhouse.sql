-- ClickHouse: UNLOCKS by its table engine NATS, the highest revision of each unlock by ReplacingMergeTree.
-- The engine takes a durable pull consumer that exists:
--   nats consumer add UNLOCKS clickhouse --pull --ack explicit --filter 'unlocks.>' --deliver all --defaults

CREATE TABLE unlock_messages
(
    unlock_id UUID,
    revision UInt32 DEFAULT 1,
    tenant_id String,
    user_id Nullable(String),
    achievement String,
    tier Nullable(String),
    status String DEFAULT 'granted',
    earned_at Nullable(String)
)
ENGINE = NATS
SETTINGS
    nats_url = 'localhost:4222',
    nats_stream = 'UNLOCKS',
    nats_consumer_name = 'clickhouse',
    nats_subjects = 'unlocks.>',
    nats_format = 'JSONEachRow',
    nats_handle_error_mode = 'stream';

CREATE TABLE unlock
(
    unlock_id UUID,
    revision UInt32,
    tenant_id LowCardinality(String),
    user_id Nullable(String),
    achievement LowCardinality(String),
    tier Nullable(String),
    status LowCardinality(String),
    earned_at Nullable(DateTime64(6, 'UTC'))
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (tenant_id, unlock_id);

CREATE MATERIALIZED VIEW unlock_feed TO unlock AS
SELECT
    unlock_id, revision, tenant_id, user_id, achievement, tier, status,
    parseDateTime64BestEffortOrNull(earned_at, 6, 'UTC') AS earned_at
FROM unlock_messages
WHERE length(_error) = 0;

-- Rows of one unlock are merged at some time, so a query has to say FINAL.
CREATE VIEW unlock_now AS
SELECT * FROM unlock FINAL WHERE status <> 'erased';

SELECT achievement, count() FROM unlock_now WHERE status IN ('granted', 'contested') GROUP BY achievement;
