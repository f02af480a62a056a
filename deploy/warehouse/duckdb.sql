-- DuckDB: views over the files; run it beside the folder `mirror`. Metabase and others take such a database.
-- For a bucket, write s3://BUCKET/PREFIX/ for mirror/, behind LOAD httpfs and CREATE SECRET (TYPE s3, ...).

-- Every event of the ledger, once.
CREATE OR REPLACE VIEW event AS
SELECT * FROM read_parquet('mirror/event/dt=*/*.parquet', union_by_name = true, hive_partitioning = true);

-- Every decision about an unlock, with its evidence and its verdict.
CREATE OR REPLACE VIEW evaluation AS
SELECT * FROM read_parquet('mirror/evaluation/dt=*/*.parquet', union_by_name = true, hive_partitioning = true);

-- The history of every unlock: a row for each change, its announcement among them. `unlock_now` has the last one.
CREATE OR REPLACE VIEW unlock AS
SELECT * FROM read_parquet('mirror/unlock/dt=*/*.parquet', union_by_name = true, hive_partitioning = true);

-- Dead letters: what could not become an event. A row for its death, and one for each time it was sent again. The body stays in PostgreSQL (`ach dead show`).
CREATE OR REPLACE VIEW failed_event AS
SELECT * FROM read_parquet('mirror/failed_event/dt=*/*.parquet', union_by_name = true, hive_partitioning = true);

-- Every version of every achievement that was ever deployed.
CREATE OR REPLACE VIEW rule_version AS
SELECT * FROM read_parquet('mirror/rule_version/dt=*/*.parquet', union_by_name = true, hive_partitioning = true);

-- Values of traits, each with the moment since when it holds. `trait_span` has the end of each.
CREATE OR REPLACE VIEW trait AS
SELECT * FROM read_parquet('mirror/trait/dt=*/*.parquet', union_by_name = true, hive_partitioning = true);

-- Where each subject stands with each achievement, once a day: by the first run of a day, of all that have changed since the one before. The row of a subject holds until its next one.
CREATE OR REPLACE VIEW progress_daily AS
SELECT * FROM read_parquet('mirror/progress_daily/dt=*/*.parquet', union_by_name = true, hive_partitioning = true);

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
