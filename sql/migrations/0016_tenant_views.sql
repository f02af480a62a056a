-- compatible_from: 15
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
