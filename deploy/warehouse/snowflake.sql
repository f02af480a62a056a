-- Snowflake: in a schema of your own, with a stage ach_mirror over the bucket that holds the files:
--   CREATE STAGE ach_mirror URL = 's3://BUCKET/mirror/' STORAGE_INTEGRATION = ...;
-- Get the files there with: ach mirror --to s3://BUCKET/mirror

-- Every event of the ledger, once.
CREATE TABLE IF NOT EXISTS event (
    tenant_id VARCHAR(512) NOT NULL,
    user_id VARCHAR(512) NOT NULL,
    event_type VARCHAR(512) NOT NULL,
    event_time TIMESTAMP_TZ NOT NULL,
    utc_offset INTEGER NOT NULL,
    processing_time TIMESTAMP_TZ NOT NULL,
    published_at TIMESTAMP_TZ,
    region VARCHAR(512),
    source VARCHAR,
    deduplication_key VARCHAR(512) NOT NULL,
    payload VARCHAR,
    stream_seq BIGINT NOT NULL
)
CLUSTER BY (processing_time);

-- Every decision about an unlock, with its evidence and its verdict.
CREATE TABLE IF NOT EXISTS evaluation (
    tenant_id VARCHAR(512) NOT NULL,
    scope VARCHAR(512) NOT NULL,
    subject VARCHAR(512) NOT NULL,
    user_id VARCHAR(512),
    achievement VARCHAR(512) NOT NULL,
    tier VARCHAR(512),
    occurrence VARCHAR(512),
    rule_version INTEGER NOT NULL,
    decision VARCHAR(512) NOT NULL,
    final BOOLEAN NOT NULL,
    event_time TIMESTAMP_TZ NOT NULL,
    deduplication_key VARCHAR(512),
    processing_time TIMESTAMP_TZ NOT NULL,
    actor VARCHAR,
    reason VARCHAR,
    evaluation_id BIGINT NOT NULL
)
CLUSTER BY (processing_time);

-- The history of every unlock: a row for each change, its announcement among them. `unlock_now` has the last one.
CREATE TABLE IF NOT EXISTS unlock (
    unlock_id VARCHAR(512),
    tenant_id VARCHAR(512) NOT NULL,
    scope VARCHAR(512) NOT NULL,
    subject VARCHAR(512) NOT NULL,
    user_id VARCHAR(512),
    achievement VARCHAR(512) NOT NULL,
    tier VARCHAR(512),
    occurrence VARCHAR(512),
    revision INTEGER NOT NULL,
    change VARCHAR(512) NOT NULL,
    unlock_status VARCHAR(512) NOT NULL,
    rule_version INTEGER NOT NULL,
    final BOOLEAN,
    event_time TIMESTAMP_TZ NOT NULL,
    deduplication_key VARCHAR(512),
    processing_time TIMESTAMP_TZ NOT NULL,
    granted_at TIMESTAMP_TZ,
    announced_at TIMESTAMP_TZ,
    origin VARCHAR(512),
    reward VARCHAR,
    actor VARCHAR,
    reason VARCHAR,
    evaluation_id BIGINT
)
CLUSTER BY (processing_time);

-- Dead letters: what could not become an event. A row for its death, and one for each time it was sent again. The body stays in PostgreSQL (`ach dead show`).
CREATE TABLE IF NOT EXISTS failed_event (
    failed_event_id BIGINT NOT NULL,
    change VARCHAR(512) NOT NULL,
    reason VARCHAR(512) NOT NULL,
    detail VARCHAR,
    nats_subject VARCHAR,
    stream VARCHAR(512) NOT NULL,
    stream_seq BIGINT NOT NULL,
    element INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    processing_time TIMESTAMP_TZ NOT NULL
)
CLUSTER BY (processing_time);

-- Every version of every achievement that was ever deployed.
CREATE TABLE IF NOT EXISTS rule_version (
    achievement VARCHAR(512) NOT NULL,
    rule_version INTEGER NOT NULL,
    scope VARCHAR(512),
    tiers VARCHAR,
    repeats BOOLEAN,
    source VARCHAR NOT NULL,
    meaning VARCHAR(512) NOT NULL,
    starts_at TIMESTAMP_TZ,
    ends_at TIMESTAMP_TZ,
    epoch BIGINT NOT NULL,
    processing_time TIMESTAMP_TZ NOT NULL,
    applied_by VARCHAR NOT NULL,
    retired_at TIMESTAMP_TZ
)
CLUSTER BY (processing_time);

-- Values of traits, each with the moment since when it holds. `trait_span` has the end of each.
CREATE TABLE IF NOT EXISTS trait (
    tenant_id VARCHAR(512) NOT NULL,
    user_id VARCHAR(512) NOT NULL,
    trait VARCHAR(512) NOT NULL,
    value VARCHAR NOT NULL,
    event_type VARCHAR(512) NOT NULL,
    event_time TIMESTAMP_TZ NOT NULL,
    processing_time TIMESTAMP_TZ NOT NULL,
    deduplication_key VARCHAR(512) NOT NULL
)
CLUSTER BY (processing_time);

