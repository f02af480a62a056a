-- What was shown to a subject because its progress had come to N %: from then on it stays visible.

CREATE TABLE revealed (
    tenant_id   text COLLATE "C" NOT NULL,
    scope       text COLLATE "C" NOT NULL,
    subject     text COLLATE "C" NOT NULL,
    achievement text COLLATE "C" NOT NULL,
    tier        text COLLATE "C" NOT NULL DEFAULT '',
    revealed_at timestamptz NOT NULL,
    CONSTRAINT revealed_pkey PRIMARY KEY (tenant_id, scope, subject, achievement, tier),
    CONSTRAINT revealed_subject_bounded CHECK (octet_length(subject) BETWEEN 1 AND 512)
);
COMMENT ON TABLE revealed IS
    'What `reveal at N%` has shown to a subject, written by the first reader who shows it; no part of earning.';

-- A reader may be allowed this, and nothing else. An erasure deletes the row of progress before it deletes what was
-- revealed, so the lock keeps both in order: what comes later finds no row, and writes nothing.
CREATE FUNCTION keep_revealed(
    of_tenant text, of_scope text, of_subject text, achievements text[], tiers text[], at timestamptz)
RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER AS $body$
    WITH held AS (
        SELECT tenant_id, scope, subject
        FROM progress
        WHERE tenant_id = of_tenant AND scope = of_scope AND subject = of_subject
        FOR KEY SHARE
    ), kept AS (
        INSERT INTO revealed (tenant_id, scope, subject, achievement, tier, revealed_at)
        SELECT held.tenant_id, held.scope, held.subject, shown.achievement, shown.tier, at
        FROM held, unnest(achievements, tiers) AS shown (achievement, tier)
        ORDER BY shown.achievement, shown.tier
        ON CONFLICT (tenant_id, scope, subject, achievement, tier) DO NOTHING
        RETURNING 1
    )
    SELECT count(*)::integer FROM kept
$body$;
COMMENT ON FUNCTION keep_revealed IS 'Writes down what a subject with progress has been shown; returns how much of it is new.';
REVOKE EXECUTE ON FUNCTION keep_revealed FROM PUBLIC;
-- It has the rights of its owner, so it looks nowhere but in the schema of the tables.
DO $migration$
BEGIN
    EXECUTE format('ALTER FUNCTION keep_revealed SET search_path = %I, pg_temp', current_schema());
END
$migration$;
