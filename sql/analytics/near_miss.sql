-- Who stands at 80 % or more of what is not earned, of all known subjects that have not earned it.
WITH population AS (
    SELECT scope, COUNT(*) AS subjects FROM known GROUP BY scope
), holders AS (
    SELECT scope, achievement, tier, COUNT(*) AS subjects FROM earned GROUP BY scope, achievement, tier
), near AS (
    SELECT
        stands.scope, stands.achievement, stands.tier, stands.percent,
        ROW_NUMBER() OVER (
            PARTITION BY stands.scope, stands.achievement, stands.tier ORDER BY stands.percent) AS nth,
        COUNT(*) OVER (PARTITION BY stands.scope, stands.achievement, stands.tier) AS subjects
    FROM progress_now AS stands
    CROSS JOIN asked
    LEFT JOIN earned
        ON earned.tenant_id = stands.tenant_id AND earned.scope = stands.scope AND earned.subject = stands.subject
        AND earned.achievement = stands.achievement AND COALESCE(earned.tier, '') = COALESCE(stands.tier, '')
    WHERE stands.percent >= asked.near_percent AND stands.status IN ('locked', 'in_progress')
        AND earned.subject IS NULL
), middle AS (
    SELECT scope, achievement, tier, subjects, MIN(CASE WHEN 2 * nth >= subjects THEN percent END) AS p50_reached
    FROM near
    GROUP BY scope, achievement, tier, subjects
), counted AS (
    SELECT
        rule.achievement, rule.tier, rule.place, COALESCE(middle.subjects, 0) AS near, middle.p50_reached,
        COALESCE(population.subjects, 0) - COALESCE(holders.subjects, 0) AS not_earned
    FROM rule_now AS rule
    LEFT JOIN population ON population.scope = rule.scope
    LEFT JOIN holders
        ON holders.scope = rule.scope AND holders.achievement = rule.achievement
        AND COALESCE(holders.tier, '') = COALESCE(rule.tier, '')
    LEFT JOIN middle
        ON middle.scope = rule.scope AND middle.achievement = rule.achievement
        AND COALESCE(middle.tier, '') = COALESCE(rule.tier, '')
)
SELECT
    counted.achievement, counted.tier,
    CASE WHEN counted.not_earned >= asked.fewest THEN counted.near END AS near,
    counted.not_earned,
    CASE WHEN counted.not_earned >= asked.fewest
        THEN ROUND(100.0 * counted.near / NULLIF(counted.not_earned, 0), 1) END AS percent,
    CASE WHEN counted.near >= asked.fewest THEN counted.p50_reached END AS p50_reached
FROM counted
CROSS JOIN asked
ORDER BY counted.achievement, counted.place
