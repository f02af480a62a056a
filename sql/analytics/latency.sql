-- From an event to the announcement of what it earned, by region of its producer: of live grants that are announced.
-- From the broker: since it took the event. From the event: since it happened, with the delay of its producer.
WITH announced AS (
    SELECT
        region, DATE_DIFF('millisecond', event_time, announced_at) AS from_event,
        DATE_DIFF('millisecond', COALESCE(published_at, received_at), announced_at) AS from_broker
    FROM unlock_event
    CROSS JOIN asked
    WHERE announced_at IS NOT NULL AND origin = 'live' AND received_at IS NOT NULL
        AND (asked.achievement IS NULL OR unlock_event.achievement = asked.achievement)
), ranked AS (
    SELECT
        region, from_event, from_broker, COUNT(*) OVER (PARTITION BY region) AS unlocks,
        ROW_NUMBER() OVER (PARTITION BY region ORDER BY from_event) AS nth_event,
        ROW_NUMBER() OVER (PARTITION BY region ORDER BY from_broker) AS nth_broker
    FROM announced
)
SELECT
    ranked.region, ranked.unlocks,
    MIN(CASE WHEN ranked.unlocks >= asked.fewest AND 2 * nth_broker >= unlocks THEN from_broker END) AS p50_broker_ms,
    MIN(CASE WHEN ranked.unlocks >= asked.fewest AND 100 * nth_broker >= 99 * unlocks THEN from_broker END)
        AS p99_broker_ms,
    MIN(CASE WHEN ranked.unlocks >= asked.fewest AND 2 * nth_event >= unlocks THEN from_event END) AS p50_event_ms,
    MIN(CASE WHEN ranked.unlocks >= asked.fewest AND 100 * nth_event >= 99 * unlocks THEN from_event END)
        AS p99_event_ms
FROM ranked
CROSS JOIN asked
GROUP BY ranked.region, ranked.unlocks
ORDER BY ranked.unlocks DESC, ranked.region
