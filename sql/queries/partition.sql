-- The fence (engine: a transaction holds the partition rows of every subject that it writes).

-- name: lock_partitions
-- Always in the order of their numbers, so that two batches never wait for each other in a circle.
SELECT partition_id, generation, owner, rules_epoch
FROM partition
WHERE partition_id = ANY ($1::integer[])
ORDER BY partition_id
FOR UPDATE;

-- name: mark_partitions
-- Last statement of a batch: whoever comes next sees that somebody else was here.
UPDATE partition SET generation = generation + 1, owner = $2
WHERE partition_id = ANY ($1::integer[]);

-- name: count_partitions
SELECT count(*) FROM partition;

-- name: set_rules_epoch
-- With a new owner, so that every cached state is read again.
UPDATE partition SET rules_epoch = $1, generation = generation + 1, owner = '';

-- name: hold_all_partitions
-- Who applies rules waits for the batches under way, and lets none begin.
SELECT count(*) FROM (SELECT FROM partition ORDER BY partition_id FOR UPDATE) AS held;
