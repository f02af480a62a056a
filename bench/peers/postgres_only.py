"""PostgreSQL only: COPY a file of events into a table, and one statement of window functions for the five rules.

No stream and no latency: the whole history is judged at once, when it is complete, in one transaction. The first
argument is a file, one event or one array of events a line.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import asyncpg

TABLES: Final = """
CREATE TABLE event (
    event_id uuid PRIMARY KEY, user_id text NOT NULL, event_type text NOT NULL, occurred_at timestamptz NOT NULL,
    lesson_id text, amount bigint
);
CREATE TABLE unlock (
    user_id text, achievement text, earned_at timestamptz NOT NULL, PRIMARY KEY (user_id, achievement)
);
"""
STAGE: Final = "CREATE TEMPORARY TABLE line (body jsonb) ON COMMIT DROP"
INSERT_EVENTS: Final = """
INSERT INTO event
SELECT e.event_id, e.user_id, e.event_type, e.occurred_at, e.payload->>'lesson_id', (e.payload->>'amount')::bigint
FROM line, jsonb_array_elements(CASE jsonb_typeof(body) WHEN 'array' THEN body ELSE jsonb_build_array(body) END) AS one,
    jsonb_to_record(one)
        AS e(event_id uuid, user_id text, event_type text, occurred_at timestamptz, payload jsonb)
ON CONFLICT DO NOTHING
"""
JUDGE: Final = """
WITH step AS (  -- to each lesson: the latest tutorial that a project has followed
    SELECT *, max(followed) OVER (PARTITION BY user_id ORDER BY occurred_at, event_id) AS begun
    FROM (
        SELECT *, CASE event_type WHEN 'project.created' THEN
            max(occurred_at) FILTER (WHERE event_type = 'tutorial.finished')
                OVER (PARTITION BY user_id ORDER BY occurred_at, event_id) END AS followed
        FROM event) AS projects
), lesson AS (
    SELECT *,
        row_number() OVER so_far AS lessons,
        sum(amount) OVER so_far AS total,
        row_number() OVER (PARTITION BY user_id, lesson_id ORDER BY occurred_at, event_id) AS times,
        (occurred_at AT TIME ZONE 'UTC')::date AS day
    FROM step WHERE event_type = 'lesson.completed'
    WINDOW so_far AS (PARTITION BY user_id ORDER BY occurred_at, event_id)
), day AS (  -- days in a row have the same distance from their number
    SELECT *, row_number() OVER (PARTITION BY user_id, island ORDER BY day) AS run
    FROM (
        SELECT user_id, day, min(occurred_at) AS occurred_at,
            day - row_number() OVER (PARTITION BY user_id ORDER BY day)::integer AS island
        FROM lesson GROUP BY user_id, day) AS days
), different AS (
    SELECT user_id, occurred_at, row_number() OVER (PARTITION BY user_id ORDER BY occurred_at, event_id) AS number
    FROM lesson WHERE times = 1
)
INSERT INTO unlock
SELECT user_id, 'hundred', min(occurred_at) FROM lesson WHERE lessons >= 100 GROUP BY user_id
UNION ALL SELECT user_id, 'big', min(occurred_at) FROM lesson WHERE total >= 1000 GROUP BY user_id
UNION ALL SELECT user_id, 'ten_different', min(occurred_at) FROM different WHERE number >= 10 GROUP BY user_id
UNION ALL SELECT user_id, 'week', min(occurred_at) FROM day WHERE run >= 7 GROUP BY user_id
UNION ALL SELECT user_id, 'path', min(occurred_at) FROM lesson
    WHERE occurred_at - begun < interval '7 days' GROUP BY user_id
ON CONFLICT DO NOTHING
"""


async def main(path: Path) -> None:
    """Load a file, and judge it."""
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    async with connection.transaction():
        await connection.execute(STAGE)
        # JSON as it is: neither quotes nor delimiters of CSV occur in it.
        await connection.copy_to_table("line", source=path, format="csv", delimiter="\x02", quote="\x01")
        await connection.execute(INSERT_EVENTS)
        await connection.execute("ANALYZE event")
        await connection.execute(JUDGE)
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
