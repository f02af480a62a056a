"""The five rules of the benchmark as SQL by hand, for PostgreSQL over the ledger and for DuckDB over Parquet."""

from __future__ import annotations

from typing import Final

ARCHIVE: Final = """
SELECT event_id, tenant_id, user_id, event_type, occurred_at AT TIME ZONE 'UTC', payload FROM event ORDER BY occurred_at
"""

IN_POSTGRES: Final = """
CREATE TABLE by_hand AS
WITH heard AS MATERIALIZED (
    SELECT tenant_id, user_id, occurred_at AS t, event_id, event_type,
        CASE event_type WHEN 'lesson.completed' THEN payload::json->>'lesson_id' END AS lesson,
        CASE event_type WHEN 'lesson.completed' THEN (payload::json->>'amount')::bigint END AS amount
    FROM event
    WHERE event_type IN ('lesson.completed', 'tutorial.finished', 'project.created')
), step AS (  -- to each lesson: the latest tutorial that a project has followed
    SELECT *, max(followed) OVER (PARTITION BY tenant_id, user_id ORDER BY t, event_id) AS begun
    FROM (
        SELECT *, CASE event_type WHEN 'project.created' THEN
            max(t) FILTER (WHERE event_type = 'tutorial.finished')
                OVER (PARTITION BY tenant_id, user_id ORDER BY t, event_id) END AS followed
        FROM heard) AS projects
), lesson AS (
    SELECT *,
        row_number() OVER so_far AS lessons,
        sum(amount) OVER so_far AS total,
        (t AT TIME ZONE 'UTC')::date AS day
    FROM step WHERE event_type = 'lesson.completed'
    WINDOW so_far AS (PARTITION BY tenant_id, user_id ORDER BY t, event_id)
), day AS (  -- days in a row have the same distance from their number
    SELECT *, row_number() OVER (PARTITION BY tenant_id, user_id, island ORDER BY day) AS run
    FROM (
        SELECT tenant_id, user_id, day, min(t) AS t,
            day - row_number() OVER (PARTITION BY tenant_id, user_id ORDER BY day)::integer AS island
        FROM lesson GROUP BY tenant_id, user_id, day) AS days
), different AS (
    SELECT tenant_id, user_id, t, row_number() OVER (PARTITION BY tenant_id, user_id ORDER BY t) AS number
    FROM (SELECT tenant_id, user_id, lesson, min(t) AS t FROM lesson GROUP BY tenant_id, user_id, lesson) AS met
)
SELECT tenant_id, user_id, 'hundred' AS achievement, min(t) AS earned_at
FROM lesson WHERE lessons >= 100 GROUP BY tenant_id, user_id
UNION ALL SELECT tenant_id, user_id, 'big', min(t) FROM lesson WHERE total >= 1000 GROUP BY tenant_id, user_id
UNION ALL SELECT tenant_id, user_id, 'ten_different', min(t) FROM different
    WHERE number >= 10 GROUP BY tenant_id, user_id
UNION ALL SELECT tenant_id, user_id, 'week', min(t) FROM day WHERE run >= 7 GROUP BY tenant_id, user_id
UNION ALL SELECT tenant_id, user_id, 'path', min(t) FROM lesson
    WHERE t - begun <= interval '7 days' GROUP BY tenant_id, user_id
"""

IN_DUCKDB: Final = """
WITH heard AS MATERIALIZED (
    SELECT id, tenant, u, type, t, CASE type WHEN 'lesson.completed' THEN payload->>'lesson_id' END AS lesson,
        CASE type WHEN 'lesson.completed' THEN CAST(payload->>'amount' AS BIGINT) END AS amount
    FROM $file WHERE type IN ('lesson.completed', 'tutorial.finished', 'project.created')
),
lesson AS MATERIALIZED (
    SELECT tenant, u, id, t, lesson, row_number() OVER w AS nth, sum(amount) OVER w AS total
    FROM heard WHERE type = 'lesson.completed' WINDOW w AS (PARTITION BY tenant, u ORDER BY t, id)
),
met AS (SELECT tenant, u, lesson, min(t) AS t FROM lesson GROUP BY ALL),
day AS (
    SELECT tenant, u, date_trunc('day', t) AS day, min(t) AS t,
        row_number() OVER (PARTITION BY tenant, u ORDER BY date_trunc('day', t)) AS nth
    FROM lesson GROUP BY tenant, u, date_trunc('day', t)
),
begun AS (
    SELECT *, max(t) FILTER (WHERE type = 'tutorial.finished') OVER w AS tutorial
    FROM heard WINDOW w AS (PARTITION BY tenant, u ORDER BY t, id ROWS UNBOUNDED PRECEDING)
),
gone_on AS (
    SELECT *, max(CASE type WHEN 'project.created' THEN tutorial END) OVER w AS begin
    FROM begun WINDOW w AS (PARTITION BY tenant, u ORDER BY t, id ROWS UNBOUNDED PRECEDING)
),
unlocks AS (
    SELECT tenant, u, 'hundred' AS achievement, t FROM lesson WHERE nth = 100
    UNION ALL
    SELECT tenant, u, 'ten_different', t FROM met
    QUALIFY row_number() OVER (PARTITION BY tenant, u ORDER BY t) = 10
    UNION ALL
    SELECT tenant, u, 'big', min(t) FROM lesson WHERE total >= 1000 GROUP BY ALL
    UNION ALL
    SELECT tenant, u, 'week', min(t) FROM (
        SELECT tenant, u, t,
            row_number() OVER (PARTITION BY tenant, u, day - to_days(CAST(nth AS INTEGER)) ORDER BY day) AS nth
        FROM day
    ) WHERE nth = 7 GROUP BY ALL
    UNION ALL
    SELECT tenant, u, 'path', min(t) FROM gone_on
    WHERE type = 'lesson.completed' AND t - begin <= INTERVAL 7 DAY GROUP BY ALL
)
SELECT * FROM unlocks
"""
