-- Time to first value: from the first event of a user to the first unlock, of any achievement and of each.
WITH began AS (
    SELECT tenant_id, user_id, MIN(event_time) AS first_event FROM event GROUP BY tenant_id, user_id
), population AS (
    SELECT COUNT(*) AS users FROM began
), first_unlock AS (
    SELECT tenant_id, user_id, achievement, MIN(earned_at) AS earned_at
    FROM earned WHERE scope = 'user' GROUP BY tenant_id, user_id, achievement
    UNION ALL
    SELECT tenant_id, user_id, NULL AS achievement, MIN(earned_at) AS earned_at
    FROM earned WHERE scope = 'user' GROUP BY tenant_id, user_id
), waited AS (
    SELECT first_unlock.achievement, DATE_DIFF('second', began.first_event, first_unlock.earned_at) AS seconds
    FROM first_unlock
    JOIN began ON began.tenant_id = first_unlock.tenant_id AND began.user_id = first_unlock.user_id
), ranked AS (
    SELECT
        achievement, seconds, ROW_NUMBER() OVER (PARTITION BY achievement ORDER BY seconds) AS nth,
        COUNT(*) OVER (PARTITION BY achievement) AS unlockers
    FROM waited
)
SELECT
    ranked.achievement, ranked.unlockers, population.users,
    MIN(CASE WHEN ranked.unlockers >= asked.fewest AND 2 * ranked.nth >= ranked.unlockers THEN ranked.seconds END)
        AS p50_seconds,
    MIN(CASE WHEN ranked.unlockers >= asked.fewest AND 10 * ranked.nth >= 9 * ranked.unlockers THEN ranked.seconds END)
        AS p90_seconds
FROM ranked
CROSS JOIN population
CROSS JOIN asked
GROUP BY ranked.achievement, ranked.unlockers, population.users
ORDER BY ranked.achievement NULLS FIRST
