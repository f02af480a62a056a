-- The tables of the engine. Text keys are compared by code point (COLLATE "C"), which is the canonical order of
-- events and the order in which every multi-row write is sorted. Instants are timestamptz, exact to the microsecond.
-- Rows with '' as tier or occurrence have none.

CREATE TABLE event (
    tenant_id        text COLLATE "C" NOT NULL,
    event_id         text COLLATE "C" NOT NULL,
    user_id          text COLLATE "C" NOT NULL,
    event_type       text COLLATE "C" NOT NULL,
    occurred_at      timestamptz NOT NULL,
    utc_offset       integer NOT NULL,
    occurred_at_text text COLLATE "C",
    source           text,
    payload          text,
    received_at      timestamptz NOT NULL,
    stream_seq       bigint NOT NULL,
    published_at     timestamptz,
    region           text COLLATE "C",
    CONSTRAINT event_pkey PRIMARY KEY (event_id, tenant_id),
    CONSTRAINT event_ids_bounded CHECK (
        octet_length(tenant_id) BETWEEN 1 AND 512 AND octet_length(event_id) BETWEEN 1 AND 512
        AND octet_length(user_id) BETWEEN 1 AND 512 AND octet_length(event_type) BETWEEN 1 AND 512),
    CONSTRAINT event_offset_within_a_day CHECK (utc_offset BETWEEN -86400 AND 86400)
);
COMMENT ON TABLE event IS 'The ledger: raw events, once each, never changed.';
COMMENT ON COLUMN event.utc_offset IS 'Offset written in occurred_at, seconds east of UTC.';
COMMENT ON COLUMN event.occurred_at_text IS
    'occurred_at as the producer wrote it; null where that was in UTC and to the microsecond.';
COMMENT ON COLUMN event.payload IS 'The payload as received, JSON text; null where there was none.';
COMMENT ON COLUMN event.stream_seq IS 'Sequence of the message in the input stream; 0 where it came another way.';
COMMENT ON COLUMN event.published_at IS
    'When the broker stored the message; null where it came another way, or before this was kept.';
COMMENT ON COLUMN event.region IS 'Of the producer; null where none was named. Neither is any part of earning.';

