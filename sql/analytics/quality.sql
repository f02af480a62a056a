-- What is wrong with the events: late ones, clocks that run ahead, types that no rule in force names, dead letters.
WITH arrival AS (
    SELECT
        event.event_type, COUNT(*) AS events,
        SUM(CASE WHEN DATE_DIFF('second', event.event_time, event.processing_time) > asked.late_seconds
            THEN 1 ELSE 0 END) AS late,
        SUM(CASE WHEN DATE_DIFF('second', COALESCE(event.published_at, event.processing_time), event.event_time) > 1
            THEN 1 ELSE 0 END) AS ahead
    FROM event
    CROSS JOIN asked
    GROUP BY event.event_type
), total AS (
    SELECT COALESCE(SUM(events), 0) AS events, COALESCE(SUM(late), 0) AS late, COALESCE(SUM(ahead), 0) AS ahead
    FROM arrival
), letter AS (
    SELECT reason, COUNT(*) AS letters FROM failed_event WHERE change = 'died' GROUP BY reason
), sent_again AS (
    SELECT reason, COUNT(*) AS letters
    FROM (SELECT DISTINCT failed_event_id, reason FROM failed_event WHERE change = 'replayed') AS once
    GROUP BY reason
), taken AS (
    SELECT total.events + COALESCE(SUM(letter.letters), 0) AS events FROM total LEFT JOIN letter ON TRUE
    GROUP BY total.events
), finding AS (
    SELECT 1 AS place, 'late' AS finding, CAST(NULL AS VARCHAR) AS name, late AS found, events AS out_of FROM total
    UNION ALL
    SELECT 2 AS place, 'clock ahead' AS finding, NULL AS name, ahead AS found, events AS out_of FROM total
    UNION ALL
    SELECT 3 AS place, 'no rule names it' AS finding, arrival.event_type AS name, arrival.events AS found,
        total.events AS out_of
    FROM arrival
    CROSS JOIN total
    WHERE NOT EXISTS (SELECT 1 FROM rule_in_force AS rule WHERE STRPOS(rule.source, arrival.event_type) > 0)
        AND arrival.event_type NOT IN (SELECT event_type FROM trait)
    UNION ALL
    SELECT 4 AS place, 'dead letter' AS finding, letter.reason AS name, letter.letters AS found, taken.events AS out_of
    FROM letter
    CROSS JOIN taken
    UNION ALL
    SELECT 5 AS place, 'sent again' AS finding, letter.reason AS name, COALESCE(sent_again.letters, 0) AS found,
        letter.letters AS out_of
    FROM letter
    LEFT JOIN sent_again ON sent_again.reason = letter.reason
)
SELECT finding, name, found, out_of, ROUND(100.0 * found / NULLIF(out_of, 0), 1) AS percent
FROM finding
ORDER BY place, found DESC, name
