"""Planted bugs: fences, commits and acknowledgements."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

PIPELINE: Final = "integration/test_pipeline.py"
RULES: Final = "integration/test_rules.py"
PROTOCOL: Final = "faults/test_protocol.py"

BUGS: Final[tuple[Bug, ...]] = (
    # -- fences and locks --
    Bug(
        "no_fence",
        "a batch locks the partitions of all its subjects",
        at="sql:take_partitions",
        old="""
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
            """,
        new="""
            SELECT partition_id, generation, owner, rules_epoch
            FROM partition
            WHERE partition_id = ANY (:partitions::integer[]) AND :owner::text IS NOT NULL;
            """,
        tests=(f"{PROTOCOL}::test_a_batch_waits_for_the_partitions_of_all_its_subjects",),
    ),
    Bug(
        "fence_of_users_alone",
        "a batch holds the partitions of teams and tenants too",
        at="take_partitions",
        old="wanted = {partition_of(*subject) for subject in batch.subjects}",
        new="wanted = {partition_of(*group.audience.user) for group in batch.groups}",
        tests=(f"{PROTOCOL}::test_a_batch_waits_for_the_partitions_of_all_its_subjects",),
    ),
    Bug(
        "backfill_without_fence",
        "a backfill holds the partition of its piece",
        at="piece:hold",
        old="hold_partitions(session, sorted(partitions), epoch=work.rules.epoch)",
        new="hold_partitions(session, [], epoch=work.rules.epoch)",
        tests=(f"{PROTOCOL}::test_a_backfill_waits_for_the_partition",),
    ),
    Bug(
        "locks_out_of_order",
        "partitions are locked in order",
        at="sql:take_partitions",
        old="ORDER BY partition_id",
        new="ORDER BY random()",
        tests=(f"{PROTOCOL}::test_partitions_are_locked_in_order",),
    ),
    Bug(
        "events_written_as_they_come",
        "multi-row writes are sorted by key",
        at="pack_events",
        old="_packed(sorted(rows), items)",
        new="_packed(list(rows), items)",
        tests=(f"{PROTOCOL}::test_rows_are_written_in_the_order_of_their_keys",),
    ),
    Bug(
        "unlocks_written_as_they_come",
        "multi-row writes are sorted by key",
        at="decide:_new_unlocks",
        old="for subject, grant in sorted(earned, key=_key_of):",
        new="for subject, grant in earned:",
        tests=(f"{PROTOCOL}::test_rows_are_written_in_the_order_of_their_keys",),
    ),
    Bug(
        "progress_written_as_it_comes",
        "multi-row writes are sorted by key",
        at="progress_columns",
        old="in sorted(progress.items(), key=itemgetter(0))",
        new="in progress.items()",
        tests=(f"{PROTOCOL}::test_rows_are_written_in_the_order_of_their_keys",),
    ),
    Bug(
        "cache_kept_after_the_fence_moved",
        "what is remembered is valid while the generation is one's own",
        at="StateCache.locked",
        old="known.left != generation or owner != self.owner",
        new="known.left is None",
        tests=("worker/engine/test_state_cache.py",),
    ),
    Bug(
        "cache_kept_after_a_failed_batch",
        "a failed batch makes void what it has moved in memory",
        at="StateCache.failed",
        old="self._release(hold)",
        new="""
            for number, partition in self._release(hold):
                partition.left = hold.generations[number]
            """,
        tests=(f"{PROTOCOL}::test_what_is_refused_after_judging_leaves_nothing_behind",),
    ),
    Bug(
        "rules_epoch_not_checked",
        "no batch is committed under rules that are no longer in force",
        at="take_partitions",
        old="if any(row.rules_epoch != batch.rules.epoch for row in held):",
        new="if any(row.rules_epoch < batch.rules.epoch for row in held):",
        tests=(f"{RULES}::test_new_rules_while_a_worker_runs",),
    ),
    Bug(
        "stamp_without_epoch",
        "a plan that comes back knows that it was away",
        at="Deployed.__init__",
        old='scope: f"{plan.fingerprint}@{since.get(scope, epoch)}"',
        new='scope: f"{plan.fingerprint}@{0 * since.get(scope, epoch)}"',
        tests=(f"{RULES}::test_a_plan_that_comes_back_has_missed_nothing",),
    ),
    Bug(
        "partition_by_a_salted_hash",
        "all workers agree on the partition of a subject",
        at="partition_of",
        old=r'return crc32(f"{tenant}\0{scope}\0{subject}".encode()) % partitions',
        new=r'return hash(f"{tenant}\0{scope}\0{subject}".encode()) % partitions',
        tests=("worker/contract/test_partition.py",),
    ),
    # -- commits and acknowledgements --
    Bug(
        "ack_before_commit",
        "nothing is acknowledged that is not committed",
        at="Worker._commit_one",
        old="""
            self._busy_since[writer] = monotonic()
            try:
            """,
        new="""
            await self._broker.ack(whole.batch.messages)
            try:
            """,
        tests=(f"{PROTOCOL}::test_nothing_is_acknowledged_before_it_is_committed",),
    ),
    Bug(
        "ack_after_the_first_piece",
        "a batch is acknowledged once every writer has committed its piece",
        at="Worker._commit_one",
        old="""
            if whole.missing:
                return
            """,
        new="",
        tests=(f"{PROTOCOL}::test_a_batch_is_acknowledged_when_every_piece_is_committed",),
    ),
    Bug(
        "heartbeat_taken_for_a_message",
        "the broker's answer to a request is read as such",
        at="read_frames",
        old='reply = words[3] if len(words) == _REPLIED[words[0]] else ""',
        new='reply = words[3] if len(words) > 4 else ""',
        tests=("worker/broker/test_private.py",),
    ),
    Bug(
        "two_batches_in_one",
        "a batch is no larger than it may be",
        at="Intake._next",
        old="BATCH_BYTES - (0 if self._open is None else self._open.held.bytes)",
        new="BATCH_BYTES",
        tests=("integration/test_intake.py",),
    ),
    Bug(
        "frames_of_any_subscription",
        "what another subscription gets is not taken for a message",
        at="_are_plain",
        old="and words[2::_WORDS].count(sid) == number",
        new="",
        tests=("worker/broker/test_private.py",),
    ),
    Bug(
        "a_line_within_a_body_taken_for_its_end",
        "messages of any content reach the engine as they were published",
        at="_are_plain",
        old="and words[4::_WORDS] == [*map(str, map(len, bodies))]",
        new="",
        tests=("worker/broker/test_private.py",),
    ),
    Bug(
        "others_frames_cut_off",
        "what another subscription gets is not lost among messages",
        at="FastParser.parse",
        old="await super().parse()",
        new="",
        tests=("worker/broker/test_private.py",),
    ),
    Bug(
        "deliveries_of_longer_replies_read_as_short_ones",
        "a message is identified by its place in the stream",
        at="parse_deliveries",
        old="""
            len(tokens) != number * SHORT
            or
            """,
        new="",
        tests=("worker/engine/test_batch.py",),
    ),
    Bug(
        "mark_within_a_value",
        "values of any content reach the ledger unchanged",
        at="packing:_join",
        old="if text.count(separator) != len(column) or text.count(null) != nulls:",
        new="if text.count(null) < nulls:",
        tests=("worker/contract/test_packing.py",),
    ),
    Bug(
        "partitions_of_our_own",
        "the broker's partitions are those that the ledger locks",
        at="partition_of",
        old="_fnv1a(token(tenant) + token(subject))",
        new="_fnv1a(tenant + subject)",
        tests=("integration/test_partitions.py",),
    ),
    Bug(
        "retry_of_half_a_batch",
        "a failed batch is tried again as a whole",
        at="Pipeline._commit",
        old="await self._wait(error, delay, waiting)",
        new="""
            await self._wait(error, delay, waiting)
            batch = next(batch.pieces(max(1, batch.size // 2)))
            """,
        tests=(f"{PROTOCOL}::test_what_failed_is_tried_again_as_a_whole",),
    ),
    Bug(
        "a_failed_commit_taken_for_done",
        "a commit of unknown outcome is tried again",
        at="Pipeline._commit",
        old="""
            await self._wait(error, delay, waiting)
            continue
            """,
        new="""
            await self._wait(error, delay, waiting)
            return [*batch.letters]
            """,
        tests=(f"{PROTOCOL}::test_what_failed_is_tried_again_as_a_whole",),
    ),
    Bug(
        "nak_lost",
        "what a stopped worker has not committed is given back at once",
        at="Broker.release",
        old='await self._send(message.reply, b"-NAK")',
        new='await self._send(message.reply, b"+WPI")',
        tests=(f"{PROTOCOL}::test_nothing_is_acknowledged_before_it_is_committed",),
    ),
    Bug(
        "poison_for_ever",
        "a poison message is ended, and never delivered again",
        at="Worker._acknowledge",
        old="await self._broker.terminate(message, ended[message.seq].value)",
        new="await self._broker.keep([message])",
        tests=(f"{PIPELINE}::test_poison_never_blocks_its_batch",),
    ),
    Bug(
        "dead_letter_outside_of_the_transaction",
        "dead letters are buried with their batch, or not at all",
        at="Pipeline._attempt",
        old="async with self._store.transaction() as session:",
        new="""
            from worker.pipeline.dead_letters import bury
            async with self._store.transaction() as other:
                await bury(other, self._settings, batch.letters, frozenset(), now=batch.now)
            async with self._store.transaction() as session:
            """,
        tests=(f"{PROTOCOL}::test_dead_letters_belong_to_their_batch",),
    ),
    Bug(
        "culprit_dropped",
        "what the database refuses is a dead letter, and nothing is lost silently",
        at="Pipeline._isolate",
        old="""
            return await self._commit(batch.condemned(reason, str(error)), waiting=waiting, certain=False)
            """,
        new="return []",
        tests=(f"{PIPELINE}::test_what_the_database_refuses_is_found_and_buried",),
    ),
    Bug(
        "neighbours_of_the_culprit_dropped",
        "a poison message never blocks its batch",
        at="Pipeline._isolate",
        old="""
            for piece in batch.pieces((batch.size + 1) // 2):
                letters.extend(await self._commit(piece, waiting=waiting, certain=False))
            """,
        new="""
            piece = next(batch.pieces((batch.size + 1) // 2))
            letters.extend(await self._commit(piece, waiting=waiting, certain=False))
            """,
        tests=(f"{PIPELINE}::test_what_the_database_refuses_is_found_and_buried",),
    ),
)