CREATE FUNCTION bin_of(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin(interval '4 minutes', at, timestamptz '0001-01-01 00:00:00Z');
COMMENT ON FUNCTION bin_of IS
    'Where the four minutes begin that an instant lies in. Statements name it beside each bound of occurred_at, for the index.';

-- A user's events in canonical order, except those of the same four minutes. Used by refolds, for the position of a
-- user's latest event, and for all users of a backfill.
CREATE INDEX event_of_user_bin ON event (tenant_id, user_id, bin_of(occurred_at));

CREATE TABLE event_subject (
    tenant_id   text COLLATE "C" NOT NULL,
    scope       text COLLATE "C" NOT NULL,
    subject     text COLLATE "C" NOT NULL,
    occurred_at timestamptz NOT NULL,
    event_id    text COLLATE "C" NOT NULL,
    CONSTRAINT event_subject_pkey PRIMARY KEY (tenant_id, scope, subject, occurred_at, event_id),
    CONSTRAINT event_subject_bounded CHECK (octet_length(subject) BETWEEN 1 AND 512)
);
COMMENT ON TABLE event_subject IS
    'Which events belong to which subject of a field scope, and to which users beside the one who did them.';
CREATE INDEX event_subject_of_event ON event_subject (tenant_id, event_id);

CREATE TABLE progress (
    tenant_id  text COLLATE "C" NOT NULL,
    scope      text COLLATE "C" NOT NULL,
    subject    text COLLATE "C" NOT NULL,
    stamp      text COLLATE "C" NOT NULL,
    mark_at    timestamptz NOT NULL,
    mark_id    text COLLATE "C" NOT NULL,
    state      text COLLATE "C" NOT NULL,
    folded     integer NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT progress_pkey PRIMARY KEY (tenant_id, scope, subject),
    CONSTRAINT progress_subject_bounded CHECK (octet_length(subject) BETWEEN 1 AND 512)
) WITH (fillfactor = 60);
COMMENT ON TABLE progress IS 'State of one subject under one plan; a cache of the fold, rebuilt from the ledger at any time.';
COMMENT ON COLUMN progress.stamp IS
    'The plan that folded it, and the epoch since which that was in force; under any other the state is void.';
COMMENT ON COLUMN progress.mark_id IS 'With mark_at the position of the last event folded.';
COMMENT ON COLUMN progress.folded IS 'Events folded since the latest checkpoint.';

CREATE TABLE checkpoint (
    tenant_id text COLLATE "C" NOT NULL,
    scope     text COLLATE "C" NOT NULL,
    subject   text COLLATE "C" NOT NULL,
    mark_at   timestamptz NOT NULL,
    mark_id   text COLLATE "C" NOT NULL,
    stamp     text COLLATE "C" NOT NULL,
    state     text COLLATE "C" NOT NULL,
    CONSTRAINT checkpoint_pkey PRIMARY KEY (tenant_id, scope, subject, mark_at, mark_id)
);
COMMENT ON TABLE checkpoint IS 'Earlier states of busy subjects: a late event is folded from the last one before it.';

CREATE TABLE unlock (
    tenant_id    text COLLATE "C" NOT NULL,
    scope        text COLLATE "C" NOT NULL,
    subject      text COLLATE "C" NOT NULL,
    achievement  text COLLATE "C" NOT NULL,
    tier         text COLLATE "C" NOT NULL DEFAULT '',
    occurrence   text COLLATE "C" NOT NULL DEFAULT '',
    unlock_id    uuid NOT NULL,
    version      integer NOT NULL,
    earned_at    timestamptz NOT NULL,
    event_id     text COLLATE "C" NOT NULL,
    settles_at   timestamptz,
    granted_at   timestamptz,
    reward       jsonb NOT NULL DEFAULT '{}',
    contested_at timestamptz,
    revoked_at   timestamptz,
    published_at timestamptz,
    by_hand      boolean NOT NULL DEFAULT false,
    revision     integer NOT NULL DEFAULT 1,
    origin       text COLLATE "C" NOT NULL DEFAULT 'live',
    change_id    bigint,
    silent       boolean NOT NULL DEFAULT false,
    CONSTRAINT unlock_pkey PRIMARY KEY (tenant_id, scope, subject, achievement, tier, occurrence),
    CONSTRAINT unlock_id_once UNIQUE (unlock_id),
    CONSTRAINT unlock_subject_bounded CHECK (octet_length(subject) BETWEEN 1 AND 512),
    CONSTRAINT unlock_version_positive CHECK (version >= 1),
    CONSTRAINT unlock_granted_or_settling CHECK (granted_at IS NOT NULL OR settles_at IS NOT NULL),
    CONSTRAINT unlock_settles_after_earning CHECK (settles_at >= earned_at),
    CONSTRAINT unlock_published_when_granted CHECK (published_at IS NULL OR granted_at IS NOT NULL),
    CONSTRAINT unlock_contested_when_granted CHECK (contested_at IS NULL OR granted_at IS NOT NULL),
    CONSTRAINT unlock_reward_is_object CHECK (jsonb_typeof(reward) = 'object'),
    CONSTRAINT unlock_by_hand_stands CHECK (NOT by_hand OR (granted_at IS NOT NULL AND contested_at IS NULL)),
    CONSTRAINT unlock_revision_positive CHECK (revision >= 1),
    CONSTRAINT unlock_origin CHECK (origin IN ('live', 'backfill', 'settled', 'replayed', 'by_hand'))
);
COMMENT ON TABLE unlock IS 'The outcome, one row per grant, and its own outbox: published_at is null until it is announced.';
COMMENT ON COLUMN unlock.unlock_id IS 'A hash of the key alone: stable over replays, the id of the announcement.';
COMMENT ON COLUMN unlock.event_id IS
    'The event that earned it; empty where it was earned at the begin of a version, at earned_at, or where an operator granted it and no event supports it.';
COMMENT ON COLUMN unlock.settles_at IS 'Where the achievement settles: not granted before this instant.';
COMMENT ON COLUMN unlock.granted_at IS 'When it was given; never moves. Null while it settles.';
COMMENT ON COLUMN unlock.contested_at IS 'Since when late evidence no longer supports it.';
COMMENT ON COLUMN unlock.by_hand IS 'Whether an operator granted it: no evidence contests it then.';
COMMENT ON COLUMN unlock.revision IS 'How often it has changed since it was granted, that included.';
COMMENT ON COLUMN unlock.origin IS 'How it came to be granted; never moves after that.';
COMMENT ON COLUMN unlock.change_id IS 'The change of rules that granted it; null where none did.';
COMMENT ON COLUMN unlock.silent IS 'Whether nothing is announced of it; published_at is its granted_at then, so that it is in no outbox.';
CREATE INDEX unlock_outbox ON unlock (granted_at)
    WHERE published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX unlock_settling ON unlock (settles_at) WHERE granted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX unlock_of_change ON unlock (change_id) WHERE change_id IS NOT NULL;

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
    change_id      bigint,
    CONSTRAINT correction_pkey PRIMARY KEY (unlock_id, revision),
    CONSTRAINT correction_behind_the_grant CHECK (revision >= 2),
    CONSTRAINT correction_kind CHECK (
        kind IN ('amended', 'contested', 'restored', 'revoked', 'granted_by_hand', 'erased')),
    CONSTRAINT correction_status CHECK (status IN ('granted', 'contested', 'revoked', 'erased'))
);
COMMENT ON TABLE correction IS 'Changes of granted unlocks that are not announced yet; a row goes once it is.';
COMMENT ON COLUMN correction.announced IS 'Whether the unlock was marked as announced when this was decided.';
COMMENT ON COLUMN correction.change_id IS 'The change of rules that it comes of; null where none does.';
CREATE INDEX correction_in_order ON correction (decided_at, unlock_id, revision);

