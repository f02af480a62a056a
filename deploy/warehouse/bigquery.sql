-- BigQuery: in a dataset of your own (SET @@dataset_id = 'ach').
-- Get the files there with: gcloud storage rsync --recursive --delete-unmatched-destination-objects \
--   --exclude '[.].*' mirror gs://BUCKET/mirror

-- Every event of the ledger, once.
CREATE TABLE IF NOT EXISTS event (
    tenant_id STRING,
    user_id STRING,
    event_type STRING,
    event_time TIMESTAMP,
    utc_offset INT64,
    processing_time TIMESTAMP,
    published_at TIMESTAMP,
    region STRING,
    source STRING,
    deduplication_key STRING,
    payload STRING,
    stream_seq INT64
)
PARTITION BY DATE(processing_time);

-- Every decision about an unlock, with its evidence and its verdict.
CREATE TABLE IF NOT EXISTS evaluation (
    tenant_id STRING,
    scope STRING,
    subject STRING,
    user_id STRING,
    achievement STRING,
    tier STRING,
    occurrence STRING,
    rule_version INT64,
    decision STRING,
    final BOOL,
    event_time TIMESTAMP,
    deduplication_key STRING,
    processing_time TIMESTAMP,
    actor STRING,
    reason STRING,
    evaluation_id INT64
)
PARTITION BY DATE(processing_time);

-- The history of every unlock: a row for each change, its announcement among them. `unlock_now` has the last one.
CREATE TABLE IF NOT EXISTS unlock (
    unlock_id STRING,
    tenant_id STRING,
    scope STRING,
    subject STRING,
    user_id STRING,
    achievement STRING,
    tier STRING,
    occurrence STRING,
    revision INT64,
    change STRING,
    unlock_status STRING,
    rule_version INT64,
    final BOOL,
    event_time TIMESTAMP,
    deduplication_key STRING,
    processing_time TIMESTAMP,
    granted_at TIMESTAMP,
    announced_at TIMESTAMP,
    origin STRING,
    reward STRING,
    actor STRING,
    reason STRING,
    evaluation_id INT64
)
PARTITION BY DATE(processing_time);

-- Dead letters: what could not become an event. A row for its death, and one for each time it was sent again. The body stays in PostgreSQL (`ach dead show`).
CREATE TABLE IF NOT EXISTS failed_event (
    failed_event_id INT64,
    change STRING,
    reason STRING,
    detail STRING,
    nats_subject STRING,
    stream STRING,
    stream_seq INT64,
    element INT64,
    body_bytes INT64,
    deliveries INT64,
    processing_time TIMESTAMP
)
PARTITION BY DATE(processing_time);

-- Every version of every achievement that was ever deployed.
CREATE TABLE IF NOT EXISTS rule_version (
    achievement STRING,
    rule_version INT64,
    scope STRING,
    tiers STRING,
    repeats BOOL,
    source STRING,
    meaning STRING,
    starts_at TIMESTAMP,
    ends_at TIMESTAMP,
    epoch INT64,
    processing_time TIMESTAMP,
    applied_by STRING,
    retired_at TIMESTAMP
)
PARTITION BY DATE(processing_time);

-- Values of traits, each with the moment since when it holds. `trait_span` has the end of each.
CREATE TABLE IF NOT EXISTS trait (
    tenant_id STRING,
    user_id STRING,
    trait STRING,
    value STRING,
    event_type STRING,
    event_time TIMESTAMP,
    processing_time TIMESTAMP,
    deduplication_key STRING
)
PARTITION BY DATE(processing_time);

-- Where each subject stands with each achievement, once a day: by the first run of a day, of all that have changed since the one before. The row of a subject holds until its next one.
CREATE TABLE IF NOT EXISTS progress_daily (
    tenant_id STRING,
    scope STRING,
    subject STRING,
    user_id STRING,
    achievement STRING,
    tier STRING,
    rule_version INT64,
    occurrence STRING,
    status STRING,
    percent INT64,
    current_value NUMERIC,
    target_value NUMERIC,
    times INT64,
    processing_time TIMESTAMP
)
PARTITION BY DATE(processing_time);

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

LOAD DATA OVERWRITE event
FROM FILES (format = 'PARQUET', uris = ['gs://BUCKET/mirror/event/*.parquet']);

LOAD DATA OVERWRITE evaluation
FROM FILES (format = 'PARQUET', uris = ['gs://BUCKET/mirror/evaluation/*.parquet']);

LOAD DATA OVERWRITE unlock
FROM FILES (format = 'PARQUET', uris = ['gs://BUCKET/mirror/unlock/*.parquet']);

LOAD DATA OVERWRITE failed_event
FROM FILES (format = 'PARQUET', uris = ['gs://BUCKET/mirror/failed_event/*.parquet']);

LOAD DATA OVERWRITE rule_version
FROM FILES (format = 'PARQUET', uris = ['gs://BUCKET/mirror/rule_version/*.parquet']);

LOAD DATA OVERWRITE trait
FROM FILES (format = 'PARQUET', uris = ['gs://BUCKET/mirror/trait/*.parquet']);

LOAD DATA OVERWRITE progress_daily
FROM FILES (format = 'PARQUET', uris = ['gs://BUCKET/mirror/progress_daily/*.parquet']);
