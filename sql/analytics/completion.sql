-- How many subjects have earned each achievement and tier, of all that are known in its scope.
WITH population AS (
    SELECT scope, COUNT(*) AS subjects FROM known GROUP BY scope
), holders AS (
    SELECT scope, achievement, tier, COUNT(*) AS subjects FROM earned GROUP BY scope, achievement, tier
), counted AS (
    SELECT
        rule.achievement, rule.tier, rule.place, COALESCE(holders.subjects, 0) AS earned,
        COALESCE(population.subjects, 0) AS eligible
    FROM rule_now AS rule
    LEFT JOIN population ON population.scope = rule.scope
    LEFT JOIN holders
        ON holders.scope = rule.scope AND holders.achievement = rule.achievement
        AND COALESCE(holders.tier, '') = COALESCE(rule.tier, '')
)
SELECT
    counted.achievement, counted.tier,
    CASE WHEN counted.eligible >= asked.fewest THEN counted.earned END AS earned,
    counted.eligible,
    CASE WHEN counted.eligible >= asked.fewest
        THEN ROUND(100.0 * counted.earned / NULLIF(counted.eligible, 0), 1) END AS percent
FROM counted
CROSS JOIN asked
ORDER BY counted.achievement, counted.place