CREATE TABLE evaluation (
    evaluation_id bigint GENERATED ALWAYS AS IDENTITY,
    decided_at    timestamptz NOT NULL,
    tenant_id     text COLLATE "C" NOT NULL,
    scope         text COLLATE "C" NOT NULL,
    subject       text COLLATE "C" NOT NULL,
    achievement   text COLLATE "C" NOT NULL,
    tier          text COLLATE "C" NOT NULL DEFAULT '',
    occurrence    text COLLATE "C" NOT NULL DEFAULT '',
    version       integer NOT NULL,
    decision      text COLLATE "C" NOT NULL,
    final         boolean NOT NULL,
    earned_at     timestamptz NOT NULL,
    event_id      text COLLATE "C" NOT NULL,
    actor         text,
    reason        text,
    change_id     bigint,
    CONSTRAINT evaluation_pkey PRIMARY KEY (evaluation_id),
    CONSTRAINT evaluation_decision CHECK (
        decision IN (
            'granted', 'settling', 'withdrawn', 'amended', 'contested', 'restored', 'revoked', 'granted_by_hand'))
);
COMMENT ON TABLE evaluation IS 'Decisions where they changed, append-only; earned_at and event_id are the evidence.';
COMMENT ON COLUMN evaluation.actor IS 'The operator who decided; null where the engine did.';
COMMENT ON COLUMN evaluation.reason IS 'Why, in the words of the operator.';
COMMENT ON COLUMN evaluation.change_id IS 'The change of rules that it comes of; null where it comes of an event, of time, or of an operator.';
CREATE INDEX evaluation_of_subject ON evaluation (tenant_id, scope, subject, achievement);
-- The feed of a tenant's unlocks, in order. There are no nulls: asking for them first makes it an order that the primary
-- key does not have, so that no plan reads all tenants' decisions in theirs to find the few of one.
CREATE INDEX evaluation_of_tenant ON evaluation (tenant_id, evaluation_id NULLS FIRST);
-- Decisions come in the order of time, nearly: this index costs nothing worth naming when they are written.
CREATE INDEX evaluation_by_time ON evaluation USING brin (decided_at);
CREATE INDEX evaluation_of_change ON evaluation (change_id, evaluation_id) WHERE change_id IS NOT NULL;

