-- How many subjects keep a streak for n days (or what it counts), of those that began it: their longest that was seen.
WITH shown AS (
    SELECT
        stands.tenant_id, stands.scope, stands.subject, rule.achievement,
        MAX(CASE WHEN stands.status = 'earned' THEN stands.target_value ELSE stands.current_value END) AS longest,
        MAX(stands.target_value) AS target
    FROM progress_daily AS stands
    JOIN rule_now AS rule
        ON rule.achievement = stands.achievement AND rule.scope = stands.scope
        AND COALESCE(rule.tier, '') = COALESCE(stands.tier, '')
    WHERE rule.source LIKE '%streak(%'
    GROUP BY stands.tenant_id, stands.scope, stands.subject, rule.achievement
), length AS (
    SELECT achievement, longest, COUNT(*) AS subjects FROM shown WHERE longest >= 1 GROUP BY achievement, longest
), goal AS (
    SELECT achievement, MAX(target) AS target FROM shown GROUP BY achievement
), kept AS (
    SELECT
        goal.achievement, number.n, SUM(length.subjects) AS began,
        SUM(CASE WHEN length.longest >= number.n THEN length.subjects ELSE 0 END) AS kept
    FROM goal
    JOIN number ON number.n >= 1 AND number.n <= goal.target
    JOIN length ON length.achievement = goal.achievement
    GROUP BY goal.achievement, number.n
)
SELECT
    kept.achievement, kept.n,
    CASE WHEN kept.began >= asked.fewest THEN kept.kept END AS kept,
    kept.began,
    CASE WHEN kept.began >= asked.fewest THEN ROUND(100.0 * kept.kept / kept.began, 1) END AS percent
FROM kept
CROSS JOIN asked
ORDER BY kept.achievement, kept.n
