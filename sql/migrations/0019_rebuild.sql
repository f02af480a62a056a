-- compatible_from: 17
-- States that are folded again from the ledger: how far that is.

CREATE TABLE rebuild (
    rebuild_id    bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id     text COLLATE "C",
    achievement   text COLLATE "C",
    begun_at      timestamptz NOT NULL,
    begun_by      text NOT NULL,
    after_scope   text COLLATE "C" NOT NULL DEFAULT '',
    after_tenant  text COLLATE "C" NOT NULL DEFAULT '',
    after_subject text COLLATE "C" NOT NULL DEFAULT '',
    subjects      bigint NOT NULL DEFAULT 0,
    events        bigint NOT NULL DEFAULT 0,
    states        bigint NOT NULL DEFAULT 0,
    decisions     bigint NOT NULL DEFAULT 0,
    ended_at      timestamptz,
    CONSTRAINT rebuild_pkey PRIMARY KEY (rebuild_id)
);
COMMENT ON TABLE rebuild IS 'Rebuilds of states of many subjects: how far each is. One of a single user leaves no row.';
COMMENT ON COLUMN rebuild.tenant_id IS 'Whose subjects; null for all tenants.';
COMMENT ON COLUMN rebuild.achievement IS 'Subjects that hear events of this achievement; null for all.';
COMMENT ON COLUMN rebuild.after_subject IS 'With after_scope and after_tenant the last subject that is done.';
COMMENT ON COLUMN rebuild.states IS 'Subjects whose stored state was not what their events make of it.';
COMMENT ON COLUMN rebuild.decisions IS 'Decisions about unlocks that this has caused.';