CREATE TABLE rule_set (
    epoch      bigint NOT NULL,
    sources    jsonb NOT NULL,
    hash       bytea NOT NULL,
    applied_at timestamptz NOT NULL,
    applied_by text NOT NULL,
    change_id  bigint,
    announce   text COLLATE "C",
    announce_since timestamptz,
    CONSTRAINT rule_set_pkey PRIMARY KEY (epoch),
    CONSTRAINT rule_set_epoch_positive CHECK (epoch >= 1),
    CONSTRAINT rule_set_sources_are_a_list CHECK (jsonb_typeof(sources) = 'array'),
    CONSTRAINT rule_set_announce CHECK (announce IN ('all', 'since', 'none'))
);
COMMENT ON TABLE rule_set IS 'Every set of rule files ever applied; the highest epoch is in force.';
COMMENT ON COLUMN rule_set.change_id IS 'The change that applied it; null where an earlier release did.';
COMMENT ON COLUMN rule_set.announce IS 'As in change; null stands for all.';

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

CREATE TABLE rule_version (
    achievement text COLLATE "C" NOT NULL,
    version     integer NOT NULL,
    source      text NOT NULL,
    meaning     bytea NOT NULL,
    starts_at   timestamptz,
    ends_at     timestamptz,
    epoch       bigint NOT NULL,
    applied_at  timestamptz NOT NULL,
    applied_by  text NOT NULL,
    retired_at  timestamptz,
    declarations jsonb,
    CONSTRAINT rule_version_pkey PRIMARY KEY (achievement, version),
    CONSTRAINT rule_version_positive CHECK (version >= 1),
    CONSTRAINT rule_version_meaning_length CHECK (octet_length(meaning) = 32),
    CONSTRAINT rule_version_span CHECK (ends_at > starts_at),
    CONSTRAINT rule_version_epoch FOREIGN KEY (epoch) REFERENCES rule_set
);
COMMENT ON TABLE rule_version IS 'Every version ever deployed. Its text keeps its meaning; what that depends on changes where an operator accepts it.';
COMMENT ON COLUMN rule_version.meaning IS 'SHA-256 of the achievement in canonical form, without its words.';
COMMENT ON COLUMN rule_version.declarations IS
    'What else its meaning depends on: contracts, once per, traits, achievements it names; null where an earlier release applied it.';

CREATE TABLE aggregate (
    scope       text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    types       text[] COLLATE "C" NOT NULL,
    epoch       bigint NOT NULL,
    status      text COLLATE "C" NOT NULL,
    changed_at  timestamptz NOT NULL,
    CONSTRAINT aggregate_pkey PRIMARY KEY (scope, fingerprint),
    CONSTRAINT aggregate_status CHECK (status IN ('building', 'live', 'retired')),
    CONSTRAINT aggregate_epoch FOREIGN KEY (epoch) REFERENCES rule_set
);
COMMENT ON TABLE aggregate IS 'What is folded per scope: building while a backfill runs, then live.';
CREATE UNIQUE INDEX aggregate_one_in_force ON aggregate (scope) WHERE status <> 'retired';

