-- How rare each achievement and tier is within its tenant, as readers of the API see it: 0.0 for none alone, 100.0 for all.
WITH population AS (
    SELECT tenant_id, scope, COUNT(*) AS subjects FROM known GROUP BY tenant_id, scope
), holders AS (
    SELECT tenant_id, scope, achievement, tier, COUNT(*) AS subjects
    FROM earned
    GROUP BY tenant_id, scope, achievement, tier
), counted AS (
    SELECT
        population.tenant_id, rule.achievement, rule.tier, rule.place, population.subjects,
        COALESCE(holders.subjects, 0) AS earned
    FROM rule_now AS rule
    JOIN population ON population.scope = rule.scope
    LEFT JOIN holders
        ON holders.tenant_id = population.tenant_id AND holders.scope = rule.scope
        AND holders.achievement = rule.achievement AND COALESCE(holders.tier, '') = COALESCE(rule.tier, '')
)
SELECT
    counted.tenant_id, counted.achievement, counted.tier,
    CASE WHEN counted.subjects >= asked.fewest THEN counted.earned END AS earned,
    counted.subjects,
    CASE
        WHEN counted.subjects < asked.fewest THEN NULL
        WHEN counted.earned = 0 THEN 0.0
        WHEN counted.earned = counted.subjects THEN 100.0
        ELSE LEAST(GREATEST(ROUND(100.0 * counted.earned / counted.subjects, 1), 0.1), 99.9)
    END AS percent
FROM counted
CROSS JOIN asked
ORDER BY counted.tenant_id, counted.achievement, counted.place
