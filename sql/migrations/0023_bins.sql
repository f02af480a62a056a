-- compatible_from: 21
-- The index of a user's events has the four minutes in which an event happened in place of its instant: a B-tree keeps
-- equal keys once, and people do several things in a row. `ach migrate` builds it beforehand, beside workers.

CREATE OR REPLACE FUNCTION bin_of(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin(interval '4 minutes', at, timestamptz '0001-01-01 00:00:00Z');
COMMENT ON FUNCTION bin_of IS
    'Where the four minutes begin that an instant lies in. Statements name it beside each bound of occurred_at, for the index.';

CREATE INDEX IF NOT EXISTS event_of_user_bin ON event (tenant_id, user_id, bin_of(occurred_at));

-- Workers of releases before find a user's events by the other one as long as they live; `ach migrate` drops it later.
DO $migration$
BEGIN
    IF NOT EXISTS (SELECT FROM worker WHERE NOT stopped AND seen_at > now() - interval '1 minute') THEN
        DROP INDEX event_of_user;
    END IF;
END
$migration$;