CREATE TABLE dead_letter (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY,
    stream         text COLLATE "C" NOT NULL,
    stream_seq     bigint NOT NULL,
    element        integer NOT NULL,
    digest         bytea NOT NULL,
    reason         text COLLATE "C" NOT NULL,
    detail         text NOT NULL,
    nats_subject   text NOT NULL,
    headers        jsonb NOT NULL,
    body           bytea NOT NULL,
    deliveries     integer NOT NULL,
    died_at        timestamptz NOT NULL,
    replayed_at    timestamptz,
    names_read     boolean NOT NULL DEFAULT false,
    replay_digest  bytea,
    died_again_as  bigint,
    erased_at      timestamptz,
    CONSTRAINT dead_letter_pkey PRIMARY KEY (dead_letter_id),
    CONSTRAINT dead_letter_once UNIQUE (stream, stream_seq, element, digest),
    CONSTRAINT dead_letter_reason_named CHECK (reason <> ''),
    CONSTRAINT dead_letter_deliveries CHECK (deliveries >= 1)
);
COMMENT ON TABLE dead_letter IS 'What could not become an event, as received, with the reason.';
COMMENT ON COLUMN dead_letter.element IS 'Place in the message where that was an array of events, from 0.';
COMMENT ON COLUMN dead_letter.digest IS 'BLAKE2b-128 of the body: a stream made anew counts its messages from 1 again.';
CREATE INDEX dead_letter_of_reason ON dead_letter (reason, died_at);
COMMENT ON COLUMN dead_letter.names_read IS 'Whether dead_letter_user says which users it names; an erasure reads it otherwise.';
COMMENT ON COLUMN dead_letter.replay_digest IS 'BLAKE2b-128 of the body that was sent again last.';
COMMENT ON COLUMN dead_letter.died_again_as IS 'The dead letter that came of it when it was sent again.';
COMMENT ON COLUMN dead_letter.erased_at IS 'When it lost its body: one of the users that it named was erased.';
CREATE INDEX dead_letter_unread ON dead_letter (dead_letter_id) WHERE NOT names_read;

