-- What the analyses share, over the layers and views of a mirror. Each analysis is one query in a file of its own; all of
-- them read `asked`, which has one row. In a warehouse: make these, insert that row, and run the query that you want.

-- What was asked. `as_of` is the moment of the mirror's last run. Figures about fewer subjects than `fewest` are null.
-- `achievement` and `trait` narrow the answer; null takes all.
CREATE TABLE asked (
    as_of TIMESTAMP WITH TIME ZONE,
    fewest INTEGER,
    landmark_day INTEGER,
    gap_times INTEGER,
    late_seconds INTEGER,
    near_percent INTEGER,
    achievement VARCHAR,
    trait VARCHAR
);

-- The population: subjects that have a row of progress or an unlock.
CREATE VIEW known AS
SELECT tenant_id, scope, subject FROM progress_daily
UNION DISTINCT
SELECT tenant_id, scope, subject FROM unlock_now;

-- 0 to 999.
CREATE VIEW number AS
SELECT ones.n + 10 * tens.n + 100 * hundreds.n AS n
FROM (
    SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
    UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9
) AS ones
CROSS JOIN (
    SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
    UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9
) AS tens
CROSS JOIN (
    SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
    UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9
) AS hundreds;

-- The version of each achievement that judges as of then.
CREATE VIEW rule_in_force AS
SELECT achievement, rule_version, scope, source, tiers
FROM (
    SELECT
        rule.achievement, rule.rule_version, rule.scope, rule.source, rule.tiers,
        ROW_NUMBER() OVER (PARTITION BY rule.achievement ORDER BY rule.rule_version DESC) AS nth
    FROM rule_version AS rule
    CROSS JOIN asked
    WHERE rule.retired_at IS NULL AND rule.scope IS NOT NULL
        AND (rule.starts_at IS NULL OR rule.starts_at <= asked.as_of)
        AND (rule.ends_at IS NULL OR rule.ends_at > asked.as_of)
) AS numbered
WHERE nth = 1;

-- Of these, those that were asked for: a row a tier in order, or one row without a tier.
CREATE VIEW rule_now AS
SELECT
    listed.achievement, listed.rule_version, listed.scope, listed.source, number.n + 1 AS place,
    NULLIF(SPLIT_PART(listed.tier_list, ',', number.n + 1), '') AS tier
FROM (
    SELECT
        rule.achievement, rule.rule_version, rule.scope, rule.source,
        REPLACE(REPLACE(REPLACE(REPLACE(rule.tiers, '[', ''), ']', ''), '"', ''), ' ', '') AS tier_list
    FROM rule_in_force AS rule
    CROSS JOIN asked
    WHERE asked.achievement IS NULL OR rule.achievement = asked.achievement
) AS listed
CROSS JOIN number
WHERE number.n = 0 OR SPLIT_PART(listed.tier_list, ',', number.n + 1) <> '';

-- Who has earned what: granted and supported, in any occurrence, with the first time.
CREATE VIEW earned AS
SELECT
    holds.tenant_id, holds.scope, holds.subject, holds.user_id, holds.achievement, holds.tier,
    MIN(holds.event_time) AS earned_at
FROM unlock_now AS holds
CROSS JOIN asked
WHERE holds.unlock_status IN ('granted', 'announced')
    AND (asked.achievement IS NULL OR holds.achievement = asked.achievement)
GROUP BY holds.tenant_id, holds.scope, holds.subject, holds.user_id, holds.achievement, holds.tier;
