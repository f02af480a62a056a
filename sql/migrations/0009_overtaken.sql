-- A statement that finds things otherwise than it took them to be ends itself, with a code that nothing else has.

CREATE FUNCTION overtaken(reason text, counted bigint) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $body$
BEGIN
    RAISE EXCEPTION 'overtaken: % %', reason, counted USING ERRCODE = 'OV001', DETAIL = reason;
END
$body$;
COMMENT ON FUNCTION overtaken IS 'Ends a statement that found other rows than it took for granted, with SQLSTATE OV001 and the reason as detail.';