CREATE TABLE dead_letter_user (
    dead_letter_id bigint NOT NULL,
    tenant_token   text COLLATE "C" NOT NULL,
    user_token     text COLLATE "C" NOT NULL,
    CONSTRAINT dead_letter_user_pkey PRIMARY KEY (dead_letter_id, tenant_token, user_token),
    CONSTRAINT dead_letter_user_letter FOREIGN KEY (dead_letter_id) REFERENCES dead_letter ON DELETE CASCADE
);
COMMENT ON TABLE dead_letter_user IS 'Which users a dead letter names, by the tokens of NATS subjects; '''' is an unknown tenant.';
CREATE INDEX dead_letter_user_of_token ON dead_letter_user (user_token, tenant_token);

CREATE TABLE partition (
    partition_id integer NOT NULL,
    generation   bigint NOT NULL DEFAULT 0,
    owner        text COLLATE "C" NOT NULL DEFAULT '',
    rules_epoch  bigint NOT NULL DEFAULT 0,
    CONSTRAINT partition_pkey PRIMARY KEY (partition_id)
) WITH (fillfactor = 10);
COMMENT ON TABLE partition IS 'The fence: whoever writes a subject holds the row of its partition, and leaves its mark there.';
COMMENT ON COLUMN partition.rules_epoch IS 'Rule set under which a batch must commit; 0 before the first.';
INSERT INTO partition (partition_id) SELECT generate_series(0, 63);

CREATE TABLE erasure (
    tenant_id    text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    erased_at    timestamptz NOT NULL,
    erased_by    text NOT NULL,
    tenant_token text COLLATE "C",
    user_token   text COLLATE "C",
    CONSTRAINT erasure_pkey PRIMARY KEY (tenant_id, user_id)
);
COMMENT ON TABLE erasure IS 'Tombstones: events of an erased user stay out, also on replay.';
COMMENT ON COLUMN erasure.user_token IS 'The token of NATS subjects that stands for the user; null in rows of older workers.';
CREATE INDEX erasure_of_token ON erasure (user_token, tenant_token);
CREATE INDEX erasure_without_token ON erasure (tenant_id, user_id) WHERE user_token IS NULL;

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

CREATE TABLE revealed (
    tenant_id   text COLLATE "C" NOT NULL,
    scope       text COLLATE "C" NOT NULL,
    subject     text COLLATE "C" NOT NULL,
    achievement text COLLATE "C" NOT NULL,
    tier        text COLLATE "C" NOT NULL DEFAULT '',
    revealed_at timestamptz NOT NULL,
    CONSTRAINT revealed_pkey PRIMARY KEY (tenant_id, scope, subject, achievement, tier),
    CONSTRAINT revealed_subject_bounded CHECK (octet_length(subject) BETWEEN 1 AND 512)
);
COMMENT ON TABLE revealed IS
    'What `reveal at N%` has shown to a subject, written by the first reader who shows it; no part of earning.';

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
COMMENT ON COLUMN minute.region IS 'Of the producer; empty where none was named, * for all regions beyond those that are counted apart.';
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
    loaded_change bigint,
    pending     bigint,
    CONSTRAINT worker_pkey PRIMARY KEY (worker_id)
);
COMMENT ON TABLE worker IS 'Workers of the last day: each writes its row every few seconds while it lives.';
COMMENT ON COLUMN worker.stopped IS 'Whether it has said goodbye; one that falls silent without has died.';
COMMENT ON COLUMN worker.loaded_change IS 'The latest change whose rules it has loaded; null where its release knows no changes.';
COMMENT ON COLUMN worker.pending IS 'Messages that wait for it and its like, as the broker said last; null where it was not asked.';

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

-- Views for people.

CREATE VIEW v_unlock AS
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

-- Without a subtransaction if the server can check the input beforehand, which parallel plans need; only PostgreSQL
-- 16 and later can.
DO $migration$
BEGIN
    IF current_setting('server_version_num')::integer >= 160000 THEN
        EXECUTE $define$
            CREATE FUNCTION json_or_null(said text) RETURNS jsonb
            LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
            BEGIN
                IF pg_input_is_valid(said, 'jsonb') THEN
                    RETURN said::jsonb;
                END IF;
                RETURN NULL;
            END
            $body$
        $define$;
    ELSE
        EXECUTE $define$
            CREATE FUNCTION json_or_null(said text) RETURNS jsonb
            LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL UNSAFE AS $body$
            BEGIN
                RETURN said::jsonb;
            EXCEPTION WHEN OTHERS THEN
                RETURN NULL;
            END
            $body$
        $define$;
    END IF;
END
$migration$;
COMMENT ON FUNCTION json_or_null IS 'JSON text as jsonb; null where jsonb has no room for it, such as for the number 1e200000.';

CREATE VIEW v_event AS
SELECT
    event.user_id,
    event.tenant_id,
    event.event_type,
    event.occurred_at AS event_time,
    event.received_at AS processing_time,
    v_unlock.scope AS rule_scope,
    v_unlock.achievement AS rule,
    v_unlock.version AS rule_version,
    v_unlock.tier AS rule_tier,
    v_unlock.occurrence AS rule_occurrence,
    v_unlock.status AS unlock_status,
    event.source,
    event.event_id AS deduplication_key,
    event.payload,
    json_or_null(event.payload) AS payload_json,
    event.published_at AS broker_time,
    event.region
FROM event
LEFT JOIN v_unlock ON v_unlock.tenant_id = event.tenant_id AND v_unlock.event_id = event.event_id;
COMMENT ON VIEW v_event IS 'For the warehouse: one row per event, and one more for each further unlock that it earned.';

-- A statement that finds things otherwise than it took them to be ends itself, with a code that nothing else has.
CREATE FUNCTION overtaken(reason text, counted bigint) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $body$
BEGIN
    RAISE EXCEPTION 'overtaken: % %', reason, counted USING ERRCODE = 'OV001', DETAIL = reason;
END
$body$;
COMMENT ON FUNCTION overtaken IS 'Ends a statement that found other rows than it took for granted, with SQLSTATE OV001 and the reason as detail.';

-- A reader may be allowed this, and nothing else. An erasure deletes the row of progress before it deletes what was
-- revealed, so the lock keeps both in order: what comes later finds no row, and writes nothing.
CREATE FUNCTION keep_revealed(
    of_tenant text, of_scope text, of_subject text, achievements text[], tiers text[], at timestamptz)
RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER AS $body$
    WITH held AS (
        SELECT tenant_id, scope, subject
        FROM progress
        WHERE tenant_id = of_tenant AND scope = of_scope AND subject = of_subject
        FOR KEY SHARE
    ), kept AS (
        INSERT INTO revealed (tenant_id, scope, subject, achievement, tier, revealed_at)
        SELECT held.tenant_id, held.scope, held.subject, shown.achievement, shown.tier, at
        FROM held, unnest(achievements, tiers) AS shown (achievement, tier)
        ORDER BY shown.achievement, shown.tier
        ON CONFLICT (tenant_id, scope, subject, achievement, tier) DO NOTHING
        RETURNING 1
    )
    SELECT count(*)::integer FROM kept
$body$;
COMMENT ON FUNCTION keep_revealed IS 'Writes down what a subject with progress has been shown; returns how much of it is new.';
REVOKE EXECUTE ON FUNCTION keep_revealed FROM PUBLIC;
-- It has the rights of its owner, so it looks nowhere but in the schema of the tables.
DO $migration$
BEGIN
    EXECUTE format('ALTER FUNCTION keep_revealed SET search_path = %I, pg_temp', current_schema());
END
$migration$;

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

-- What analysts of a tenant may read. A view reads with the rights of its owner, so they need no right on a table; the
-- tenants are those of the roles that the current role has the rights of, and no setting of a session can change that.
-- A security barrier keeps conditions of the query, which may tell what they see, behind the condition on the tenant.

CREATE TABLE tenant_role (
    role_name text COLLATE "C" NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    CONSTRAINT tenant_role_pkey PRIMARY KEY (role_name, tenant_id)
);
COMMENT ON TABLE tenant_role IS 'Which tenants a role of the database may read in the views v_tenant_*; written by the owner alone.';

CREATE VIEW v_tenant WITH (security_barrier) AS
SELECT DISTINCT tenant_role.tenant_id
FROM tenant_role
JOIN pg_roles ON pg_roles.rolname = tenant_role.role_name
WHERE pg_has_role(pg_roles.oid, 'USAGE');
COMMENT ON VIEW v_tenant IS 'The tenants that the current role may read.';

CREATE VIEW v_tenant_unlock WITH (security_barrier) AS
SELECT * FROM v_unlock WHERE tenant_id = ANY (ARRAY(SELECT tenant_id FROM v_tenant));
COMMENT ON VIEW v_tenant_unlock IS 'v_unlock, of the tenants that the current role may read.';

CREATE VIEW v_tenant_event WITH (security_barrier) AS
SELECT * FROM v_event WHERE tenant_id = ANY (ARRAY(SELECT tenant_id FROM v_tenant));
COMMENT ON VIEW v_tenant_event IS 'v_event, of the tenants that the current role may read.';

CREATE VIEW v_tenant_decision WITH (security_barrier) AS
SELECT
    tenant_id,
    scope,
    subject,
    achievement,
    nullif(tier, '') AS tier,
    nullif(occurrence, '') AS occurrence,
    version,
    decision,
    final,
    decided_at,
    earned_at,
    event_id,
    actor,
    reason
FROM evaluation
WHERE tenant_id = ANY (ARRAY(SELECT tenant_id FROM v_tenant));
COMMENT ON VIEW v_tenant_decision IS 'Decisions about unlocks, of the tenants that the current role may read.';

-- Events of long ago, packed by user.

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
