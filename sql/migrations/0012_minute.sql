-- Counts of every minute, which survive the workers that counted, and the workers themselves.
CREATE TABLE minute (
    minute       timestamptz NOT NULL,
    tenant_id    text COLLATE "C" NOT NULL,
    region       text COLLATE "C" NOT NULL DEFAULT '',
    events       bigint NOT NULL DEFAULT 0,
    duplicates   bigint NOT NULL DEFAULT 0,
    late         bigint NOT NULL DEFAULT 0,
    erased       bigint NOT NULL DEFAULT 0,
    unlocks      bigint NOT NULL DEFAULT 0,
    backfilled   bigint NOT NULL DEFAULT 0,
    dead         jsonb NOT NULL DEFAULT '{}',
    latency      bigint[] NOT NULL DEFAULT '{}',
    CONSTRAINT minute_pkey PRIMARY KEY (minute, tenant_id, region),
    CONSTRAINT minute_is_whole CHECK (date_trunc('minute', minute, 'UTC') = minute),
    CONSTRAINT minute_dead_is_object CHECK (jsonb_typeof(dead) = 'object')
);
COMMENT ON TABLE minute IS 'What workers did in each minute, by tenant and region; kept for 30 days.';
COMMENT ON COLUMN minute.tenant_id IS 'Empty for what has no tenant; * for all tenants beyond those that are counted apart.';
COMMENT ON COLUMN minute.region IS 'Of the producer; empty where that says none.';
COMMENT ON COLUMN minute.unlocks IS 'Granted, but for those that a backfill found.';
COMMENT ON COLUMN minute.dead IS 'Dead letters by reason.';
COMMENT ON COLUMN minute.latency IS
    'Unlocks by the time from the publication of the event to the announcement: how many in each bucket.';

CREATE TABLE worker (
    worker_id   uuid NOT NULL,
    host        text NOT NULL,
    release     text NOT NULL,
    started_at  timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL,
    rules_epoch bigint NOT NULL,
    messages    bigint NOT NULL,
    retries     bigint NOT NULL,
    stopped     boolean NOT NULL DEFAULT false,
    CONSTRAINT worker_pkey PRIMARY KEY (worker_id)
);
COMMENT ON TABLE worker IS 'Workers of the last day: each writes its row every few seconds while it lives.';
COMMENT ON COLUMN worker.stopped IS 'Whether it has said goodbye; one that falls silent without has died.';
