-- A batch of which everything is known beforehand.

-- name: commit_express
-- All of it in one statement, and a transaction by itself: the partitions are as we left them, the events are new, the
-- unlocks are first ones. Where one of that is not so, nothing happens at all. An event that was there is a violation of
-- its key: to be ready for one (ON CONFLICT) takes a quarter of what inserting does. Of the rest a text that cannot be read
-- as a number ends the statement, and says what it was. CASE asks in this order, which also locks the partitions before
-- anything is written; what nobody asks for is done last.
WITH held AS (
    UPDATE partition SET generation = generation + 1
    WHERE partition_id = ANY ($1::integer[]) AND generation = ($2::bigint[])[array_position($1, partition_id)]
        AND owner = $3 AND rules_epoch = $4::bigint
    RETURNING 1
), recorded AS (
    -- use insert_new_events from $5
), saved AS (
    -- use upsert_progress from $9
), pruned AS (
    -- use prune_checkpoints from $27
), kept AS (
    -- use insert_checkpoints from $20
), new AS (
    -- use insert_unlocks from $32
), decided AS (
    -- use insert_decisions from $46
), amended AS (
    -- use amend_unlocks from $53
    RETURNING 1
), noted AS (
    -- use insert_evaluations from $59
), forgotten AS (
    -- use forget_checkpoints from $48
)
SELECT CASE
    WHEN (SELECT count(*) FROM held) < cardinality($1::integer[])
        THEN ('overtaken: partitions ' || (SELECT count(*) FROM held))::integer
    WHEN (SELECT count(*) FROM new) < cardinality($38::uuid[])
        THEN ('overtaken: unlocks ' || (SELECT count(*) FROM new))::integer
    WHEN (SELECT count(*) FROM amended) < cardinality($53::uuid[])
        THEN ('overtaken: amended ' || (SELECT count(*) FROM amended))::integer
    ELSE 0
END;
