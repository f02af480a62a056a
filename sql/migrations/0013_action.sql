-- What people do on the console.
CREATE TABLE action (
    action_id bigint GENERATED ALWAYS AS IDENTITY,
    begun_at  timestamptz NOT NULL,
    actor     text NOT NULL,
    kind      text COLLATE "C" NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    target    text NOT NULL,
    reason    text NOT NULL,
    outcome   text COLLATE "C" NOT NULL DEFAULT 'begun',
    detail    text NOT NULL DEFAULT '',
    ended_at  timestamptz,
    CONSTRAINT action_pkey PRIMARY KEY (action_id),
    CONSTRAINT action_kind CHECK (kind IN ('replay', 'revoke', 'grant')),
    CONSTRAINT action_outcome CHECK (outcome IN ('begun', 'done', 'failed')),
    CONSTRAINT action_has_a_reason CHECK (reason <> ''),
    CONSTRAINT action_has_an_actor CHECK (actor <> '')
);
COMMENT ON TABLE action IS
    'What people have done on the console, written before it is done; one that stays `begun` may have happened.';
COMMENT ON COLUMN action.tenant_id IS 'Empty where it is of no known tenant.';

-- Decisions come in the order of time, nearly: this index costs nothing worth naming when they are written.
CREATE INDEX evaluation_by_time ON evaluation USING brin (decided_at);
