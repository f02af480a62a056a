-- compatible_from: 21
-- The archive: events of long ago, packed by user. `ach archive` fills it, and until then releases before run beside it.

CREATE TABLE pack (
    tenant_id text COLLATE "C" NOT NULL,
    user_id   text COLLATE "C" NOT NULL,
    part      integer NOT NULL,
    number    integer NOT NULL,
    events    integer NOT NULL,
    first_at  timestamptz NOT NULL,
    last_at   timestamptz NOT NULL,
    types     text[] COLLATE "C" NOT NULL,
    body      bytea NOT NULL,
    CONSTRAINT pack_pkey PRIMARY KEY (tenant_id, user_id, part),
    CONSTRAINT pack_part_positive CHECK (part >= 1),
    CONSTRAINT pack_has_events CHECK (events >= 1),
    CONSTRAINT pack_in_order CHECK (first_at <= last_at)
);
COMMENT ON TABLE pack IS
    'The archive: old events of users, which are in the ledger no more; worker/contract/pack.py has the form of a body.';
COMMENT ON COLUMN pack.number IS 'Of the user, short: packed_id points to it.';
COMMENT ON COLUMN pack.first_at IS 'The earliest occurred_at of its events.';
COMMENT ON COLUMN pack.types IS 'The event types in it, in order.';
-- It is deflated already, and most are best kept in the row.
ALTER TABLE pack ALTER COLUMN body SET STORAGE EXTERNAL, SET (toast_tuple_target = 4080);
CREATE INDEX pack_of_number ON pack (number);
CREATE SEQUENCE pack_number AS integer;

CREATE TABLE packing (
    tenant_id text COLLATE "C" NOT NULL,
    user_id   text COLLATE "C" NOT NULL,
    part      integer NOT NULL,
    number    integer NOT NULL,
    events    integer NOT NULL,
    body      bytea NOT NULL,
    CONSTRAINT packing_pkey PRIMARY KEY (tenant_id, user_id, part),
    CONSTRAINT packing_has_events CHECK (events >= 1)
);
COMMENT ON TABLE packing IS
    'Packs whose events are in the ledger still: a run writes them and moves them on, and a vacuum takes the room back.';
ALTER TABLE packing ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX packing_of_number ON packing (number);

CREATE TABLE packed_id (
    first  bigint NOT NULL,
    hashes bytea NOT NULL,
    users  bytea NOT NULL,
    CONSTRAINT packed_id_pkey PRIMARY KEY (first),
    CONSTRAINT packed_id_rows CHECK (octet_length(users) IN (octet_length(hashes) / 5 * 3, octet_length(hashes) / 5 * 4))
);
COMMENT ON TABLE packed_id IS
    'Ids of archived events: 40 bits of the hash of each, and the number of its user, from the hash `first` up to the next row.';
COMMENT ON COLUMN packed_id.hashes IS 'Five bytes each, the highest first.';
COMMENT ON COLUMN packed_id.users IS 'pack.number, three or four bytes each, in the same order.';
INSERT INTO packed_id (first, hashes, users) VALUES (0, '', '');

CREATE TABLE packed_member (
    tenant_id text COLLATE "C" NOT NULL,
    scope     text COLLATE "C" NOT NULL,
    subject   text COLLATE "C" NOT NULL,
    user_id   text COLLATE "C" NOT NULL,
    CONSTRAINT packed_member_pkey PRIMARY KEY (tenant_id, scope, subject, user_id)
);
COMMENT ON TABLE packed_member IS
    'In whose archived events those of a subject of a field scope are to be looked for; it may name too many users.';
CREATE INDEX packed_member_of_user ON packed_member (tenant_id, user_id);

CREATE TABLE archive (
    one         boolean NOT NULL DEFAULT true,
    reach       jsonb NOT NULL DEFAULT '{}',
    probe       bigint,
    archived_at timestamptz,
    before      timestamptz,
    CONSTRAINT archive_pkey PRIMARY KEY (one),
    CONSTRAINT archive_has_one_row CHECK (one)
);
COMMENT ON TABLE archive IS 'What is known of the archive as a whole: one row, which a transaction locks that changes packed_id.';
COMMENT ON COLUMN archive.reach IS
    'By length in characters the greatest id that is archived: an id behind it is certainly none of those.';
COMMENT ON COLUMN archive.probe IS
    'Hash of a certain id, as it was when ids were first archived: on a server that says otherwise, none is found.';
COMMENT ON COLUMN archive.before IS 'The last run has archived what was received before this instant.';
INSERT INTO archive (one) VALUES (true);
