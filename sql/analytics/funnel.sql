-- How far subjects come in each achievement: known, started, each tier in order; who stays between two steps, how long.
-- A subject is at its furthest step; it counts as having reached all before.
WITH population AS (
    SELECT scope, COUNT(*) AS subjects FROM known GROUP BY scope
), step AS (
    SELECT achievement, scope, place + 1 AS place, COALESCE(tier, 'earned') AS step FROM rule_now
    UNION ALL
    SELECT achievement, scope, 1 AS place, '(started)' AS step FROM rule_now WHERE place = 1
    UNION ALL
    SELECT achievement, scope, 0 AS place, '(known)' AS step FROM rule_now WHERE place = 1
), arrival AS (
    SELECT DISTINCT
        stands.tenant_id, stands.scope, stands.subject, stands.achievement, 1 AS place,
        CAST(NULL AS TIMESTAMP WITH TIME ZONE) AS since
    FROM progress_now AS stands
    WHERE stands.percent > 0
    UNION ALL
    SELECT earned.tenant_id, earned.scope, earned.subject, earned.achievement, rule.place + 1 AS place, earned.earned_at
    FROM earned
    JOIN rule_now AS rule
        ON rule.achievement = earned.achievement AND rule.scope = earned.scope
        AND COALESCE(rule.tier, '') = COALESCE(earned.tier, '')
), furthest AS (
    SELECT scope, achievement, place, since
    FROM (
        SELECT
            scope, achievement, place, since,
            ROW_NUMBER() OVER (PARTITION BY tenant_id, scope, subject, achievement ORDER BY place DESC) AS nth
        FROM arrival
    ) AS numbered
    WHERE nth = 1
), waiting AS (
    SELECT
        furthest.scope, furthest.achievement, furthest.place,
        DATE_DIFF('second', furthest.since, asked.as_of) AS seconds,
        ROW_NUMBER() OVER (
            PARTITION BY furthest.scope, furthest.achievement, furthest.place ORDER BY furthest.since DESC) AS nth,
        COUNT(*) OVER (PARTITION BY furthest.scope, furthest.achievement, furthest.place) AS subjects
    FROM furthest
    CROSS JOIN asked
), halted AS (
    SELECT
        scope, achievement, place, subjects,
        MIN(CASE WHEN 2 * nth >= subjects THEN seconds END) AS p50_seconds,
        MIN(CASE WHEN 10 * nth >= 9 * subjects THEN seconds END) AS p90_seconds
    FROM waiting
    GROUP BY scope, achievement, place, subjects
), reached AS (
    SELECT
        step.achievement, step.scope, step.place, step.step,
        CASE WHEN step.place = 0 THEN COALESCE(MAX(population.subjects), 0)
            ELSE COALESCE(SUM(beyond.subjects), 0) END AS subjects
    FROM step
    LEFT JOIN population ON population.scope = step.scope
    LEFT JOIN halted AS beyond
        ON beyond.scope = step.scope AND beyond.achievement = step.achievement AND beyond.place >= step.place
    GROUP BY step.achievement, step.scope, step.place, step.step
), flow AS (
    SELECT
        achievement, scope, place, step, subjects,
        LAG(subjects) OVER (PARTITION BY achievement ORDER BY place) AS before,
        LEAD(subjects) OVER (PARTITION BY achievement ORDER BY place) AS next
    FROM reached
)
SELECT
    flow.achievement, flow.step,
    CASE WHEN flow.before IS NULL OR flow.before >= asked.fewest THEN flow.subjects END AS reached,
    flow.before AS of_before,
    CASE WHEN flow.before >= asked.fewest THEN ROUND(100.0 * flow.subjects / NULLIF(flow.before, 0), 1) END AS percent,
    CASE WHEN flow.subjects >= asked.fewest THEN flow.subjects - flow.next END AS stuck,
    CASE WHEN flow.next IS NOT NULL AND halted.subjects >= asked.fewest THEN halted.p50_seconds END
        AS stuck_p50_seconds,
    CASE WHEN flow.next IS NOT NULL AND halted.subjects >= asked.fewest THEN halted.p90_seconds END
        AS stuck_p90_seconds
FROM flow
CROSS JOIN asked
LEFT JOIN halted
    ON halted.scope = flow.scope AND halted.achievement = flow.achievement AND halted.place = flow.place
ORDER BY flow.achievement, flow.place
