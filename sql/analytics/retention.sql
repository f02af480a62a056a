-- Correlation, and no cause: who comes back after a landmark day, of those with an unlock by then and of the others. Only
-- users alive at the landmark count, and of them those whose day n is over; by week of the first event, or by a trait.
WITH began AS (
    SELECT tenant_id, user_id, MIN(event_time) AS first_event FROM event GROUP BY tenant_id, user_id
), won AS (
    SELECT tenant_id, user_id, MIN(earned_at) AS earned_at FROM earned WHERE scope = 'user' GROUP BY tenant_id, user_id
), dated AS (
    SELECT
        event.tenant_id, event.user_id, began.first_event,
        CAST(FLOOR(DATE_DIFF('second', began.first_event, event.event_time) / 86400) AS INTEGER) - asked.landmark_day
            AS days_after
    FROM event
    JOIN began ON began.tenant_id = event.tenant_id AND began.user_id = event.user_id
    CROSS JOIN asked
), seen AS (
    SELECT
        dated.tenant_id, dated.user_id, dated.first_event,
        MAX(CASE WHEN dated.days_after BETWEEN -6 AND 0 AND dated.days_after > -asked.landmark_day THEN 1 ELSE 0 END)
            AS alive,
        MAX(CASE WHEN dated.days_after = 1 THEN 1 ELSE 0 END) AS day_1,
        MAX(CASE WHEN dated.days_after = 7 THEN 1 ELSE 0 END) AS day_7,
        MAX(CASE WHEN dated.days_after = 30 THEN 1 ELSE 0 END) AS day_30
    FROM dated
    CROSS JOIN asked
    -- Other days decide nothing, and most events are on them.
    WHERE dated.days_after BETWEEN -6 AND 1 OR dated.days_after IN (7, 30)
    GROUP BY dated.tenant_id, dated.user_id, dated.first_event
), placed AS (
    SELECT
        seen.*,
        CASE WHEN DATE_DIFF('second', seen.first_event, won.earned_at) < 86400 * (asked.landmark_day + 1)
            THEN 'unlockers' ELSE 'others' END AS cohort,
        CASE WHEN asked.trait IS NULL THEN CAST(CAST(DATE_TRUNC('week', seen.first_event) AS DATE) AS VARCHAR)
            ELSE COALESCE(span.value, '(none)') END AS stratum,
        CAST(FLOOR(DATE_DIFF('second', seen.first_event, asked.as_of) / 86400) AS INTEGER) - asked.landmark_day
            AS days_known
    FROM seen
    CROSS JOIN asked
    LEFT JOIN won ON won.tenant_id = seen.tenant_id AND won.user_id = seen.user_id
    LEFT JOIN trait_span AS span
        ON span.tenant_id = seen.tenant_id AND span.user_id = seen.user_id AND span.trait = asked.trait
        AND DATE_DIFF('second', seen.first_event, span.valid_from) < 86400 * (asked.landmark_day + 1)
        AND (span.valid_until IS NULL
            OR DATE_DIFF('second', seen.first_event, span.valid_until) >= 86400 * (asked.landmark_day + 1))
    WHERE seen.alive = 1
), each_day AS (
    SELECT stratum, cohort, 1 AS day, day_1 AS back FROM placed WHERE days_known > 1
    UNION ALL
    SELECT stratum, cohort, 7 AS day, day_7 AS back FROM placed WHERE days_known > 7
    UNION ALL
    SELECT stratum, cohort, 30 AS day, day_30 AS back FROM placed WHERE days_known > 30
), counted AS (
    SELECT stratum, cohort, day, COUNT(*) AS alive, SUM(back) AS back FROM each_day GROUP BY stratum, cohort, day
    UNION ALL
    SELECT NULL AS stratum, cohort, day, COUNT(*) AS alive, SUM(back) AS back FROM each_day GROUP BY cohort, day
), rated AS (
    SELECT stratum, cohort, day, alive, back, 1.0 * back / alive AS rate, 3.8416 / alive AS z2 FROM counted
)
SELECT
    rated.stratum, rated.day, rated.cohort,
    CASE WHEN rated.alive >= asked.fewest THEN rated.back END AS back,
    rated.alive,
    CASE WHEN rated.alive >= asked.fewest THEN ROUND(100.0 * rated.back / rated.alive, 1) END AS percent,
    CASE WHEN rated.alive >= asked.fewest THEN ROUND(100.0 * (
        rated.rate + rated.z2 / 2 - SQRT(rated.z2 * (rated.rate * (1 - rated.rate) + rated.z2 / 4))
        ) / (1 + rated.z2), 1) END AS low,
    CASE WHEN rated.alive >= asked.fewest THEN ROUND(100.0 * (
        rated.rate + rated.z2 / 2 + SQRT(rated.z2 * (rated.rate * (1 - rated.rate) + rated.z2 / 4))
        ) / (1 + rated.z2), 1) END AS high
FROM rated
CROSS JOIN asked
ORDER BY rated.stratum NULLS FIRST, rated.day, rated.cohort DESC
