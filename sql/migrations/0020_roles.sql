-- compatible_from: 17
-- Users that events name beside the one who did them, and what stands for those that were erased.

-- Members of the scope `user`: those that an event names beside its own user.
-- The foreign key would look for the event of each row, by an index of the tenant while the tables are small. A statement that
-- deletes an event deletes its members.
ALTER TABLE event_subject DROP CONSTRAINT event_subject_is_a_field;
ALTER TABLE event_subject DROP CONSTRAINT event_subject_event;
COMMENT ON TABLE event_subject IS
    'Which events belong to which subject of a field scope, and to which users beside the one who did them.';

CREATE TABLE pseudonym (
    tenant_id text COLLATE "C" NOT NULL,
    name_hash bytea NOT NULL,
    pseudonym text COLLATE "C" NOT NULL,
    CONSTRAINT pseudonym_pkey PRIMARY KEY (tenant_id, name_hash),
    CONSTRAINT pseudonym_once UNIQUE (tenant_id, pseudonym),
    CONSTRAINT pseudonym_hash_length CHECK (octet_length(name_hash) = 32)
);
COMMENT ON TABLE pseudonym IS
    'What stands for an erased user in events of others, one random name each; only a keyed hash of the name leads here.';

CREATE TABLE pseudonym_key (
    key_id integer NOT NULL DEFAULT 1,
    secret bytea NOT NULL,
    CONSTRAINT pseudonym_key_pkey PRIMARY KEY (key_id),
    CONSTRAINT pseudonym_key_is_one CHECK (key_id = 1),
    CONSTRAINT pseudonym_key_length CHECK (octet_length(secret) = 32)
);
COMMENT ON TABLE pseudonym_key IS 'The key of name_hash. No role that reads has a right to it.';
INSERT INTO pseudonym_key (secret)
VALUES (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

CREATE TABLE renamed_event (
    event_id  text COLLATE "C" NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    digest    bytea NOT NULL,
    CONSTRAINT renamed_event_pkey PRIMARY KEY (event_id, tenant_id),
    CONSTRAINT renamed_event_digest_length CHECK (octet_length(digest) = 32)
);
COMMENT ON TABLE renamed_event IS
    'Events in which pseudonyms stand for erased users: SHA-256 of what was received, by which a copy is known.';

CREATE FUNCTION keyed_hash(tenant text, name text) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT sha256(secret || sha256(secret || convert_to(tenant, 'UTF8') || '\x00'::bytea || convert_to(name, 'UTF8')))
    FROM pseudonym_key
$$;
COMMENT ON FUNCTION keyed_hash IS 'Of the name of a user of a tenant: without the key, no name can be tried.';
