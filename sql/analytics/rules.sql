-- Which rules are dead (no subject has ever earned it), silent (not earned for `gap_times` its usual gap) or starved (no
-- event of a type that its text names for as long). The usual gap is the mean one; ten are the fewest that make one usual.
WITH grants AS (
    SELECT scope, achievement, tier, COUNT(*) AS earned, MIN(earned_at) AS first_at, MAX(earned_at) AS last_at
    FROM earned
    GROUP BY scope, achievement, tier
), arrival AS (
    SELECT event_type, COUNT(*) AS events, MIN(event_time) AS first_at, MAX(event_time) AS last_at
    FROM event
    GROUP BY event_type
), fed AS (
    SELECT
        rule.achievement, SUM(arrival.events) AS events, MIN(arrival.first_at) AS first_at,
        MAX(arrival.last_at) AS last_at
    FROM (SELECT achievement, source FROM rule_now WHERE place = 1) AS rule
    JOIN arrival ON STRPOS(rule.source, arrival.event_type) > 0
    GROUP BY rule.achievement
), measured AS (
    SELECT
        rule.achievement, rule.tier, rule.place, rule.rule_version, COALESCE(grants.earned, 0) AS earned,
        grants.last_at AS last_earned, COALESCE(fed.events, 0) AS events, fed.last_at AS last_event,
        CASE WHEN grants.earned >= 10
            THEN FLOOR(DATE_DIFF('second', grants.first_at, grants.last_at) / (grants.earned - 1)) END AS earned_gap,
        CASE WHEN fed.events >= 10
            THEN FLOOR(DATE_DIFF('second', fed.first_at, fed.last_at) / (fed.events - 1)) END AS event_gap
    FROM rule_now AS rule
    LEFT JOIN grants
        ON grants.scope = rule.scope AND grants.achievement = rule.achievement
        AND COALESCE(grants.tier, '') = COALESCE(rule.tier, '')
    LEFT JOIN fed ON fed.achievement = rule.achievement
)
SELECT
    measured.achievement, measured.tier, measured.rule_version,
    CASE
        WHEN measured.earned = 0 AND measured.events = 0 THEN 'dead: no events'
        WHEN measured.earned = 0 THEN 'dead'
        WHEN DATE_DIFF('second', measured.last_event, asked.as_of) > asked.gap_times * measured.event_gap THEN 'starved'
        WHEN DATE_DIFF('second', measured.last_earned, asked.as_of) > asked.gap_times * measured.earned_gap THEN 'silent'
        ELSE 'alive'
    END AS verdict,
    measured.earned, CAST(measured.earned_gap AS BIGINT) AS earned_gap_seconds,
    DATE_DIFF('second', measured.last_earned, asked.as_of) AS since_earned_seconds,
    measured.events, CAST(measured.event_gap AS BIGINT) AS event_gap_seconds,
    DATE_DIFF('second', measured.last_event, asked.as_of) AS since_event_seconds
FROM measured
CROSS JOIN asked
ORDER BY measured.achievement, measured.place
