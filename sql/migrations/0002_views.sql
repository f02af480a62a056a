-- Views named for people.

CREATE VIEW v_unlock AS
SELECT
    unlock_id,
    tenant_id,
    scope,
    subject,
    CASE WHEN scope = 'user' THEN subject END AS user_id,
    achievement,
    nullif(tier, '') AS tier,
    nullif(occurrence, '') AS occurrence,
    version,
    CASE
        WHEN revoked_at IS NOT NULL THEN 'revoked'
        WHEN contested_at IS NOT NULL THEN 'contested'
        WHEN granted_at IS NULL THEN 'settling'
        WHEN published_at IS NULL THEN 'granted'
        ELSE 'announced'
    END AS status,
    earned_at,
    event_id,
    settles_at,
    granted_at,
    published_at,
    contested_at,
    revoked_at,
    reward
FROM unlock;
COMMENT ON VIEW v_unlock IS 'Every unlock with its status: settling, granted, announced, contested or revoked.';

CREATE VIEW v_event AS
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
    event.payload
FROM event
LEFT JOIN v_unlock ON v_unlock.tenant_id = event.tenant_id AND v_unlock.event_id = event.event_id;
COMMENT ON VIEW v_event IS 'For the warehouse: one row per event, and one more for each further unlock that it earned.';
