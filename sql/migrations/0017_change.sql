-- compatible_from: 16
-- A change of rules: who applied what and why, how far it is built, and what is announced of what it grants.

CREATE TABLE change (
    change_id      bigint GENERATED ALWAYS AS IDENTITY,
    state          text COLLATE "C" NOT NULL,
    epoch          bigint,
    epoch_before   bigint NOT NULL,
    plan           text COLLATE "C",
    hash           bytea NOT NULL,
    sources        text,
    begun_at       timestamptz NOT NULL,
    applied_at     timestamptz,
    applied_by     text NOT NULL,
    message        text NOT NULL,
    announce       text COLLATE "C" NOT NULL,
    announce_since timestamptz,
    rate           integer,
    max_lag        integer,
    builder        text NOT NULL,
    beat_at        timestamptz NOT NULL,
    cursor         jsonb,
    expected       bigint,
    looked_at      bigint NOT NULL DEFAULT 0,
    subjects       bigint NOT NULL DEFAULT 0,
    events         bigint NOT NULL DEFAULT 0,
    built_ms       bigint NOT NULL DEFAULT 0,
    waits_for      text COLLATE "C" NOT NULL DEFAULT '',
    ended_at       timestamptz,
    ended_by       text,
    CONSTRAINT change_pkey PRIMARY KEY (change_id),
    CONSTRAINT change_epoch FOREIGN KEY (epoch) REFERENCES rule_set,
    CONSTRAINT change_state CHECK (
        state IN ('pending', 'building', 'paused', 'done', 'cancelled', 'superseded', 'rolled_back')),
    CONSTRAINT change_in_force_has_an_epoch CHECK ((epoch IS NULL) = (applied_at IS NULL)),
    CONSTRAINT change_hash_length CHECK (octet_length(hash) = 32),
    CONSTRAINT change_announce CHECK (announce IN ('all', 'since', 'none')),
    CONSTRAINT change_since CHECK ((announce = 'since') = (announce_since IS NOT NULL)),
    CONSTRAINT change_rate_positive CHECK (rate >= 1),
    CONSTRAINT change_lag_not_negative CHECK (max_lag >= 0)
);
COMMENT ON TABLE change IS 'Every change of rules: pending until it is in force, building until all subjects are up to date.';
COMMENT ON COLUMN change.plan IS 'Hash of the plan that it was applied from; null where it was applied from rule files.';
COMMENT ON COLUMN change.hash IS 'That of its rule files, as in rule_set.';
COMMENT ON COLUMN change.sources IS 'Its rule files while it is pending, for workers to load; rule_set has them after that.';
COMMENT ON COLUMN change.announce IS 'What is announced of what it grants: all, what was earned since announce_since, or none.';
COMMENT ON COLUMN change.rate IS 'Events that its build reads a second, at most; null for no limit.';
COMMENT ON COLUMN change.max_lag IS 'Messages that wait for workers, beyond which its build waits; null for no limit.';
COMMENT ON COLUMN change.builder IS 'The process that applies or builds it.';
COMMENT ON COLUMN change.beat_at IS 'When that process last wrote here, by the clock of the database: after a while, any worker takes over.';
COMMENT ON COLUMN change.cursor IS 'Where its build goes on.';
COMMENT ON COLUMN change.expected IS 'Subjects to look at, as counted or estimated when the build began.';
COMMENT ON COLUMN change.looked_at IS 'Subjects that its build has looked at.';
COMMENT ON COLUMN change.subjects IS 'Subjects that its build has brought up to date; workers bring those up to date that events touch.';
COMMENT ON COLUMN change.events IS 'Events that its build has read.';
COMMENT ON COLUMN change.built_ms IS 'Time that its build has taken, in milliseconds.';
COMMENT ON COLUMN change.waits_for IS 'Why the build rests at the moment; empty where it does not.';
-- One change comes into force at a time, and one is built at a time.
CREATE UNIQUE INDEX change_one_pending ON change ((true)) WHERE state = 'pending';
CREATE UNIQUE INDEX change_one_building ON change ((true)) WHERE state IN ('building', 'paused');
CREATE INDEX change_of_epoch ON change (epoch);

ALTER TABLE rule_set
    ADD COLUMN change_id bigint,
    ADD COLUMN announce text COLLATE "C",
    ADD COLUMN announce_since timestamptz,
    ADD CONSTRAINT rule_set_announce CHECK (announce IN ('all', 'since', 'none'));
COMMENT ON COLUMN rule_set.change_id IS 'The change that applied it; null where an earlier release did.';
COMMENT ON COLUMN rule_set.announce IS 'As in change; null stands for all.';

ALTER TABLE evaluation ADD COLUMN change_id bigint;
COMMENT ON COLUMN evaluation.change_id IS 'The change of rules that it comes of; null where it comes of an event, of time, or of an operator.';
CREATE INDEX evaluation_of_change ON evaluation (change_id, evaluation_id) WHERE change_id IS NOT NULL;

ALTER TABLE unlock
    ADD COLUMN change_id bigint,
    ADD COLUMN silent boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN unlock.change_id IS 'The change of rules that granted it; null where none did.';
COMMENT ON COLUMN unlock.silent IS 'Whether nothing is announced of it; published_at is its granted_at then, so that it is in no outbox.';
CREATE INDEX unlock_of_change ON unlock (change_id) WHERE change_id IS NOT NULL;

ALTER TABLE correction ADD COLUMN change_id bigint;
COMMENT ON COLUMN correction.change_id IS 'The change of rules that it comes of; null where none does.';

ALTER TABLE worker
    ADD COLUMN loaded_change bigint,
    ADD COLUMN pending bigint;
COMMENT ON COLUMN worker.loaded_change IS 'The latest change whose rules it has loaded; null where its release knows no changes.';
COMMENT ON COLUMN worker.pending IS 'Messages that wait for it and its like, as the broker said last; null where it was not asked.';

CREATE OR REPLACE VIEW v_unlock AS
SELECT
    unlock_id,
    tenant_id,
    scope,
    subject,
    CASE WHEN scope = 'user' THEN subject END AS user_id,
    achievement,
    nullif(tier, '') AS tier,
    nullif(occurrence, '') AS occurrence,
    version,
    CASE
        WHEN revoked_at IS NOT NULL THEN 'revoked'
        WHEN contested_at IS NOT NULL THEN 'contested'
        WHEN granted_at IS NULL THEN 'settling'
        WHEN silent THEN 'silent'
        WHEN published_at IS NULL THEN 'granted'
        ELSE 'announced'
    END AS status,
    earned_at,
    event_id,
    settles_at,
    granted_at,
    CASE WHEN NOT silent THEN published_at END AS published_at,
    contested_at,
    revoked_at,
    reward,
    by_hand
FROM unlock;
COMMENT ON VIEW v_unlock IS 'Every unlock with its status: settling, granted, silent, announced, contested or revoked.';
