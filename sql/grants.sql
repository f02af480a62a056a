-- The rights of each use, and no more. Run it as the owner of the tables, after `ach migrate` and again after each
-- upgrade: it takes all rights on the schema from the roles that it names, and gives what they need.

BEGIN;
SET LOCAL search_path TO {schema};

DO {tag}
DECLARE
    wanted text;
    owner text := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass('schema_migration'));
BEGIN
    IF owner IS NULL THEN
        RAISE EXCEPTION 'there are no tables of ach in this schema: run `ach migrate` first';
    END IF;
    FOREACH wanted IN ARRAY ARRAY[{names}] LOOP
        IF wanted = owner THEN
            RAISE EXCEPTION 'role % owns the tables: name another one, which owns nothing', wanted;
        END IF;
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
    -- Until PostgreSQL 15, every role may make tables in the schema public; in every release, temporary ones.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
{tag};
REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;
REVOKE ALL ON SCHEMA {schema} FROM {all};
REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {all};
REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM {all};
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM {all};
GRANT USAGE ON SCHEMA {schema} TO {all};
GRANT EXECUTE ON FUNCTION json_or_null, bin_of TO {all};

-- Every process sees whether it can work with the schema, and which rules are in force.
GRANT SELECT ON schema_migration, rule_set, aggregate
    TO {worker}, {operator}, {reader}, {serve}, {notify}, {ingest}, {mirror}, {console};

-- `ach run`, and the function form. It adds to the ledger and to the decisions, and changes neither. It goes on with a
-- change of rules whose process has died.
GRANT SELECT, INSERT ON event, event_subject, evaluation, dead_letter_user TO {worker};
GRANT SELECT, INSERT, UPDATE (announced), DELETE ON correction TO {worker};
GRANT SELECT, INSERT, UPDATE, DELETE ON progress, checkpoint, unlock, minute, worker TO {worker};
GRANT SELECT, UPDATE ON partition, change TO {worker};
GRANT SELECT ON rule_version TO {worker};
GRANT SELECT, INSERT, UPDATE ON moment TO {worker};
GRANT UPDATE (status, changed_at) ON aggregate TO {worker};
GRANT DELETE ON event_subject TO {worker};
GRANT SELECT, INSERT, UPDATE (died_again_as) ON dead_letter TO {worker};
GRANT SELECT, UPDATE (tenant_token, user_token) ON erasure TO {worker};
GRANT SELECT, INSERT ON pseudonym TO {worker};
GRANT SELECT, INSERT, UPDATE ON renamed_event TO {worker};
GRANT SELECT ON pseudonym_key TO {worker};
GRANT SELECT ON archive, pack, packing, packed_id TO {worker};
GRANT SELECT, INSERT ON packed_member TO {worker};
GRANT EXECUTE ON FUNCTION keyed_hash TO {worker};
GRANT EXECUTE ON FUNCTION overtaken TO {worker};

-- `ach apply`, `rollback`, `rules retire`, `change`, `backfill`, `rebuild`, `grant`, `revoke`, `erase`, `archive`, `export`, `dead`; `ach console` with actions; and all that readers do.
GRANT SELECT ON minute, worker, v_unlock, v_event TO {operator};
GRANT SELECT, INSERT ON rule_set TO {operator};
GRANT SELECT, INSERT, UPDATE ON change, rule_version, erasure, action TO {operator};
GRANT SELECT, UPDATE ON partition TO {operator};
GRANT SELECT, INSERT, DELETE ON event, event_subject, evaluation, delivery TO {operator};
-- Of an event or a decision of others that names an erased user, the name alone.
GRANT UPDATE (user_id, payload) ON event TO {operator};
GRANT UPDATE (occurrence) ON evaluation TO {operator};
GRANT SELECT, INSERT ON pseudonym TO {operator};
GRANT SELECT, INSERT, UPDATE, DELETE ON renamed_event TO {operator};
GRANT SELECT ON pseudonym_key TO {operator};
GRANT EXECUTE ON FUNCTION keyed_hash TO {operator};
GRANT SELECT, INSERT, UPDATE, DELETE
    ON aggregate, progress, checkpoint, unlock, correction, dead_letter, dead_letter_user TO {operator};
GRANT SELECT, DELETE ON revealed TO {operator};
GRANT DELETE ON erasure TO {operator};
GRANT SELECT, INSERT ON lifted_erasure, moment TO {operator};
GRANT SELECT, INSERT, UPDATE, DELETE ON pack, packed_id, packed_member TO {operator};
GRANT SELECT, INSERT, DELETE ON packing TO {operator};
GRANT SELECT, UPDATE ON archive TO {operator};
GRANT USAGE ON SEQUENCE pack_number TO {operator};
GRANT UPDATE (compatible_from) ON schema_migration TO {operator};
GRANT SELECT, INSERT, UPDATE ON rebuild TO {operator};
GRANT EXECUTE ON FUNCTION overtaken TO {operator};
GRANT EXECUTE ON FUNCTION keep_revealed TO {operator};

-- `ach progress`, `unlocks`, `explain`, `digest`; people with a SQL client. No dead letters: they hold what others sent.
GRANT SELECT ON event, event_subject, pack, packed_member, progress, checkpoint, unlock, evaluation, change, moment,
    rule_version, erasure, revealed, minute, v_unlock, v_event TO {reader};

-- `ach serve`: `keep_revealed` is for `reveal = true`.
GRANT SELECT ON event, event_subject, pack, packed_member, progress, unlock, evaluation, rule_version, erasure, revealed,
    minute TO {serve};
GRANT EXECUTE ON FUNCTION keep_revealed TO {serve};

-- `ach notify`.
GRANT SELECT, INSERT, DELETE ON delivery TO {notify};
GRANT SELECT ON erasure TO {notify};

-- `ach ingest` needs the rules alone, which it has.

-- `ach mirror`. It reads dead letters, and copies no bodies.
GRANT SELECT ON event, event_subject, pack, progress, unlock, evaluation, rule_version, erasure, lifted_erasure, renamed_event,
    dead_letter TO {mirror};

-- `ach console` for viewers, dead letters with their bodies.
GRANT SELECT ON event, event_subject, pack, packed_member, progress, checkpoint, unlock, evaluation, change, rule_version,
    erasure, revealed, minute, worker, action, dead_letter, dead_letter_user, delivery, v_unlock, v_event TO {console};
{tenants}
COMMIT;
