-- What becomes of a granted unlock later is announced, too: each change is a revision, and waits in an outbox of its own.

ALTER TABLE unlock
    ADD COLUMN revision integer NOT NULL DEFAULT 1,
    ADD COLUMN origin text COLLATE "C" NOT NULL DEFAULT 'live',
    ADD CONSTRAINT unlock_revision_positive CHECK (revision >= 1),
    ADD CONSTRAINT unlock_origin CHECK (origin IN ('live', 'backfill', 'settled', 'replayed', 'by_hand'));
COMMENT ON COLUMN unlock.revision IS 'How often it has changed since it was granted, that included.';
COMMENT ON COLUMN unlock.origin IS 'How it came to be granted; never moves after that.';
UPDATE unlock SET origin = 'by_hand' WHERE by_hand;

CREATE TABLE correction (
    unlock_id      uuid NOT NULL,
    revision       integer NOT NULL,
    kind           text COLLATE "C" NOT NULL,
    tenant_id      text COLLATE "C" NOT NULL,
    scope          text COLLATE "C" NOT NULL,
    subject        text COLLATE "C" NOT NULL,
    achievement    text COLLATE "C" NOT NULL,
    tier           text COLLATE "C" NOT NULL,
    occurrence     text COLLATE "C" NOT NULL,
    origin         text COLLATE "C" NOT NULL,
    granted_at     timestamptz NOT NULL,
    reward         jsonb NOT NULL,
    status_before  text COLLATE "C" NOT NULL,
    status         text COLLATE "C" NOT NULL,
    version_before integer NOT NULL,
    version        integer NOT NULL,
    earned_before  timestamptz NOT NULL,
    earned_at      timestamptz NOT NULL,
    event_before   text COLLATE "C" NOT NULL,
    event_id       text COLLATE "C" NOT NULL,
    by_hand_before boolean NOT NULL,
    by_hand        boolean NOT NULL,
    announced      boolean NOT NULL,
    actor          text,
    reason         text,
    decided_at     timestamptz NOT NULL,
    CONSTRAINT correction_pkey PRIMARY KEY (unlock_id, revision),
    CONSTRAINT correction_behind_the_grant CHECK (revision >= 2),
    CONSTRAINT correction_kind CHECK (
        kind IN ('amended', 'contested', 'restored', 'revoked', 'granted_by_hand', 'erased')),
    CONSTRAINT correction_status CHECK (status IN ('granted', 'contested', 'revoked', 'erased'))
);
COMMENT ON TABLE correction IS 'Changes of granted unlocks that are not announced yet; a row goes once it is.';
COMMENT ON COLUMN correction.announced IS 'Whether the unlock was marked as announced when this was decided.';
CREATE INDEX correction_in_order ON correction (decided_at, unlock_id, revision);
