-- An outbox for PostgreSQL: debezium.properties publishes its rows. An event is put in with the change that it tells of:
--
--   BEGIN; UPDATE ...; SELECT outbox_event('acme.io', 'lesson-l1-ann', 'lesson.completed', 'ann', now(), '{"score": 9}'); COMMIT;

CREATE TABLE outbox (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    aggregateid text NOT NULL, -- the key of Debezium's message: the user
    subject text NOT NULL,
    message_id text, -- null where the id of the event fits into no header
    payload jsonb NOT NULL
);

-- Returns the token of a subject that stands for a name; null where the name is too long for one.
CREATE FUNCTION ach_token(name text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT CASE WHEN length(encoded) <= 120 THEN encoded END
    FROM (
        SELECT string_agg(
            CASE
                WHEN chr(byte) ~ '[A-Za-z0-9_-]' AND byte < 128 THEN chr(byte)
                ELSE '%' || upper(lpad(to_hex(byte), 2, '0'))
            END, '' ORDER BY place) AS encoded
        FROM (
            SELECT place, get_byte(convert_to(name, 'UTF8'), place) AS byte
            FROM generate_series(0, octet_length(convert_to(name, 'UTF8')) - 1) AS place
        ) AS bytes
    ) AS whole
$$;

-- Returns the subject of an event; a name that is too long for a token goes on the one that holds events of any user.
CREATE FUNCTION ach_subject(tenant text, user_id text, event_type text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT coalesce('events.' || ach_token(tenant) || '.' || ach_token(user_id) || '.' || (
            SELECT CASE
                WHEN bool_or(part = '') THEN ach_token(event_type)
                WHEN count(*) = count(ach_token(part)) THEN string_agg(ach_token(part), '.' ORDER BY place)
            END
            FROM unnest(string_to_array(event_type, '.')) WITH ORDINALITY AS parts (part, place)
        ), 'events.' || ach_token(tenant) || '.~batch.batch')
$$;

CREATE FUNCTION outbox_event(
    tenant text, event_id text, event_type text, user_id text, occurred_at timestamptz, payload jsonb DEFAULT '{}'
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO outbox (aggregateid, subject, message_id, payload)
    SELECT
        user_id,
        ach_subject(tenant, user_id, event_type),
        CASE WHEN event_id ~ '^[ -~]*[!-~]$' THEN ach_token(tenant) || ':' || event_id END,
        jsonb_build_object(
            'event_id', event_id, 'event_type', event_type, 'user_id', user_id, 'tenant_id', tenant, 'source', 'outbox',
            'occurred_at', to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'payload', payload)
$$;

-- Debezium reads the write-ahead log, not the table: rows may be deleted at any time, even in the transaction that put them in.
