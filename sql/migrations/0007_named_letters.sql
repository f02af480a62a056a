-- Dead letters know which users they name, so that an erasure finds them by an index; a replay leaves a trace; and a view
-- reads payloads as jsonb without failing on any.

ALTER TABLE dead_letter
    ADD COLUMN names_read boolean NOT NULL DEFAULT false,
    ADD COLUMN replay_digest bytea,
    ADD COLUMN died_again_as bigint,
    ADD COLUMN erased_at timestamptz;
COMMENT ON COLUMN dead_letter.names_read IS 'Whether dead_letter_user says which users it names; an erasure reads it otherwise.';
COMMENT ON COLUMN dead_letter.replay_digest IS 'BLAKE2b-128 of the body that was sent again last.';
COMMENT ON COLUMN dead_letter.died_again_as IS 'The dead letter that came of it when it was sent again.';
COMMENT ON COLUMN dead_letter.erased_at IS 'When it lost its body: one of the users that it named was erased.';
CREATE INDEX dead_letter_unread ON dead_letter (dead_letter_id) WHERE NOT names_read;

CREATE TABLE dead_letter_user (
    dead_letter_id bigint NOT NULL,
    tenant_token   text COLLATE "C" NOT NULL,
    user_token     text COLLATE "C" NOT NULL,
    CONSTRAINT dead_letter_user_pkey PRIMARY KEY (dead_letter_id, tenant_token, user_token),
    CONSTRAINT dead_letter_user_letter FOREIGN KEY (dead_letter_id) REFERENCES dead_letter ON DELETE CASCADE
);
COMMENT ON TABLE dead_letter_user IS 'Which users a dead letter names, by the tokens of NATS subjects; '''' is an unknown tenant.';
CREATE INDEX dead_letter_user_of_token ON dead_letter_user (user_token, tenant_token);

ALTER TABLE erasure
    ADD COLUMN tenant_token text COLLATE "C",
    ADD COLUMN user_token text COLLATE "C";
COMMENT ON COLUMN erasure.user_token IS 'The token of NATS subjects that stands for the user; null in rows of older workers.';
CREATE INDEX erasure_of_token ON erasure (user_token, tenant_token);
CREATE INDEX erasure_without_token ON erasure (tenant_id, user_id) WHERE user_token IS NULL;

-- No subtransaction where the server can tell beforehand, which parallel plans need; before PostgreSQL 16 it cannot.
DO $migration$
BEGIN
    IF current_setting('server_version_num')::integer >= 160000 THEN
        EXECUTE $define$
            CREATE FUNCTION json_or_null(said text) RETURNS jsonb
            LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
            BEGIN
                IF pg_input_is_valid(said, 'jsonb') THEN
                    RETURN said::jsonb;
                END IF;
                RETURN NULL;
            END
            $body$
        $define$;
    ELSE
        EXECUTE $define$
            CREATE FUNCTION json_or_null(said text) RETURNS jsonb
            LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL UNSAFE AS $body$
            BEGIN
                RETURN said::jsonb;
            EXCEPTION WHEN OTHERS THEN
                RETURN NULL;
            END
            $body$
        $define$;
    END IF;
END
$migration$;
COMMENT ON FUNCTION json_or_null IS 'JSON text as jsonb; null where jsonb has no room for it, such as for the number 1e200000.';

CREATE OR REPLACE VIEW v_event AS
SELECT
    event.user_id,
    event.tenant_id,
    event.event_type,
    event.occurred_at AS event_time,
    event.received_at AS processing_time,
    v_unlock.scope AS rule_scope,
    v_unlock.achievement AS rule,
    v_unlock.version AS rule_version,
    v_unlock.tier AS rule_tier,
    v_unlock.occurrence AS rule_occurrence,
    v_unlock.status AS unlock_status,
    event.source,
    event.event_id AS deduplication_key,
    event.payload,
    json_or_null(event.payload) AS payload_json
FROM event
LEFT JOIN v_unlock ON v_unlock.tenant_id = event.tenant_id AND v_unlock.event_id = event.event_id;
