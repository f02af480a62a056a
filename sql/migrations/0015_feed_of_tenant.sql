-- The feed of a tenant's unlocks reads its own decisions alone, in their order, however many others have.
-- There are no nulls: asking for them first makes it an order that the primary key does not have, so that no plan reads
-- all tenants' decisions in theirs to find the few of one.
CREATE INDEX evaluation_of_tenant ON evaluation (tenant_id, evaluation_id NULLS FIRST);
