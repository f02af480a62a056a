-- A statement that finds things otherwise than it took them to be ends itself, with a code that nothing else has.

CREATE FUNCTION overtaken(what text, counted bigint) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $body$
BEGIN
    RAISE EXCEPTION 'overtaken: % %', what, counted USING ERRCODE = 'OV001';
END
$body$;
COMMENT ON FUNCTION overtaken IS 'Ends a statement that found other rows than it took for granted, with SQLSTATE OV001.';
