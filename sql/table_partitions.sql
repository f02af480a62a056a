-- Puts tables divided by hash in the place of the big tables, which are empty and locked. All that belongs to a table
-- is read from the catalogue, so this does the same after any migration. Names stay, so that later ones find them.
DO $ach$
DECLARE
    tables constant text[] := ARRAY[{tables}];
    keys constant text[] := ARRAY[{keys}];
    views text[] := '{}';
    indexes text[] := '{}';
    links text[] := '{}';
    rights text[] := '{}';
    statements text[] := '{}';
    statement text;
    one record;
BEGIN
    FOR one IN
        SELECT relname, conname, pg_get_constraintdef(pg_constraint.oid) AS definition
        FROM pg_constraint
        JOIN pg_class ON pg_class.oid = conrelid
        WHERE contype = 'f' AND (conrelid = ANY (tables::regclass[]) OR confrelid = ANY (tables::regclass[]))
        ORDER BY relname, conname
    LOOP
        statements := statements || format('ALTER TABLE %I DROP CONSTRAINT %I', one.relname, one.conname);
        links := links || format('ALTER TABLE %I ADD CONSTRAINT %I %s', one.relname, one.conname, one.definition);
    END LOOP;

    indexes := ARRAY(
        SELECT
            CASE WHEN pg_constraint.oid IS NULL
                THEN pg_get_indexdef(indexrelid)
                ELSE format(
                    'ALTER TABLE %I ADD CONSTRAINT %I %s', relname, conname, pg_get_constraintdef(pg_constraint.oid))
            END
        FROM pg_index
        JOIN pg_class ON pg_class.oid = indrelid
        LEFT JOIN pg_constraint ON conindid = indexrelid AND contype IN ('p', 'u')
        WHERE indrelid = ANY (tables::regclass[])
        ORDER BY indexrelid);

    -- Replaced and not made anew, they keep their rights, and the views on top of them.
    views := ARRAY(
        SELECT DISTINCT format(
            'CREATE OR REPLACE VIEW %I %s AS %s', relname, 'WITH (' || array_to_string(reloptions, ', ') || ')',
            pg_get_viewdef(pg_class.oid))
        FROM pg_depend
        JOIN pg_rewrite ON pg_rewrite.oid = objid
        JOIN pg_class ON pg_class.oid = ev_class
        WHERE classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass
            AND refobjid = ANY (tables::regclass[]) AND relkind = 'v');

    FOR one IN
        SELECT
            name, key, name || '_before' AS before, relacl, relowner, pg_get_userbyid(relowner) AS owner,
            obj_description(pg_class.oid, 'pg_class') AS said,
            'WITH (' || array_to_string(reloptions, ', ') || ')' AS options
        FROM unnest(tables, keys) WITH ORDINALITY AS asked (name, key, n)
        JOIN pg_class ON pg_class.oid = name::regclass
        ORDER BY n
    LOOP
        statements := statements || ARRAY[
            format('ALTER TABLE %I RENAME TO %I', one.name, one.before),
            format(
                'CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS INCLUDING STORAGE)'
                ' PARTITION BY HASH (%s)', one.name, one.before, one.key),
            format('COMMENT ON TABLE %I IS %L', one.name, one.said),
            format('ALTER TABLE %I OWNER TO %I', one.name, one.owner)];
        FOR remainder IN 0 .. {number} - 1 LOOP
            statements := statements || ARRAY[
                format(
                    'CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS %s, REMAINDER %s) %s',
                    one.name || '_p' || remainder, one.name, {number}, remainder, one.options),
                format('ALTER TABLE %I OWNER TO %I', one.name || '_p' || remainder, one.owner)];
        END LOOP;
        rights := rights || ARRAY(
            SELECT format(
                'GRANT %s ON %I TO %s', privilege_type, one.name,
                CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
            FROM aclexplode(one.relacl)
            WHERE grantee <> one.relowner
            ORDER BY grantee, privilege_type);
    END LOOP;

    -- The names of indexes are free once the tables before are gone, and these once no view reads them.
    statements := statements || views
        || (SELECT 'DROP TABLE ' || string_agg(quote_ident(name || '_before'), ', ') FROM unnest(tables) AS name)
        || indexes || links || rights;
    FOREACH statement IN ARRAY statements LOOP
        EXECUTE statement;
    END LOOP;
END
$ach$;
