-- compatible_from: 21
-- The begin of a version is a moment: what is earned at it has no event. No older release may run beside: it would
-- contest such unlocks.

ALTER TABLE unlock
    DROP CONSTRAINT unlock_by_hand_stands,
    ADD CONSTRAINT unlock_by_hand_stands CHECK (NOT by_hand OR (granted_at IS NOT NULL AND contested_at IS NULL));
COMMENT ON COLUMN unlock.event_id IS
    'The event that earned it; empty where it was earned at the begin of a version, at earned_at, or where an operator granted it and no event supports it.';

CREATE TABLE moment (
    at         timestamptz NOT NULL,
    looks      integer NOT NULL DEFAULT 0,
    builder    text NOT NULL DEFAULT '',
    beat_at    timestamptz NOT NULL,
    scope      text COLLATE "C" NOT NULL DEFAULT '',
    tenant_id  text COLLATE "C" NOT NULL DEFAULT '',
    subject    text COLLATE "C" NOT NULL DEFAULT '',
    subjects   bigint NOT NULL DEFAULT 0,
    ended_at   timestamptz,
    CONSTRAINT moment_pkey PRIMARY KEY (at),
    CONSTRAINT moment_looks CHECK (looks BETWEEN 0 AND 2)
);
COMMENT ON TABLE moment IS 'When versions of rules began: whether all subjects were judged then, which workers do once the clock is there.';
COMMENT ON COLUMN moment.looks IS 'How often all subjects were looked at: a second time, for what workers with a slow clock did meanwhile.';
COMMENT ON COLUMN moment.builder IS 'The process that looks at them.';
COMMENT ON COLUMN moment.beat_at IS 'When that process last wrote here, by the clock of the database: after a while, any worker takes over.';
COMMENT ON COLUMN moment.scope IS 'With tenant_id and subject the last subject that was looked at.';
COMMENT ON COLUMN moment.subjects IS 'Subjects that have earned something then.';
-- What began before this is judged when subjects are brought up to date with this release.
INSERT INTO moment (at, looks, beat_at, ended_at)
SELECT DISTINCT starts_at, 2, now(), now() FROM rule_version WHERE starts_at <= now();
