-- The fence (engine: a transaction holds the partition rows of every subject that it writes).

-- name: take_partitions
-- Locks them, always in the order of their numbers, so that two batches never wait for each other in a circle; leaves a
-- mark, so that whoever comes next sees that somebody else was here; and returns what was found.
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
-- For who writes no subject: others may raise the generation meanwhile, and rules may not be applied.
SELECT rules_epoch FROM partition WHERE partition_id = :partition FOR KEY SHARE;

-- name: count_partitions
SELECT count(*) FROM partition;

-- name: set_rules_epoch
-- With a new owner, so that every cached state is read again.
UPDATE partition SET rules_epoch = :epoch, generation = generation + 1, owner = '';

-- name: hold_all_partitions
-- Who applies rules waits for the batches under way, and lets none begin.
SELECT count(*) FROM (SELECT FROM partition ORDER BY partition_id FOR UPDATE) AS held;
