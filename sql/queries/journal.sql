-- What operators have decided: whether the database knows it, and the names that a journal has hashes of.

-- name: kept_subjects
-- In pages by key: all of a scope that something is kept about, erased users too.
SELECT tenant_id, subject
FROM (
    (
        SELECT DISTINCT tenant_id, user_id AS subject
        FROM event
        WHERE :scope = 'user' AND (tenant_id, user_id) > (:after_tenant, :after_subject)
        ORDER BY tenant_id, subject
        LIMIT :limit
    )
    UNION
    (
        SELECT DISTINCT tenant_id, tenant_id AS subject
        FROM event
        WHERE :scope = 'tenant' AND (tenant_id, tenant_id) > (:after_tenant, :after_subject)
        ORDER BY tenant_id
        LIMIT :limit
    )
    UNION
    (
        SELECT DISTINCT tenant_id, subject
        FROM event_subject
        WHERE scope = :scope AND (tenant_id, subject) > (:after_tenant, :after_subject)
        ORDER BY tenant_id, subject
        LIMIT :limit
    )
    UNION
    (
        SELECT DISTINCT tenant_id, subject
        FROM packed_member
        WHERE scope = :scope AND (tenant_id, subject) > (:after_tenant, :after_subject)
        ORDER BY tenant_id, subject
        LIMIT :limit
    )
    UNION
    (
        SELECT tenant_id, subject
        FROM progress
        WHERE scope = :scope AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
        ORDER BY tenant_id, subject
        LIMIT :limit
    )
    UNION
    (
        SELECT DISTINCT tenant_id, subject
        FROM unlock
        WHERE scope = :scope AND (tenant_id, scope, subject) > (:after_tenant, :scope, :after_subject)
        ORDER BY tenant_id, subject
        LIMIT :limit
    )
    UNION
    (
        SELECT tenant_id, user_id
        FROM erasure
        WHERE :scope = 'user' AND (tenant_id, user_id) > (:after_tenant, :after_subject)
        ORDER BY tenant_id, user_id
        LIMIT :limit
    )
    UNION
    (
        SELECT DISTINCT tenant_id, user_id
        FROM lifted_erasure
        WHERE :scope = 'user' AND (tenant_id, user_id) > (:after_tenant, :after_subject)
        ORDER BY tenant_id, user_id
        LIMIT :limit
    )
) AS found
ORDER BY tenant_id, subject
LIMIT :limit;

-- name: letter_tokens
-- In pages by key: tokens of the users that dead letters name, where the tenant is known.
SELECT DISTINCT tenant_token, user_token
FROM dead_letter_user
WHERE tenant_token <> '' AND (tenant_token, user_token) > (:after_tenant, :after_subject)
ORDER BY tenant_token, user_token
LIMIT :limit;

-- name: tombstones_of_user
-- Those that stand and those that were lifted.
SELECT erased_at, NULL::timestamptz AS lifted_at FROM erasure WHERE tenant_id = :tenant_id AND user_id = :user_id
UNION ALL
SELECT erased_at, lifted_at FROM lifted_erasure WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: decided_by_hand_at
-- What operators have decided about unlocks at an instant.
SELECT tenant_id, scope, subject, achievement, tier, occurrence
FROM evaluation
WHERE decided_at = :at AND decision IN ('revoked', 'granted_by_hand');

-- name: unlocks_not_revoked
SELECT unlock_id
FROM unlock
WHERE unlock_id > :after AND revoked_at IS NULL
ORDER BY unlock_id
LIMIT :limit;
