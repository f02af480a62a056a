-- Who earned an achievement while a trait had a value, of all users that ever had that value; the 20 most common of a trait.
WITH held AS (
    SELECT DISTINCT span.tenant_id, span.user_id, span.trait, span.value
    FROM trait_span AS span
    CROSS JOIN asked
    WHERE asked.trait IS NULL OR span.trait = asked.trait
), segment AS (
    SELECT trait, value, users
    FROM (
        SELECT
            trait, value, COUNT(*) AS users,
            ROW_NUMBER() OVER (PARTITION BY trait ORDER BY COUNT(*) DESC, value) AS nth
        FROM held
        GROUP BY trait, value
    ) AS numbered
    WHERE nth <= 20
), holders AS (
    SELECT span.trait, span.value, earned.achievement, earned.tier, COUNT(*) AS users
    FROM earned
    JOIN trait_span AS span
        ON span.tenant_id = earned.tenant_id AND span.user_id = earned.user_id
        AND span.valid_from <= earned.earned_at
        AND (span.valid_until IS NULL OR earned.earned_at < span.valid_until)
    WHERE earned.scope = 'user'
    GROUP BY span.trait, span.value, earned.achievement, earned.tier
)
SELECT
    segment.trait, segment.value, rule.achievement, rule.tier,
    CASE WHEN segment.users >= asked.fewest THEN COALESCE(holders.users, 0) END AS earned,
    segment.users,
    CASE WHEN segment.users >= asked.fewest THEN ROUND(100.0 * COALESCE(holders.users, 0) / segment.users, 1) END
        AS percent
FROM segment
CROSS JOIN rule_now AS rule
CROSS JOIN asked
LEFT JOIN holders
    ON holders.trait = segment.trait AND holders.value = segment.value AND holders.achievement = rule.achievement
    AND COALESCE(holders.tier, '') = COALESCE(rule.tier, '')
WHERE rule.scope = 'user'
ORDER BY rule.achievement, rule.place, segment.trait, segment.users DESC, segment.value
