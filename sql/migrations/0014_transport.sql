-- Where an event was produced, and when the broker had it. Neither column is written in the rows that are there.
ALTER TABLE event
    ADD COLUMN published_at timestamptz,
    ADD COLUMN region text COLLATE "C";
COMMENT ON COLUMN event.published_at IS
    'When the broker stored the message; null where it came another way, or before this was kept.';
COMMENT ON COLUMN event.region IS 'Of the producer; null where none was named. Neither is any part of earning.';

CREATE OR REPLACE VIEW v_event AS
SELECT
    event.user_id,
    event.tenant_id,
    event.event_type,
    event.occurred_at AS event_time,
    event.received_at AS processing_time,
    v_unlock.scope AS rule_scope,
    v_unlock.achievement AS rule,
    v_unlock.version AS rule_version,
    v_unlock.tier AS rule_tier,
    v_unlock.occurrence AS rule_occurrence,
    v_unlock.status AS unlock_status,
    event.source,
    event.event_id AS deduplication_key,
    event.payload,
    json_or_null(event.payload) AS payload_json,
    event.published_at AS broker_time,
    event.region
FROM event
LEFT JOIN v_unlock ON v_unlock.tenant_id = event.tenant_id AND v_unlock.event_id = event.event_id;

COMMENT ON COLUMN minute.region IS 'Of the producer; empty where none was named, * for all regions beyond those that are counted apart.';
