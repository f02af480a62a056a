-- Deployed rules.

-- part: rule_set_columns
SELECT epoch, sources::text AS sources, hash, applied_at, applied_by, change_id, announce, announce_since
FROM rule_set

-- name: rules_in_force
-- use rule_set_columns
ORDER BY epoch DESC
LIMIT 1;

-- name: epoch_in_force
SELECT max(epoch) FROM rule_set;

-- name: insert_rule_set
INSERT INTO rule_set (epoch, sources, hash, applied_at, applied_by, change_id, announce, announce_since)
VALUES (
    :epoch, :sources::text::jsonb, :digest, :now, :by, :change_id, :announce, :announce_since);

-- name: rule_set_before
-- The last one that was applied before an instant.
-- use rule_set_columns
WHERE applied_at < :at
ORDER BY epoch DESC
LIMIT 1;

-- name: rule_sets_of_epochs
-- use rule_set_columns
WHERE epoch = ANY (:epochs::bigint[])
ORDER BY epoch;

-- name: rule_versions
SELECT
    achievement, version, source, meaning, starts_at, ends_at, epoch, applied_at, applied_by, retired_at,
    declarations::text AS declarations
FROM rule_version
ORDER BY achievement, version;

-- name: renamed_achievements
-- What achievements are called that have other names than their first ones, as the latest of their versions says: the
-- name now, or the last one where no rule has it any more, and those between.
SELECT achievement, names
FROM (
    SELECT DISTINCT ON (achievement) achievement, (declarations -> 'names')::text AS names
    FROM rule_version
    ORDER BY achievement, retired_at DESC NULLS FIRST, version DESC) AS latest
WHERE names IS NOT NULL
ORDER BY achievement;

-- name: know_arrays
-- The client asks the server about a type of arrays when it first meets it, which takes as long as all else of a switch.
SELECT :texts::text[], :numbers::integer[], :digests::bytea[], :instants::timestamptz[];

-- name: upsert_rule_versions
-- Words and the end of the span may change with the file. The meaning may not; `apply` checks this before. The
-- declarations that it depends on are unchanged or accepted.
INSERT INTO rule_version (
    achievement, version, source, meaning, starts_at, ends_at, declarations, epoch, applied_at, applied_by)
SELECT achievement, version, source, meaning, starts_at, ends_at, declarations::jsonb, :epoch, :now, :by
FROM unnest(
    :versions.achievement::text[], :versions.version::integer[], :versions.source::text[],
    :versions.meaning::bytea[], :versions.starts_at::timestamptz[], :versions.ends_at::timestamptz[],
    :versions.declarations::text[])
    AS rows (achievement, version, source, meaning, starts_at, ends_at, declarations)
ON CONFLICT (achievement, version) DO UPDATE SET
    source = excluded.source,
    meaning = excluded.meaning,
    ends_at = excluded.ends_at,
    declarations = excluded.declarations,
    retired_at = NULL;

-- name: retire_rule_versions
-- Versions that are no longer in a file; the rows stay, like their unlocks.
UPDATE rule_version SET retired_at = :now
WHERE retired_at IS NULL
    AND NOT EXISTS (
        SELECT FROM unnest(
            :versions.achievement::text[], :versions.version::integer[]) AS kept (achievement, version)
        WHERE kept.achievement = rule_version.achievement AND kept.version = rule_version.version);

-- name: retire_aggregates
-- One that was never live is deleted: by a retired one, all subjects were up to date at some time.
WITH unfinished AS (
    DELETE FROM aggregate
    WHERE status = 'building'
        AND NOT EXISTS (
            SELECT FROM unnest(:scopes::text[], :fingerprints::text[]) AS kept (scope, fingerprint)
            WHERE kept.scope = aggregate.scope AND kept.fingerprint = aggregate.fingerprint)
)
UPDATE aggregate SET status = 'retired', changed_at = :now
WHERE status = 'live'
    AND NOT EXISTS (
        SELECT FROM unnest(:scopes::text[], :fingerprints::text[]) AS kept (scope, fingerprint)
        WHERE kept.scope = aggregate.scope AND kept.fingerprint = aggregate.fingerprint);

-- name: build_aggregates
-- An aggregate in force stays unchanged; a retired one that comes back is built again.
INSERT INTO aggregate (scope, fingerprint, types, epoch, status, changed_at)
VALUES (:scope, :fingerprint, :types::text[], :epoch, 'building', :now)
ON CONFLICT (scope, fingerprint) DO UPDATE SET status = 'building', epoch = excluded.epoch, changed_at = excluded.changed_at
WHERE aggregate.status = 'retired';

-- name: forget_retired_aggregate
-- Deletes the row that `adopt_aggregate` replaces.
DELETE FROM aggregate WHERE scope = :scope AND fingerprint = :fingerprint AND status = 'retired';

-- name: adopt_aggregate
-- Gives the same plan the fingerprint of this release; the time when it came into force stays.
UPDATE aggregate SET fingerprint = :fingerprint, types = :types::text[], status = 'building', changed_at = :now
WHERE scope = :scope AND fingerprint <> :fingerprint AND status <> 'retired';

-- name: aggregate_is_live
UPDATE aggregate SET status = 'live', changed_at = :now
WHERE scope = :scope AND fingerprint = :fingerprint AND status = 'building';

-- name: something_is_building
SELECT EXISTS (SELECT FROM aggregate WHERE status = 'building');

-- name: aggregates
SELECT scope, fingerprint, types, epoch, status, changed_at FROM aggregate ORDER BY scope, changed_at;
