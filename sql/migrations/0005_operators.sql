-- Unlocks that an operator grants, who decided what and why, and the outbox apart from what settles.

ALTER TABLE unlock
    ADD COLUMN by_hand boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT unlock_by_hand_stands CHECK (
        CASE WHEN by_hand THEN granted_at IS NOT NULL AND contested_at IS NULL ELSE event_id <> '' END);
COMMENT ON COLUMN unlock.event_id IS
    'The event that earned it; empty where an operator granted it and no event supports it.';
COMMENT ON COLUMN unlock.by_hand IS 'Whether an operator granted it: no evidence contests it then.';

DROP INDEX unlock_outbox;
CREATE INDEX unlock_outbox ON unlock (granted_at)
    WHERE published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX unlock_settling ON unlock (settles_at) WHERE granted_at IS NULL AND revoked_at IS NULL;

ALTER TABLE evaluation
    ADD COLUMN actor text,
    ADD COLUMN reason text,
    DROP CONSTRAINT evaluation_decision,
    ADD CONSTRAINT evaluation_decision CHECK (
        decision IN (
            'granted', 'settling', 'withdrawn', 'amended', 'contested', 'restored', 'revoked', 'granted_by_hand'));
COMMENT ON COLUMN evaluation.actor IS 'The operator who decided; null where the engine did.';
COMMENT ON COLUMN evaluation.reason IS 'Why, in the words of the operator.';

CREATE OR REPLACE VIEW v_unlock AS
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
    reward,
    by_hand
FROM unlock;
