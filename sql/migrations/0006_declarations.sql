-- What a version's meaning depends on besides its own text. Rows that are there keep null: the next apply works it out
-- from the files in rule_set.
ALTER TABLE rule_version ADD COLUMN declarations jsonb;
COMMENT ON TABLE rule_version IS 'Every version ever deployed. Its text keeps its meaning; what that depends on changes where an operator accepts it.';
COMMENT ON COLUMN rule_version.declarations IS
    'What else its meaning depends on: contracts, once per, traits, achievements it names; null where an earlier release applied it.';
