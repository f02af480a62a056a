-- compatible_from: 17
-- Tombstones that an operator has lifted: who, when and why.

CREATE TABLE lifted_erasure (
    tenant_id text COLLATE "C" NOT NULL,
    user_id   text COLLATE "C" NOT NULL,
    lifted_at timestamptz NOT NULL,
    lifted_by text NOT NULL,
    reason    text NOT NULL,
    erased_at timestamptz NOT NULL,
    erased_by text NOT NULL,
    CONSTRAINT lifted_erasure_pkey PRIMARY KEY (tenant_id, user_id, lifted_at),
    CONSTRAINT lifted_erasure_has_a_reason CHECK (reason <> '')
);
COMMENT ON TABLE lifted_erasure IS 'Tombstones that were lifted: events of that user are taken again; append-only.';
