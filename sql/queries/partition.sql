-- The fence (engine: a transaction holds the partition rows of every subject that it writes).

-- name: take_partitions
-- Locks the partitions in the order of their numbers, so that two batches never deadlock; sets our mark, so that the
-- next worker sees the change; and returns the previous values.
UPDATE partition SET generation = found.generation + 1, owner = :owner
FROM (
    SELECT partition_id, generation, owner, rules_epoch
    FROM partition
    WHERE partition_id = ANY (:partitions::integer[])
    ORDER BY partition_id
    FOR UPDATE
) AS found
WHERE partition.partition_id = found.partition_id
RETURNING found.partition_id, found.generation, found.owner, found.rules_epoch;

-- name: rules_epoch_of_partition
-- For writers of no subject: others may raise the generation meanwhile, but rules cannot be applied.
SELECT rules_epoch FROM partition WHERE partition_id = :partition FOR KEY SHARE;

-- name: generations
-- The same at two moments where no transaction has written a subject between them.
SELECT sum(generation)::bigint FROM partition;

-- name: count_partitions
SELECT count(*) FROM partition;

-- name: set_rules_epoch
-- With a new owner, so that workers reload every cached state.
UPDATE partition SET rules_epoch = :epoch, generation = generation + 1, owner = '';

-- name: hold_all_partitions
-- An apply waits for the running batches, and prevents new ones.
SELECT count(*) FROM (SELECT FROM partition ORDER BY partition_id FOR UPDATE) AS held;
