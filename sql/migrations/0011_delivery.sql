-- What became of deliveries to endpoints, for operators: an account of attempts, without bodies. Nothing depends on it.

CREATE TABLE delivery (
    delivery_id  bigint GENERATED ALWAYS AS IDENTITY,
    endpoint     text COLLATE "C" NOT NULL,
    webhook_id   text COLLATE "C" NOT NULL,
    type         text COLLATE "C" NOT NULL,
    tenant_id    text COLLATE "C",
    scope        text COLLATE "C",
    subject      text COLLATE "C",
    attempt      integer NOT NULL,
    attempted_at timestamptz NOT NULL,
    outcome      text COLLATE "C" NOT NULL,
    status       smallint,
    latency_ms   integer NOT NULL,
    detail       text NOT NULL,
    CONSTRAINT delivery_pkey PRIMARY KEY (delivery_id),
    CONSTRAINT delivery_outcome CHECK (outcome IN ('delivered', 'failed', 'aborted', 'gone', 'refused')),
    CONSTRAINT delivery_of_a_subject_or_none CHECK (num_nulls(tenant_id, scope, subject) IN (0, 3))
);
COMMENT ON TABLE delivery IS 'Attempts to deliver announcements to endpoints; kept for 30 days.';
COMMENT ON COLUMN delivery.subject IS 'Null, with tenant and scope, where the announcement is of an erasure, or the user is erased.';
CREATE INDEX delivery_in_order ON delivery (attempted_at);
CREATE INDEX delivery_of_subject ON delivery (tenant_id, scope, subject) WHERE subject IS NOT NULL;
CREATE INDEX delivery_of_endpoint ON delivery (endpoint, delivery_id);