-- Where each subject stands with each achievement, once a day: by the first run of a day, of all that have changed since the one before. The row of a subject holds until its next one.
CREATE TABLE IF NOT EXISTS progress_daily (
    tenant_id VARCHAR(512) NOT NULL,
    scope VARCHAR(512) NOT NULL,
    subject VARCHAR(512) NOT NULL,
    user_id VARCHAR(512),
    achievement VARCHAR(512) NOT NULL,
    tier VARCHAR(512),
    rule_version INTEGER NOT NULL,
    occurrence VARCHAR(512),
    status VARCHAR(512) NOT NULL,
    percent INTEGER NOT NULL,
    current_value NUMBER(38, 9),
    target_value NUMBER(38, 9),
    times INTEGER NOT NULL,
    processing_time TIMESTAMP_TZ NOT NULL
)
CLUSTER BY (processing_time);

-- One row an unlock, as it stands: what `v_unlock` says in PostgreSQL.
CREATE OR REPLACE VIEW unlock_now AS
SELECT
    unlock_id, tenant_id, scope, subject, user_id, achievement, tier, occurrence, revision,
    CASE
        WHEN unlock_status = 'granted' AND announced_when IS NOT NULL THEN 'announced'
        ELSE unlock_status
    END AS unlock_status,
    rule_version, final, event_time, deduplication_key, processing_time, granted_at, announced_when AS announced_at,
    origin, reward
FROM (
    SELECT
        change_of.*,
        MAX(announced_at) OVER (
            PARTITION BY tenant_id, scope, subject, achievement, tier, occurrence) AS announced_when,
        ROW_NUMBER() OVER (
            PARTITION BY tenant_id, scope, subject, achievement, tier, occurrence
            ORDER BY COALESCE(evaluation_id, 0) DESC) AS nth
    FROM unlock AS change_of
) AS numbered
WHERE nth = 1 AND unlock_status <> 'withdrawn';

-- One row an unlock, with the event that earned it: all ten columns of a fact.
CREATE OR REPLACE VIEW unlock_event AS
SELECT
    stands.user_id, stands.tenant_id, earned_by.event_type, stands.event_time, stands.processing_time,
    stands.rule_version, stands.unlock_status, earned_by.source, stands.deduplication_key, earned_by.payload,
    stands.scope, stands.subject, stands.achievement, stands.tier, stands.occurrence, stands.final, stands.origin,
    stands.granted_at, stands.announced_at, earned_by.processing_time AS received_at, earned_by.published_at,
    earned_by.region, earned_by.stream_seq
FROM unlock_now AS stands
LEFT JOIN event AS earned_by
    ON earned_by.tenant_id = stands.tenant_id AND earned_by.deduplication_key = stands.deduplication_key;

-- One row a value of a trait, with the moment when the next one follows: segments as of an event.
CREATE OR REPLACE VIEW trait_span AS
SELECT
    tenant_id, user_id, trait, value, event_time AS valid_from,
    LEAD(event_time) OVER (
        PARTITION BY tenant_id, user_id, trait ORDER BY event_time, deduplication_key) AS valid_until
FROM trait;

-- One row a subject, achievement and tier: where it stood last.
CREATE OR REPLACE VIEW progress_now AS
SELECT
    tenant_id, scope, subject, user_id, achievement, tier, rule_version, occurrence, status, percent, current_value,
    target_value, times, processing_time
FROM (
    SELECT
        of_day.*,
        ROW_NUMBER() OVER (
            PARTITION BY tenant_id, scope, subject, achievement, tier ORDER BY processing_time DESC) AS nth
    FROM progress_daily AS of_day
) AS numbered
WHERE nth = 1;

-- Load them: a layer at a time, each as a whole, so that erased users are gone here too.

TRUNCATE TABLE event;
COPY INTO event FROM @ach_mirror/event/ PATTERN = '.*[.]parquet' FORCE = TRUE
FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE;

TRUNCATE TABLE evaluation;
COPY INTO evaluation FROM @ach_mirror/evaluation/ PATTERN = '.*[.]parquet' FORCE = TRUE
FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE;

TRUNCATE TABLE unlock;
COPY INTO unlock FROM @ach_mirror/unlock/ PATTERN = '.*[.]parquet' FORCE = TRUE
FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE;

TRUNCATE TABLE failed_event;
COPY INTO failed_event FROM @ach_mirror/failed_event/ PATTERN = '.*[.]parquet' FORCE = TRUE
FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE;

TRUNCATE TABLE rule_version;
COPY INTO rule_version FROM @ach_mirror/rule_version/ PATTERN = '.*[.]parquet' FORCE = TRUE
FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE;

TRUNCATE TABLE trait;
COPY INTO trait FROM @ach_mirror/trait/ PATTERN = '.*[.]parquet' FORCE = TRUE
FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE;

TRUNCATE TABLE progress_daily;
COPY INTO progress_daily FROM @ach_mirror/progress_daily/ PATTERN = '.*[.]parquet' FORCE = TRUE
FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE;
