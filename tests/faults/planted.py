"""Planted bugs: small wrong changes of the engine, each of which breaks its promise in one way.

A bug is a replacement of source text, and the tests that are most likely to find it. Run as a module with the log of a
run (`just planted`), this prints docs/planted-bugs.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from tests.faults.plants import changes, connection, doors, erasure, operators
from tests.faults.plants.bug import Bug

FOLD: Final = ("property/test_fold.py",)
REFERENCE: Final = ("acceptance/test_fixtures.py::test_a_stream_grants_what_was_expected", *FOLD)
PIPELINE: Final = "integration/test_pipeline.py"
RULES: Final = "integration/test_rules.py"
EXPRESS: Final = "integration/test_express.py"
LATE: Final = ("property/test_late.py",)
LABELS: Final = "property/test_labels.py"
KEYS: Final = "property/test_keys.py"
PROTOCOL: Final = "faults/test_protocol.py"
EDGES: Final = "faults/test_edges.py"
CONTRACT: Final = "worker/test_contract.py"
AGREEMENT: Final = "property/test_agreement.py::test_explanations_agree_in_the_corners"
CORNERS: Final = "property/test_agreement.py::test_the_fold_follows_the_definition_in_the_corners"
MOMENTS: Final = "dsl/test_moments.py"
DRAWN: Final = ("faults/test_metamorphic.py::test_drawn_rules_through_the_database[1]",)

_LEDGER_ORDER: Final = (
    "WHERE event_type = ANY ($5::text[])\nORDER BY asked.n, occurred_at, event.event_id;\n\n-- name: events_of_tenants"
)
_OUTBOX: Final = (
    "WHERE published_at IS NULL AND granted_at IS NOT NULL AND revoked_at IS NULL AND unlock_id <> ALL ($1::uuid[])\n"
    "ORDER"
)
_SETTLED: Final = (
    "WHERE granted_at IS NULL AND revoked_at IS NULL AND settles_at <= $1::timestamptz\n    ORDER BY settles_at\n"
)
_MARK_FRESH: Final = "            self._unmarked += [one.unlock_id for one in some]\n"

_SERVING: Final = (
    # -- fences and locks --
    Bug(
        "no_fence",
        "a batch holds the partitions of everybody concerned",
        "sql/queries/partition.sql",
        "UPDATE partition SET generation = found.generation + 1, owner = $2\nFROM (\n"
        "    SELECT partition_id, generation, owner, rules_epoch\n    FROM partition\n"
        "    WHERE partition_id = ANY ($1::integer[])\n    ORDER BY partition_id\n    FOR UPDATE\n) AS found\n"
        "WHERE partition.partition_id = found.partition_id\n"
        "RETURNING found.partition_id, found.generation, found.owner, found.rules_epoch;",
        "SELECT partition_id, generation, owner, rules_epoch\nFROM partition\n"
        "WHERE partition_id = ANY ($1::integer[]) AND $2::text IS NOT NULL;",
        (f"{PROTOCOL}::test_a_batch_waits_for_the_partition_of_everybody_concerned",),
    ),
    Bug(
        "fence_of_users_alone",
        "a batch holds the partitions of teams and tenants too",
        "worker/fence.py",
        "wanted = {partition_of(*subject) for subject in attempt.subjects}",
        "wanted = {partition_of(*group.concern.user) for group in attempt.batch.groups}",
        (f"{PROTOCOL}::test_a_batch_waits_for_the_partition_of_everybody_concerned",),
    ),
    Bug(
        "backfill_without_fence",
        "a backfill holds the partition of its piece",
        "worker/backfill.py",
        'held = await session.rows(Held, "take_partitions", [partition], NOBODY)',
        'held = await session.rows(Held, "take_partitions", [], NOBODY)',
        (f"{PROTOCOL}::test_a_backfill_waits_for_the_partition",),
    ),
    Bug(
        "locks_out_of_order",
        "partitions are locked in order",
        "sql/queries/partition.sql",
        "    ORDER BY partition_id\n    FOR UPDATE\n) AS found\nWHERE",
        "    ORDER BY random()\n    FOR UPDATE\n) AS found\nWHERE",
        (f"{PROTOCOL}::test_partitions_are_locked_in_order",),
    ),
    Bug(
        "events_written_as_they_come",
        "multi-row writes are sorted by key",
        "worker/row.py",
        "    ordered = sorted(rows)\n",
        "    ordered = list(rows)\n",
        (f"{PROTOCOL}::test_rows_are_written_in_the_order_of_their_keys",),
    ),
    Bug(
        "unlocks_written_as_they_come",
        "multi-row writes are sorted by key",
        "worker/grants.py",
        '    new.sort(key=lambda pair: (*pair[0], pair[1].achievement, pair[1].tier or "", pair',
        '    sorted(new, key=lambda pair: (*pair[0], pair[1].achievement, pair[1].tier or "", pair',
        (f"{PROTOCOL}::test_rows_are_written_in_the_order_of_their_keys",),
    ),
    Bug(
        "progress_written_as_it_comes",
        "multi-row writes are sorted by key",
        "worker/folding.py",
        "in sorted(standings.items(), key=itemgetter(0))",
        "in standings.items()",
        (f"{PROTOCOL}::test_rows_are_written_in_the_order_of_their_keys",),
    ),
    Bug(
        "cache_kept_after_the_fence_moved",
        "what is remembered is valid while the generation is one's own",
        "worker/standing.py",
        "known = owner == self.owner and self._written.pop(partition, None) == generation",
        "known = self._written.pop(partition, None) is not None",
        ("worker/test_standing.py",),
    ),
    Bug(
        "cache_kept_after_a_failed_batch",
        "a failed batch makes void what it has moved in memory",
        "worker/standing.py",
        "            self._lives[partition] += 1\n",
        "            self._written[partition] = hold.generations[partition]\n",
        (f"{PROTOCOL}::test_what_is_refused_after_judging_leaves_nothing_behind",),
    ),
    Bug(
        "rules_epoch_not_checked",
        "no batch is committed under rules that are no longer in force",
        "worker/fence.py",
        "if any(row.rules_epoch != attempt.batch.rules.epoch for row in held):",
        "if any(row.rules_epoch < attempt.batch.rules.epoch for row in held):",
        (f"{RULES}::test_new_rules_while_a_worker_runs",),
    ),
    Bug(
        "stamp_without_epoch",
        "a plan that comes back knows that it was away",
        "worker/deployed.py",
        'scope: f"{plan.fingerprint}@{since.get(scope, epoch)}"',
        'scope: f"{plan.fingerprint}@{0 * since.get(scope, epoch)}"',
        (f"{RULES}::test_a_plan_that_comes_back_has_missed_nothing",),
    ),
    Bug(
        "partition_by_a_salted_hash",
        "all workers agree on the partition of a subject",
        "worker/partition.py",
        'return crc32(f"{tenant}\\0{scope}\\0{subject}".encode()) % partitions',
        'return hash(f"{tenant}\\0{scope}\\0{subject}".encode()) % partitions',
        ("worker/test_partition.py",),
    ),
    # -- commits and acknowledgements --
    Bug(
        "ack_before_commit",
        "nothing is acknowledged that is not committed",
        "worker/app.py",
        "        self._busy_since[writer] = monotonic()\n        try:\n",
        "        await self._broker.ack(whole.batch.messages)\n        try:\n",
        (f"{PROTOCOL}::test_nothing_is_acknowledged_before_it_is_committed",),
    ),
    Bug(
        "ack_after_the_first_piece",
        "a batch is acknowledged once every writer has committed its piece",
        "worker/app.py",
        "        whole.missing -= 1\n        if whole.missing:\n            return\n",
        "        whole.missing -= 1\n",
        (f"{PROTOCOL}::test_a_batch_is_acknowledged_when_every_piece_is_committed",),
    ),
    Bug(
        "heartbeat_taken_for_a_message",
        "what the broker says of a request is heard as such",
        "worker/frames.py",
        'reply = words[3] if len(words) == _REPLIED[words[0]] else ""',
        'reply = words[3] if len(words) > 4 else ""',
        ("worker/test_stream.py",),
    ),
    Bug(
        "two_batches_in_one",
        "a batch is no larger than it may be",
        "worker/intake.py",
        "BATCH_BYTES - (0 if self._open is None else self._open.held.bytes)",
        "BATCH_BYTES",
        ("integration/test_intake.py",),
    ),
    Bug(
        "frames_of_anybody",
        "what another subscription gets is not taken for a message",
        "worker/frames.py",
        "        and words[2::_WORDS].count(sid) == number\n",
        "",
        ("worker/test_stream.py",),
    ),
    Bug(
        "a_line_within_a_body_taken_for_its_end",
        "messages reach the engine as they were published, whatever they hold",
        "worker/frames.py",
        "        and words[4::_WORDS] == [*map(str, map(len, bodies))]\n",
        "",
        ("worker/test_stream.py",),
    ),
    Bug(
        "others_frames_cut_off",
        "what another subscription gets is not lost among messages",
        "worker/client.py",
        "            await super().parse()\n            if self.buf is not theirs:",
        "            if self.buf is not theirs:",
        ("worker/test_stream.py",),
    ),
    Bug(
        "deliveries_of_longer_replies_read_as_short_ones",
        "a message is told by its place in the stream",
        "worker/message.py",
        "        len(tokens) != number * _SHORT\n        or ",
        "        ",
        ("worker/test_batch.py",),
    ),
    Bug(
        "mark_within_a_value",
        "values reach the ledger as they are, whatever they hold",
        "worker/packing.py",
        "if text.count(separator) != len(column) or text.count(null) != nulls:",
        "if text.count(null) < nulls:",
        ("worker/test_packing.py",),
    ),
    Bug(
        "partitions_of_our_own",
        "the broker's partitions are those that the ledger locks",
        "worker/partition.py",
        "_fnv1a(token(tenant) + token(subject))",
        "_fnv1a(tenant + subject)",
        ("integration/test_partitions.py",),
    ),
    Bug(
        "retry_of_half_a_batch",
        "a failed batch is tried again as a whole",
        "worker/pipeline.py",
        "                await self._wait(error, delay, waiting)\n                continue\n",
        "                await self._wait(error, delay, waiting)\n"
        "                batch = next(batch.pieces(max(1, batch.size // 2)))\n                continue\n",
        (f"{PROTOCOL}::test_what_failed_is_tried_again_as_a_whole",),
    ),
    Bug(
        "a_failed_commit_taken_for_done",
        "a commit of unknown outcome is tried again",
        "worker/pipeline.py",
        "                await self._wait(error, delay, waiting)\n                continue\n",
        "                await self._wait(error, delay, waiting)\n                return attempt.letters\n",
        (f"{PROTOCOL}::test_what_failed_is_tried_again_as_a_whole",),
    ),
    Bug(
        "nak_lost",
        "what a stopped worker has not committed is given back at once",
        "worker/stream.py",
        'await self._send(message.reply, b"-NAK")',
        'await self._send(message.reply, b"+WPI")',
        (f"{PROTOCOL}::test_nothing_is_acknowledged_before_it_is_committed",),
    ),
    Bug(
        "poison_for_ever",
        "a poison message is ended, and never delivered again",
        "worker/app.py",
        "await self._broker.terminate(message, ended[message.seq].value)",
        "await self._broker.keep([message])",
        (f"{PIPELINE}::test_poison_never_blocks_its_batch",),
    ),
    Bug(
        "dead_letter_outside_of_the_transaction",
        "dead letters are buried with their batch, or not at all",
        "worker/pipeline.py",
        "        async with self._store.transaction() as session:\n            await take_partitions",
        "        async with self._store.transaction() as other:\n"
        "            await bury(other, self._settings, attempt.letters, now=attempt.batch.now)\n"
        "        async with self._store.transaction() as session:\n            await take_partitions",
        (f"{PROTOCOL}::test_dead_letters_belong_to_their_batch",),
    ),
    Bug(
        "culprit_dropped",
        "what the database refuses is a dead letter, and nothing is lost silently",
        "worker/pipeline.py",
        "return await self._commit(batch.condemned(reason, str(error)), waiting=waiting, certain=False)",
        "return []",
        (f"{PIPELINE}::test_what_the_database_refuses_is_found_and_buried",),
    ),
    Bug(
        "neighbours_of_the_culprit_dropped",
        "a poison message never blocks its batch",
        "worker/pipeline.py",
        "        for piece in batch.pieces((batch.size + 1) // 2):\n"
        "            letters.extend(await self._commit(piece, waiting=waiting, certain=False))\n",
        "        piece = next(batch.pieces((batch.size + 1) // 2))\n"
        "        letters.extend(await self._commit(piece, waiting=waiting, certain=False))\n",
        (f"{PIPELINE}::test_what_the_database_refuses_is_found_and_buried",),
    ),
)

_RECORDING: Final = (
    # -- the ledger --
    Bug(
        "dedup_by_id_without_body",
        "another body under a known id is a dead letter",
        "worker/ledger.py",
        "if same_body(item.event, item.written, known):",
        "if same_body(item.event, item.written, known) or item is not None:",
        (f"{PIPELINE}::test_another_body_under_a_known_id_is_a_dead_letter",),
    ),
    Bug(
        "dedup_by_bytes",
        "the same event in another guise is a duplicate",
        "worker/bodies.py",
        "return written.payload == stored.payload or _json(written.payload) == _json(stored.payload)",
        "return written.payload == stored.payload",
        (f"{PIPELINE}::test_copies_are_counted_once",),
    ),
    Bug(
        "copy_compared_with_its_own_batch",
        "what the ledger had is compared with the ledger",
        "worker/ledger.py",
        "known.get(item.key) or _body(firsts[item.key])",
        "_body(firsts[item.key])",
        (f"{PIPELINE}::test_another_body_under_a_known_id_is_a_dead_letter",),
    ),
    Bug(
        "own_rows_told_by_the_instant_alone",
        "what a lost commit has recorded is not recorded again",
        "sql/queries/ledger.sql",
        "WHERE found.mark <> pg_current_xact_id()::xid OR found.received_at <> $3::timestamptz\n",
        "WHERE found.received_at <> $3::timestamptz\n",
        (f"{PROTOCOL}::test_a_commit_of_unknown_outcome_changes_nothing",),
    ),
    Bug(
        "ids_of_all_tenants_in_one_pot",
        "an id belongs to its tenant",
        "worker/row.py",
        "{event.tenant}",
        "t",
        (f"{PIPELINE}::test_ids_belong_to_their_tenant",),
    ),
    Bug(
        "tombstones_ignored",
        "an erased user's events stay out",
        "worker/ledger.py",
        "if any(standing.erased for standing in attempt.standings.values()):",
        "if all(standing.erased for standing in attempt.standings.values()) and not items:",
        (f"{PIPELINE}::test_erased_users_stay_out",),
    ),
    Bug(
        "members_not_listed",
        "the ledger knows the events of a team",
        "worker/ledger.py",
        "if subject.scope not in FIELDLESS\n    )\n    if rows:",
        "if subject.scope not in FIELDLESS\n    )\n    if len(rows) > 1:",
        (f"{RULES}::test_scopes_of_fields_and_tenants",),
    ),
    # -- the contract --
    Bug(
        "nul_let_through",
        "text that no database takes is a dead letter",
        "worker/contract.py",
        'if b"\\\\" in body and _NUL.search(body):',
        'if b"\\\\" in body and not body:',
        (f"{CONTRACT}::test_text_that_no_database_takes",),
    ),
    Bug(
        "tenant_of_the_subject_ignored",
        "nobody writes into another tenant",
        "worker/contract.py",
        "if not bound.fits_tenant(tenant):",
        "if not bound.fits_tenant(tenant) and not tenant:",
        (f"{PIPELINE}::test_the_tenant_of_the_subject_is_the_tenant",),
    ),
    Bug(
        "one_mark_for_all",
        "no body passes for two when many are read as one",
        "worker/plain.py",
        " or found[1::2] != [_MARK] * (len(bodies) - 1):",
        ":",
        ("worker/test_plain.py",),
    ),
    Bug(
        "tenants_of_many_ignored",
        "nobody writes into another tenant, in however large a crowd",
        "worker/plain.py",
        "if not (bound.fits_tenant(name) and bound.fits_user(user)):",
        "if not (bound.fits_tenant(name) and bound.fits_user(user)) and not tenant:",
        ("worker/test_plain.py",),
    ),
    Bug(
        "the_future_let_in",
        "one bad clock does not make every later event late",
        "worker/contract.py",
        "if at > now + self._skew:",
        "if at > now + self._skew * 10**6:",
        (CONTRACT,),
    ),
    Bug(
        "depth_not_bounded",
        "nothing nests deeper than MAX_DEPTH",
        "worker/contract.py",
        "> MAX_DEPTH and _depth(body) > MAX_DEPTH",
        "> MAX_DEPTH and _depth(body) > 100 * MAX_DEPTH",
        (f"{CONTRACT}::test_depth",),
    ),
    Bug(
        "numbers_through_floats",
        "numbers are read from their text",
        "dsl/payload.py",
        "    number = Decimal(text)\n",
        "    number = Decimal(repr(float(text)))\n",
        ("worker/test_payload.py",),
    ),
)

_JUDGING: Final = (
    # -- step or refold --
    Bug(
        "step_although_late",
        "what is late is folded again",
        "worker/folding.py",
        "    if mark is None or (mark.at, mark.id) < canonical_order(events[0]):\n",
        "    if mark is None or events:\n",
        (f"{PIPELINE}::test_late_events_fold_as_if_they_had_been_in_time",),
    ),
    Bug(
        "late_event_lost",
        "a late event counts like any other",
        "worker/folding.py",
        "            anew[subject.scope][subject] = first\n",
        "            pass\n",
        (f"{PIPELINE}::test_late_events_fold_as_if_they_had_been_in_time",),
    ),
    Bug(
        "mark_not_advanced",
        "the mark is the last event folded",
        "dsl/fold.py",
        "            state.mark = Position(last.at, last.id)\n",
        "            state.mark = state.mark or Position(last.at, last.id)\n",
        FOLD,
    ),
    Bug(
        "refold_without_the_batch",
        "a refold sees the events of its own batch",
        "sql/queries/ledger.sql",
        "JOIN event ON event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id\n",
        "JOIN event ON event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id\n"
        "    AND event.xmin::text <> pg_current_xact_id()::xid::text\n",
        (f"{PIPELINE}::test_late_events_fold_as_if_they_had_been_in_time",),
    ),
    Bug(
        "stale_checkpoints_kept",
        "a checkpoint that has not seen a late event is forgotten",
        "sql/queries/progress.sql",
        "AND (checkpoint.mark_at, checkpoint.mark_id) >= (late.occurred_at, late.event_id);",
        "AND (checkpoint.mark_at, checkpoint.mark_id) = (late.occurred_at, late.event_id);",
        (f"{PROTOCOL}::test_checkpoints_that_have_not_seen_what_was_folded_anew",),
    ),
    Bug(
        "ledger_read_by_arrival",
        "canonical order is by instant and id",
        "sql/queries/ledger.sql",
        _LEDGER_ORDER,
        _LEDGER_ORDER.replace("occurred_at", "stream_seq"),
        DRAWN,
    ),
    Bug(
        "ties_left_to_arrival",
        "canonical order is by instant and id",
        "sql/queries/ledger.sql",
        _LEDGER_ORDER,
        _LEDGER_ORDER.replace("event.event_id", "stream_seq"),
        (f"{PROTOCOL}::test_ties_are_broken_by_id_and_not_by_arrival",),
    ),
    Bug(
        "order_by_id_alone",
        "canonical order is by instant first",
        "dsl/outcome.py",
        'attrgetter("at", "id")',
        'attrgetter("id")',
        FOLD,
    ),
    Bug(
        "batch_stepped_as_it_came",
        "a batch is stepped in canonical order",
        "worker/folding.py",
        "            events.sort(key=canonical_order)\n",
        "            pass\n",
        DRAWN,
    ),
    Bug(
        "first_of_the_batch_taken_for_its_earliest",
        "a batch is as late as its earliest event",
        "worker/folding.py",
        "first = Position(events[0].at, events[0].id) if late",
        "first = Position(events[-1].at, events[-1].id) if late",
        (f"{PROTOCOL}::test_a_batch_is_as_late_as_its_earliest_event",),
    ),
    Bug(
        "encode_loses_a_field",
        "a state that is written and read is the same state",
        "dsl/progress.py",
        "    return _PREFIX + _encoder.encode(state) + b",
        "    state = State(state.mark, state.nodes, state.earned, state.traits, suppressed=state.suppressed)\n"
        "    return _PREFIX + _encoder.encode(state) + b",
        (f"{EDGES}::test_a_state_that_is_written_and_read_is_the_same_state",),
    ),
    Bug(
        "backfill_skips_a_subject",
        "a backfill reaches everybody",
        "worker/backfill.py",
        "yield subjects[at : at + PIECE]",
        "yield subjects[at : at + PIECE - 1]",
        (f"{PROTOCOL}::test_a_backfill_reaches_everybody",),
    ),
    Bug(
        "backfill_skips_between_pages",
        "a backfill reaches everybody",
        "sql/queries/ledger.sql",
        "(tenant_id, user_id) > ($2, $3)",
        "(tenant_id > $2 OR $3::text IS NULL)",
        (f"{PROTOCOL}::test_a_backfill_reaches_everybody",),
    ),
    # -- the meaning of the language --
    Bug(
        "sums_of_floats",
        "sums are exact",
        "dsl/nodes/totals.py",
        "    result: Decimal = EXACT.add(total, amount)\n",
        "    result: Decimal = EXACT.create_decimal(repr(float(total) + float(amount)))\n",
        ("property/test_reference.py", "acceptance/test_fixtures.py::test_a_stream_grants_what_was_expected", *FOLD),
    ),
    Bug(
        "window_closed_at_its_end",
        "a window is shorter than its length",
        "dsl/nodes/compose.py",
        "if start is not None and event.at - start.at < length:",
        "if start is not None and event.at - start.at <= length:",
        REFERENCE,
    ),
    Bug(
        "once_per_by_the_last_copy",
        "the first of its fingerprint counts, and the others do not",
        "dsl/fold.py",
        "    if last is not None and (once.within is None or event.at - last < once.within):\n        return False\n",
        "    if last is not None and (once.within is None or event.at - last < once.within):\n"
        "        counted[key] = event.at\n        return False\n",
        REFERENCE,
    ),
    Bug(
        "fingerprints_swept_early",
        "a copy is a copy as long as the span says, however many others there are",
        "dsl/fold.py",
        "if at <= horizon]:",
        "if at < event.at]:",
        (f"{PROTOCOL}::test_a_copy_among_many_fingerprints",),
    ),
    Bug(
        "unless_by_the_same_event",
        "what lies at the event that breaks it is broken",
        "dsl/nodes/compose.py",
        "if start is not None and (node.last is None or start > node.last):",
        "if start is not None and (node.last is None or start >= node.last):",
        (f"{EDGES}::test_what_breaks_a_condition_cannot_also_make_it",),
    ),
    Bug(
        "repeat_each_goes_on_counting",
        "after each unlock the condition starts afresh",
        "dsl/judge.py",
        "            for node in own:\n                state.nodes.pop(node, None)\n",
        "            del state\n",
        REFERENCE,
    ),
    Bug(
        "version_by_an_inclusive_end",
        "one version is in effect at an instant",
        "dsl/judge.py",
        "            if not low <= event.at < high:\n",
        "            if not low <= event.at <= high:\n",
        (f"{EDGES}::test_one_version_is_in_effect_at_an_instant",),
    ),
    Bug(
        "version_of_once_by_an_inclusive_end",
        "one version is in effect at an instant",
        "dsl/judge.py",
        "or not low <= event.at < high or",
        "or not low <= event.at <= high or",
        (f"{EDGES}::test_one_version_is_in_effect_at_an_instant",),
    ),
    Bug(
        "alternatives_one_in_another",
        "a pattern may have any number of alternatives",
        "dsl/filters.py",
        "    return tests[0] if len(tests) == 1 else lambda state, event: any(test(state, event) for test in tests)\n",
        "    made = tests[0]\n    for test in tests[1:]:\n"
        "        made = (lambda one, two: lambda state, event: one(state, event) or two(state, event))(made, test)\n"
        "    return made\n",
        ("faults/test_rules_as_code.py::test_ten_thousand_parts",),
    ),
    Bug(
        "grace_of_one_more",
        "a run bridges so many units and no more",
        "dsl/nodes/streak.py",
        "length = length + 1 if last is not None and index - last - 1 <= self.grace else 1",
        "length = length + 1 if last is not None and index - last - 1 <= self.grace + 1 else 1",
        REFERENCE,
    ),
    # -- labels that come back, and keys --
    Bug(
        "occurrences_forgotten_by_number",
        "an occurrence is earned once, however many lie between",
        "dsl/judge.py",
        "            earned.units = [index for index in earned.units if index >= oldest]\n",
        "            del earned.units[:-75]\n",
        (f"{LABELS}::test_a_crowd_of_labels_lies_between",),
    ),
    Bug(
        "occurrences_forgotten_with_their_hour",
        "an occurrence is earned once, whatever clock the events are written by",
        "dsl/judge.py",
        "            oldest = unit_index(unit, at - MAX_OFFSET)",
        "            oldest = unit_index(unit, at)",
        (f"{LABELS}::test_the_fold_grants_what_the_reference_grants",),
    ),
    Bug(
        "occurrences_never_forgotten",
        "what is remembered of occurrences is bounded",
        "dsl/judge.py",
        "            earned.units = [index for index in earned.units if index >= oldest]\n",
        "",
        (f"{LABELS}::test_what_is_remembered_of_labels_is_bounded",),
    ),
    Bug(
        "forgotten_hours_kept_in_states",
        "a state that may have forgotten an occurrence is folded anew",
        "dsl/judge.py",
        '        return "once in every hour" if hours else "once"\n',
        '        return "once"\n',
        (f"{LABELS}::test_states_that_may_have_forgotten_an_hour_are_folded_anew",),
    ),
    Bug(
        "offsets_of_real_zones",
        "an event may be written by any offset that RFC 3339 has",
        "dsl/calendar.py",
        "MAX_OFFSET: Final = 24 * HOUR\n",
        "MAX_OFFSET: Final = 14 * HOUR\n",
        (
            f"{LABELS}::test_the_fold_grants_what_the_reference_grants",
            f"{LABELS}::test_no_offset_is_farther_than_the_farthest",
        ),
    ),
    Bug(
        "units_sealed_while_a_clock_shows_them",
        "a unit of a streak counts, whatever clock its events are written by",
        "dsl/nodes/streak.py",
        "            note(node, index, unit_index(unit, event.at - MAX_OFFSET))\n",
        "            note(node, index, unit_index(unit, event.at))\n",
        (f"{LABELS}::test_the_fold_grants_what_the_reference_grants",),
    ),
    Bug(
        "units_absorbed_that_are_sealed",
        "what is absorbed leaves what folding in order leaves",
        "dsl/nodes/streak.py",
        "            if state.mark is None or index < unit_index(unit, state.mark.at - MAX_OFFSET):\n",
        "            if state.mark is None:\n",
        LATE,
    ),
    Bug(
        "a_value_poses_as_the_hash_of_another",
        "two values are two",
        "dsl/values.py",
        "    if length <= _LONG and (length != _HASH_LENGTH or _HASH.fullmatch(text) is None):\n",
        "    if length <= _LONG:\n",
        (f"{KEYS}::test_the_fold_tells_values_apart_as_the_reference_does",),
    ),
    Bug(
        "keys_in_states_change",
        "what a value has for its key it has for good",
        "dsl/values.py",
        '_HASH: Final = re.compile("\\x01[0-9a-f]{32}")\n',
        '_HASH: Final = re.compile("\\x01.{32}")\n',
        (f"{KEYS}::test_a_key_is_short_and_most_texts_are_their_own",),
    ),
    Bug(
        "hash_cut_short",
        "two long values are two",
        "dsl/values.py",
        "    if length <= _LONG and (length",
        "    text = text[:_LONG] if length > _LONG else text\n    if length <= _LONG and (length",
        (f"{KEYS}::test_two_texts_have_one_key_only_if_they_are_one",),
    ),
    Bug(
        "message_id_of_two_tenants",
        "the broker does not take an event for that of another tenant",
        "worker/emit.py",
        '    text = f"{token(tenant)}:{event}"\n',
        '    text = f"{tenant}:{event}"\n',
        (f"{KEYS}::test_a_colon_does_not_move_an_event_to_another_tenant",),
    ),
    # -- progress and explanations --
    Bug(
        "unless_at_the_begin_of_a_unit_overlooked",
        "an `unless` at the very begin of a unit spoils the unit, in progress too",
        "dsl/nodes/streak.py",
        "if reach.has(self.begin(state, index))), default=0)",
        "if self.begin(state, index).at >= reach.floor.at), default=0)",
        (f"{MOMENTS}::test_an_unless_at_the_very_begin_of_a_unit_spoils_it", AGREEMENT),
    ),
    Bug(
        "total_of_nothing_forgotten",
        "after an `unless` a total of nothing may be enough",
        "dsl/nodes/totals.py",
        "                node = state.nodes[slot] = SinceTally()\n            node.best = max(node.best, node.total)\n",
        "                node = state.nodes[slot] = SinceTally()\n",
        (f"{MOMENTS}::test_a_total_of_nothing_may_be_enough", CORNERS),
    ),
    Bug(
        "total_of_nothing_at_own_events_alone",
        "every event is a moment at which a total of nothing may be enough",
        "dsl/nodes/totals.py",
        "        self.types |= moments\n",
        "        del moments\n",
        (f"{MOMENTS}::test_a_total_of_nothing_may_be_enough", CORNERS),
    ),
    Bug(
        "total_on_its_bound_is_complete",
        "progress is full exactly if it holds",
        "dsl/nodes/bound.py",
        "return found if found.fraction < 1 else found._replace(fraction=1 / (1 + LEAST / Fraction(self.target)))",
        "return found",
        ("dsl/test_evidence.py::test_a_total_on_a_bound_to_exceed_is_not_complete",),
    ),
    Bug(
        "span_asked_of_the_last_event_alone",
        "between events it is asked what an event now would find",
        "dsl/nodes/compose.py",
        "        held = self.start(state)\n        if now.event is not None:\n            return held\n",
        "        held = self.start(state)\n        if now.at:\n            return held\n",
        ("dsl/test_evidence.py::test_a_part_that_a_moment_now_would_make_hold_lacks_nothing",),
    ),
    Bug(
        "label_that_comes_back_begins_anew",
        "what was counted before a label came back counts with it",
        "dsl/conditions.py",
        "mods.unless is None and clock.fixed and steady(mods.tz, Unit(mods.per.text)):",
        "mods.unless is None and clock.fixed:",
        ("property/test_found.py::test_what_came_before_a_label_that_comes_back_counts_with_it",),
    ),
    Bug(
        "stretch_ends_with_the_label",
        "what lies in a unit reaches to now without a break",
        "dsl/calendar.py",
        "    if end <= at:  # the next label came before: this one came back, for what is left of it\n",
        "    if end == at:\n",
        ("property/test_wall.py::test_a_stretch_shows_one_label_and_ends_where_another_begins",),
    ),
    Bug(
        "calendar_before_grants",
        "every occurrence that was earned is explained",
        "dsl/explain/occurrences.py",
        "        return _earned(known, name, unit) or _unit(known, name, current, (unit, clock))\n",
        "        return _unit(known, name, current, (unit, clock))\n",
        ("worker/test_explaining.py::test_an_occurrence_that_was_earned_is_found_whatever_day_it_is_now",),
    ),
    Bug(
        "unit_before_the_start_left_out",
        "the events in the units of a streak are listed, and none before its run",
        "dsl/explain/evidence.py",
        "unit >= first[path] for path, unit in noted.units.items())",
        "unit > first[path] for path, unit in noted.units.items())",
        ("dsl/test_evidence.py",),
    ),
    Bug(
        "evidence_not_tried",
        "the listed events alone earn what they are said to have earned",
        "dsl/explain/evidence.py",
        "        if story.earns([each.event for each in found], grant):\n",
        "        if found:\n",
        ("dsl/test_evidence.py::test_a_copy_of_what_is_not_listed_is_not_listed",),
    ),
    Bug(
        "achievements_before_it_left_out",
        "what earned the achievements that it names is listed",
        "dsl/explain/evidence.py",
        "    grounds = [ground, *_named(ground, firsts)]\n",
        "    grounds = [ground, *_named(ground, firsts)][:1]\n",
        ("dsl/test_evidence.py::test_what_an_achievement_before_it_needs_is_listed_too",),
    ),
    Bug(
        "moment_of_an_event_by_another_clock",
        "an occurrence is looked at by the clock of the event that is in it",
        "dsl/clock.py",
        "        return 0 if now.event is None else now.event.offset\n",
        "        del now\n        return 0\n",
        ("worker/test_explaining.py", AGREEMENT),
    ),
    Bug(
        "one_tier_without_the_occurrence_refuses_all",
        "an occurrence that only one tier has is explained",
        "worker/explaining.py",
        "            refused.append(error)\n",
        "            raise CannotExplainError(str(error)) from error\n",
        ("worker/test_explaining.py::test_an_occurrence_that_only_one_tier_has",),
    ),
)

_GRANTING: Final = (
    # -- unlocks --
    Bug(
        "unlock_id_from_the_event",
        "an unlock's id is a hash of its key alone",
        "worker/reconcile.py",
        'grant.tier or "", grant.occurrence or "")]\n',
        'grant.tier or "", grant.occurrence or "", grant.event_id)]\n',
        (f"{PIPELINE}::test_late_evidence_moves_what_was_earned_and_not_what_was_granted",),
    ),
    Bug(
        "contested_grant_deleted",
        "a grant stays with the user",
        "sql/queries/unlock.sql",
        "UPDATE unlock SET contested_at = $2\nWHERE",
        "DELETE FROM unlock\nWHERE $2::timestamptz IS NOT NULL AND",
        (f"{PIPELINE}::test_contested_and_restored",),
    ),
    Bug(
        "contested_for_ever",
        "a grant that is supported again is contested no more",
        "sql/queries/unlock.sql",
        "    contested_at = NULL\nFROM",
        "    contested_at = contested_at\nFROM",
        (f"{PIPELINE}::test_contested_and_restored",),
    ),
    Bug(
        "lost_evidence_not_noticed",
        "what is no longer supported is contested",
        "worker/reconcile.py",
        "if row.unlock_id not in supported and complete.covers(row)",
        "if row.unlock_id in supported and complete.covers(row)",
        (f"{PIPELINE}::test_contested_and_restored",),
    ),
    Bug(
        "restored_grant_announced_again",
        "an unlock is announced once",
        "sql/queries/unlock.sql",
        "    contested_at = NULL\nFROM",
        "    published_at = NULL,\n    contested_at = NULL\nFROM",
        (f"{PROTOCOL}::test_what_is_restored_is_not_announced_again",),
    ),
    Bug(
        "granted_at_moves",
        "granted_at never moves",
        "sql/queries/unlock.sql",
        "CASE WHEN granted_at IS NULL THEN rows.earned_at END),",
        "CASE WHEN granted_at IS NULL THEN rows.earned_at END),\n    granted_at = now(),",
        (f"{PIPELINE}::test_late_evidence_moves_what_was_earned_and_not_what_was_granted",),
    ),
    Bug(
        "earned_at_stays",
        "late evidence moves what was earned",
        "worker/reconcile.py",
        "elif (row.version, row.earned_at, row.event_id) != (grant.version, grant.earned_at, grant.event_id):",
        "elif row.version != grant.version:",
        (f"{PIPELINE}::test_late_evidence_moves_what_was_earned_and_not_what_was_granted",),
    ),
    Bug(
        "settle_ignored",
        "what settles is not granted before",
        "sql/queries/unlock.sql",
        "CASE WHEN settles_at IS NULL OR settles_at <= $14 THEN $13::timestamptz END",
        "CASE WHEN settles_at IS NULL OR settles_at <> $14 THEN $13::timestamptz END",
        (f"{PIPELINE}::test_settling_by_the_clock_of_the_stream",),
    ),
    Bug(
        "settling_announced",
        "what settles is not announced before",
        "sql/queries/unlock.sql",
        _SETTLED,
        _SETTLED.replace("<=", "<>"),
        (f"{PIPELINE}::test_settling_by_the_clock_of_the_stream",),
    ),
    Bug(
        "revoked_grant_comes_back",
        "an operator's word is the last",
        "worker/reconcile.py",
        "if row is None or row.state is State.REVOKED:",
        "if row is None:",
        ("worker/test_reconcile.py",),
    ),
    # -- announcements --
    Bug(
        "relay_by_id_above_the_last",
        "everything that is granted is announced",
        "sql/queries/unlock.sql",
        _OUTBOX,
        _OUTBOX.replace(
            "\nORDER",
            " AND unlock_id::text > "
            "coalesce((SELECT max(unlock_id::text) FROM unlock WHERE published_at IS NOT NULL), '')\nORDER",
        ),
        (f"{PROTOCOL}::test_what_waits_is_found_wherever_it_stands",),
    ),
    Bug(
        "marked_before_it_is_announced",
        "what was not announced is not marked",
        "worker/notifier.py",
        "            some, news = await self._announce_claimed(claimed) if claimed else (claimed, {})\n",
        "            async with self._store.transaction() as other:\n"
        "                # As if the claim had been committed first.\n"
        '                await session.script("COMMIT; BEGIN")\n'
        '                await other.run("mark_published", sorted(one.unlock_id for one in claimed), self._now())\n'
        "            some, news = await self._announce_claimed(claimed) if claimed else (claimed, {})\n",
        (f"{PROTOCOL}::test_an_unlock_that_was_not_announced_is_not_marked",),
    ),
    Bug(
        "second_announcement_let_through",
        "the broker refuses a second announcement for ever",
        "worker/announcing.py",
        ", self._after_header: str(one.after)}",
        "}",
        (f"{PIPELINE}::test_the_broker_refuses_a_second_announcement_for_ever",),
    ),
    Bug(
        "announced_and_not_marked",
        "what was announced is not announced again",
        "worker/notifier.py",
        'await session.run("mark_published", sorted(one.unlock_id for one in some), self._now())\n',
        'await session.run("mark_published", sorted(one.unlock_id for one in some)[1:], self._now())\n',
        (f"{PROTOCOL}::test_an_unlock_that_was_not_announced_is_not_marked",),
    ),
    Bug(
        "fresh_marked_before_it_is_announced",
        "what was not announced is not marked",
        "worker/notifier.py",
        "                some, news = await self._announce(some)\n            except",
        f"    {_MARK_FRESH}                some, news = await self._announce(some)\n            except",
        (f"{PROTOCOL}::test_what_was_just_granted_and_not_announced_is_not_marked",),
    ),
    Bug(
        "fresh_announced_and_not_marked",
        "what was announced is not announced again",
        "worker/notifier.py",
        _MARK_FRESH,
        "            pass\n",
        (f"{PROTOCOL}::test_what_was_just_granted_is_announced_and_marked",),
    ),
    Bug(
        "marked_after_the_relay",
        "what was announced is not announced again",
        "worker/notifier.py",
        "if self._unmarked and (self._missed or not self._busy() or monotonic() >= self._mark_at):",
        "if self._unmarked and (not self._busy() or monotonic() >= self._mark_at):",
        (f"{PROTOCOL}::test_what_was_announced_and_not_marked_is_marked_before_anything_else",),
    ),
    Bug(
        "marks_put_off_for_ever",
        "what was announced is marked soon",
        "worker/notifier.py",
        "wake_at = min(self._look_at, self._mark_at) if self._unmarked else self._look_at",
        "wake_at = self._look_at",
        (f"{PROTOCOL}::test_what_was_announced_is_marked_soon",),
    ),
    Bug(
        "marks_put_off_with_nothing_to_do",
        "what was announced is marked soon",
        "worker/app.py",
        "            self._notifier.rest()\n",
        "            pass\n",
        (f"{PROTOCOL}::test_who_has_nothing_left_to_do_marks_what_was_announced",),
    ),
    Bug(
        "too_busy_to_look",
        "what settles is announced however busy we are",
        "worker/notifier.py",
        "self._look_at = min(self._look_at, await self._nap() + monotonic(), self._refused.next_at)",
        "self._look_at = await self._nap() + monotonic()",
        (f"{PROTOCOL}::test_what_settles_is_announced_however_busy_we_are",),
    ),
    Bug(
        "fresh_left_where_it_failed",
        "what could not be announced at once is announced later",
        "worker/notifier.py",
        "self._fresh, self._missed = [], True",
        "self._fresh = []",
        (f"{PROTOCOL}::test_what_could_not_be_announced_at_once_is_announced_soon",),
    ),
    Bug(
        "marking_waits_for_whoever_holds_it",
        "an announcement waits for no lock",
        "sql/queries/unlock.sql",
        "= 'infinity'\n    FOR UPDATE SKIP LOCKED);",
        "= 'infinity'\n    FOR UPDATE);",
        (f"{PROTOCOL}::test_marking_waits_for_nobody",),
    ),
    Bug(
        "held_and_forgotten",
        "what somebody holds is announced once they have let go",
        "worker/notifier.py",
        "self._held = len(claimed) < AT_ONCE and not",
        "self._held = False and not",
        (f"{PROTOCOL}::test_what_somebody_held_is_announced_soon",),
    ),
    Bug(
        "uncertain_unlocks_from_memory_alone",
        "everything that is granted is announced",
        "worker/notifier.py",
        "if not done.certain or len(self._fresh) + len(fresh) > MOST_FRESH:",
        "if len(self._fresh) + len(fresh) > MOST_FRESH:",
        (f"{PROTOCOL}::test_what_a_commit_of_unknown_outcome_granted_is_announced",),
    ),
    Bug(
        "unknown_outcome_taken_for_certain",
        "whoever has tried before does not know all that was decided",
        "worker/pipeline.py",
        "            return await self._commit(batch, waiting=waiting, certain=False)\n        return",
        "            return await self._commit(batch, waiting=waiting)\n        return",
        (f"{EXPRESS}::test_a_commit_of_unknown_outcome",),
    ),
)

_HURRYING: Final = (
    # -- the express way --
    Bug(
        "express_without_generations",
        "one statement does nothing where a partition has moved",
        "sql/queries/express.sql",
        " AND generation = ($2::bigint[])[array_position($1, partition_id)]\n",
        " AND $2::bigint[] IS NOT NULL\n",
        (f"{EXPRESS}::test_a_partition_that_somebody_else_has_written",),
    ),
    Bug(
        "express_without_the_owner",
        "one statement does nothing where somebody else was",
        "sql/queries/express.sql",
        "AND owner = $3 AND rules_epoch = $4::bigint",
        "AND $3::text IS NOT NULL AND rules_epoch = $4::bigint",
        (f"{EXPRESS}::test_a_generation_that_is_ours_by_chance",),
    ),
    Bug(
        "express_without_the_epoch",
        "one statement does nothing under rules that are no longer in force",
        "sql/queries/express.sql",
        "AND owner = $3 AND rules_epoch = $4::bigint",
        "AND owner = $3 AND $4::bigint IS NOT NULL",
        (f"{EXPRESS}::test_rules_that_another_batch_has_met_already",),
    ),
    Bug(
        "express_passes_over_events_that_are_there",
        "one statement does nothing where an event was known",
        "sql/queries/express.sql",
        "    -- use insert_new_events from $5\n",
        "    -- use insert_new_events from $5\n    ON CONFLICT DO NOTHING\n",
        (f"{EXPRESS}::test_an_id_that_stands_for_something_else",),
    ),
    Bug(
        "express_does_not_count_unlocks",
        "one statement does nothing where an unlock was there",
        "sql/queries/express.sql",
        "WHEN (SELECT count(*) FROM new) < cardinality($38::uuid[])\n",
        "WHEN (SELECT count(*) FROM new) < 0 * cardinality($38::uuid[])\n",
        (f"{EXPRESS}::test_an_unlock_that_was_there_before",),
    ),
    Bug(
        "express_locks_out_of_order",
        "partitions are locked in order",
        "sql/queries/express.sql",
        "    RETURNING 1\n), recorded AS (\n",
        "        AND (SELECT count(*) FROM (\n"
        "            SELECT FROM partition ORDER BY partition_id DESC FOR UPDATE) AS backwards) > 0\n"
        "    RETURNING 1\n), recorded AS (\n",
        (f"{PROTOCOL}::test_partitions_are_locked_in_order",),
    ),
    Bug(
        "express_for_what_is_no_news",
        "what is late is taken to be new as long as that is right",
        "worker/express.py",
        "        if tale.behind and not trusting and canonical_order(tale.events[0]) < latest:\n            continue\n",
        "",
        (f"{EXPRESS}::test_what_is_late_and_no_news_costs_trust",),
    ),
    Bug(
        "express_for_the_latest_event_again",
        "a copy goes the long way",
        "worker/tale.py",
        "            elif place == latest:\n                return False\n            else:\n",
        "            else:\n",
        (f"{EXPRESS}::test_the_latest_event_again",),
    ),
    Bug(
        "express_walks_what_is_late",
        "what is late is taken in place",
        "worker/express.py",
        "    late = late_among(standing, heard) if tale.behind and heard else 0\n",
        "    late = 0\n",
        (EXPRESS,),
    ),
    Bug(
        "express_saves_nobody_who_is_late",
        "whoever has been moved is saved",
        "worker/express.py",
        "        if late == len(heard) or not taken:\n",
        "        if not taken:\n",
        (EXPRESS, f"{PROTOCOL}::test_checkpoints_that_have_not_seen_what_was_absorbed"),
    ),
    Bug(
        "express_keeps_checkpoints",
        "a checkpoint that has not seen a late event is forgotten",
        "worker/express.py",
        "        attempt.absorbed[user] = Position(heard[0].at, heard[0].id)\n",
        "",
        (f"{PROTOCOL}::test_checkpoints_that_have_not_seen_what_was_absorbed",),
    ),
    Bug(
        "express_moves_latest_back",
        "whatever has arrived is known to have",
        "worker/express.py",
        "    if standing.latest is None or last > standing.latest:\n        standing.latest = last\n",
        "    standing.latest = last\n",
        (EXPRESS,),
    ),
    Bug(
        "trust_comes_back_at_once",
        "after each time that late events were no news, they are not taken to be for longer",
        "worker/express.py",
        "self._waits = self._doubt = min(2 * self._doubt, MOST_DOUBT)",
        "self._waits = 0",
        (f"{EXPRESS}::test_trust_that_was_broken_comes_back_by_and_by",),
    ),
    Bug(
        "express_for_copies_within_a_batch",
        "a copy goes the long way",
        "worker/tale.py",
        "if any(map(eq, places, places[1:])):",
        "if any(map(eq, places, places[1:])) and not places:",
        (f"{EXPRESS}::test_copies_of_known_users_are_no_news",),
    ),
    Bug(
        "express_with_a_state_of_another_plan",
        "a state is valid under the plan that folded it",
        "worker/express.py",
        "(standing.state is not None and standing.stamp == stamp)",
        "standing.state is not None",
        (f"{EXPRESS}::test_a_state_that_another_plan_has_left",),
    ),
    Bug(
        "express_without_a_state",
        "whoever has a past and no state is folded anew",
        "worker/express.py",
        "if not tale.heard or not standing.known or (standing.state is not None and standing.stamp == stamp):",
        "if standing.state is None or standing.stamp == stamp:",
        (f"{EXPRESS}::test_whom_nobody_hears_goes_the_express_way",),
    ),
    Bug(
        "express_forgets_what_happened_since",
        "whoever is folded anew is folded as a whole",
        "worker/folding.py",
        "        run = sorted([*past.events, *events[subject]], key=canonical_order)\n",
        "        run = sorted(events[subject], key=canonical_order)\n",
        (EXPRESS,),
    ),
    Bug(
        "express_reads_on_without_end",
        "what is read ahead is bounded",
        "worker/ahead.py",
        "        if len(events) == MOST_AHEAD:\n",
        "        if not subjects:\n",
        (f"{EXPRESS}::test_more_has_happened_since_than_is_read_ahead",),
    ),
    Bug(
        "express_from_a_checkpoint_of_another_plan",
        "a state is valid under the plan that folded it",
        "sql/queries/express.sql",
        ") AS latest ON latest.stamp = $6;",
        ") AS latest ON latest.stamp <> '' OR $6 = '';",
        (f"{EXPRESS}::test_from_the_last_checkpoint_before_a_late_event",),
    ),
    Bug(
        "express_folds_all_again_on_top_of_a_checkpoint",
        "whoever is folded anew hears each event once",
        "sql/queries/express.sql",
        "> (coalesce(latest.mark_at, '-infinity'), coalesce(latest.mark_id, ''))",
        "> ('-infinity', coalesce(left(latest.mark_id, 0), ''))",
        (f"{EXPRESS}::test_from_the_last_checkpoint_before_a_late_event",),
    ),
    Bug(
        "what_was_not_written_is_forgotten",
        "whoever reads progress folds on top what came since",
        "worker/ledger.py",
        "    if state is None or not unsaved:\n",
        "    if state is None or unsaved:\n",
        (f"{EXPRESS}::test_the_next_one_folds_what_was_not_written",),
    ),
    Bug(
        "what_was_not_written_is_not_shown",
        "whoever reads progress folds on top what came since",
        "worker/results.py",
        "user_state(rules, row.state, row.unsaved)",
        "user_state(rules, row.state, ())",
        (f"{EXPRESS}::test_the_next_one_folds_what_was_not_written",),
    ),
    Bug(
        "what_was_written_is_folded_again",
        "whoever reads progress folds on top what came since, and nothing else",
        "sql/queries/progress.sql",
        "        AND (event.occurred_at, event.event_id) > (progress.mark_at, progress.mark_id)\n",
        "        AND (event.occurred_at, event.event_id) >= (progress.mark_at, progress.mark_id)\n",
        (f"{EXPRESS}::test_the_next_one_folds_what_was_not_written",),
    ),
    Bug(
        "late_events_not_written",
        "progress that is not written has missed nothing before its mark",
        "worker/express.py",
        "    due = {*attempt.absorbed, *(",
        "    due = {*(",
        (f"{EXPRESS}::test_the_next_one_folds_what_was_not_written",),
    ),
    Bug(
        "progress_not_written_at_a_checkpoint",
        "a checkpoint is left every so many events",
        "worker/express.py",
        "*(Subject(*point[:3]) for point in attempt.checkpoints)}",
        "*(Subject(*point[:3]) for point in attempt.checkpoints[:0])}",
        (f"{EXPRESS}::test_a_checkpoint_is_written_with_the_progress",),
    ),
    Bug(
        "progress_never_written_again",
        "what is not written is bounded",
        "worker/express.py",
        "        if unsaved >= SAVE_EVERY or user in due:\n",
        "        if standing.unsaved is None or user in due:\n",
        (f"{EXPRESS}::test_progress_is_written_now_and_then",),
    ),
    Bug(
        "what_another_one_has_not_written_does_not_count",
        "what is not written is bounded",
        "worker/ledger.py",
        "            unsaved=None if row.state is None else len(unsaved),\n",
        "            unsaved=None if row.state is None else 0,\n",
        (f"{EXPRESS}::test_what_another_one_has_not_written_counts",),
    ),
    Bug(
        "express_amends_what_was_revoked",
        "what an operator has revoked stays as it is",
        "sql/queries/unlock.sql",
        "WHERE unlock.unlock_id = rows.unlock_id AND unlock.revoked_at IS NULL;",
        "WHERE unlock.unlock_id = rows.unlock_id;",
        (f"{EXPRESS}::test_an_operator_revokes_between_reading_and_committing",),
    ),
    Bug(
        "express_does_not_count_what_it_amends",
        "one statement does nothing where an unlock has been revoked",
        "sql/queries/express.sql",
        "WHEN (SELECT count(*) FROM amended) < cardinality($53::uuid[])\n",
        "WHEN (SELECT count(*) FROM amended) < 0 * cardinality($53::uuid[])\n",
        (f"{EXPRESS}::test_an_operator_revokes_between_reading_and_committing",),
    ),
    Bug(
        "express_keeps_what_is_no_longer_earned",
        "what late evidence takes away is contested",
        "worker/express.py",
        "    if any(change.kind not in {Kind.AMENDED, Kind.RESTORED} for _, change in changes):\n",
        "    if not rules:\n",
        (f"{EXPRESS}::test_what_takes_a_grant_away_goes_the_long_way",),
    ),
    Bug(
        "strangers_introduced_whatever_has_moved",
        "who was found without a lock is expected where nothing has moved since",
        "worker/standing.py",
        "        if self._written.get(partition) == generation:\n",
        "        if partition in self._lives:\n",
        ("worker/test_standing.py",),
    ),
    Bug(
        "express_for_teams",
        "the ledger knows the events of a team",
        "worker/tale.py",
        "if subjects and subjects != (user,):",
        "if subjects and user not in subjects:",
        (f"{EXPRESS}::test_teams_go_the_long_way",),
    ),
    Bug(
        "express_moves_no_latest",
        "whatever has arrived is known to have",
        "worker/express.py",
        "        standing.latest = last\n",
        "        pass\n",
        (f"{EXPRESS}::test_what_is_late_and_no_news_costs_trust",),
    ),
    Bug(
        "express_grants_what_settles",
        "what settles is not announced before",
        "worker/grants.py",
        "granted=settles_at is None or settles_at <= clock)",
        "granted=settles_at is None or settles_at <= now)",
        (f"{EXPRESS}::test_what_settles_is_not_taken_for_granted",),
    ),
    Bug(
        "rest_of_a_divided_batch_forgotten",
        "a batch is acknowledged once all of it is committed",
        "worker/pipeline.py",
        "return await self._commit(rest, waiting=waiting) if rest.groups or rest.letters else []",
        "return []",
        (f"{EXPRESS}::test_who_is_new_or_late_goes_the_long_way_beside_it",),
    ),
    Bug(
        "letters_of_a_divided_batch_forgotten",
        "nothing is lost silently",
        "worker/pipeline.py",
        "return await self._commit(rest, waiting=waiting) if rest.groups or rest.letters else []",
        "return await self._commit(rest, waiting=waiting) if rest.groups else []",
        (f"{EXPRESS}::test_dead_letters_beside_the_express_way",),
    ),
    Bug(
        "pieces_not_counted",
        "a batch is acknowledged once every writer has committed its piece",
        "worker/intake.py",
        "whole = Whole(opened.held, batch, len(pieces))",
        "whole = Whole(opened.held, batch, 1)",
        (f"{PROTOCOL}::test_a_batch_is_acknowledged_when_every_piece_is_committed",),
    ),
    # -- the memory that writers share --
    Bug(
        "memory_valid_while_another_attempt_is_under_way",
        "nobody looks at what an attempt may have changed before it has ended",
        "worker/standing.py",
        "        known = owner == self.owner and self._written.pop(partition, None) == generation\n"
        "        if not known or partition in self._holds:\n",
        "        known = owner == self.owner and self._written.get(partition) == generation\n        if not known:\n",
        ("worker/test_standing.py",),
    ),
    Bug(
        "expected_while_another_attempt_is_under_way",
        "nobody looks at what an attempt may have changed before it has ended",
        "worker/standing.py",
        "current = standing.since == self._lives[partition] and partition in self._written",
        "current = standing.since == self._lives[partition]",
        ("worker/test_standing.py",),
    ),
    Bug(
        "late_word_of_a_commit_taken_for_the_last",
        "who hears late of a commit does not speak for the next one",
        "worker/standing.py",
        "mine = [partition for partition in hold.generations if self._holds.get(partition) is hold]",
        "mine = [partition for partition in hold.generations if partition in self._holds]",
        ("worker/test_standing.py",),
    ),
    # -- late events in place --
    Bug(
        "checkpoints_kept_that_missed_what_was_absorbed",
        "a checkpoint that has not seen a late event is forgotten",
        "worker/folding.py",
        "            if late:\n                attempt.absorbed[subject] = first\n",
        "",
        (f"{PROTOCOL}::test_checkpoints_that_have_not_seen_what_was_absorbed",),
    ),
    Bug(
        "absorbed_without_asking_the_judges",
        "what is absorbed moves no grant",
        "dsl/fold.py",
        "    return all(stays(state, position) for stays in entry.late.judges)\n",
        "    return True\n",
        LATE,
    ),
    Bug(
        "absorbed_though_it_repeats",
        "what is absorbed moves no occurrence",
        "dsl/judge.py",
        "        if self.version.repeat is not None:\n            return None\n        slot, after, node",
        "        slot, after, node",
        LATE,
    ),
    Bug(
        "half_absorbed",
        "what cannot be absorbed leaves no trace",
        "dsl/fold.py",
        "    for undo in reversed(taken):\n        undo(state)\n",
        "",
        LATE,
    ),
    Bug(
        "sequence_absorbs_whatever_it_lifts",
        "what is absorbed lifts no sequence",
        "dsl/nodes/sequence.py",
        "return None if done is None or done < highest else nothing",
        "return None if done is None else nothing",
        (f"{LATE[0]}::test_what_lifts_the_start_of_a_sequence_is_not_absorbed",),
    ),
)

BUGS: Final = (
    *_SERVING,
    *_RECORDING,
    *_JUDGING,
    *_GRANTING,
    *_HURRYING,
    *doors.BUGS,
    *changes.BUGS,
    *operators.BUGS,
    *erasure.BUGS,
    *connection.BUGS,
)

QUICK: Final = (
    "cache_kept_after_the_fence_moved",
    "nul_let_through",
    "dead_letter_outside_of_the_transaction",
    "step_although_late",
    "express_passes_over_events_that_are_there",
    "unlock_id_from_the_event",
    "restored_grant_announced_again",
)
"""Those that the quick run plants, one of each kind."""

HEAD: Final = """\
# Planted bugs

Who says that the tests would notice? Each of these changes breaks one promise of the engine on purpose. `just planted`
plants them one at a time in a copy of the source, and the tests must fail there, as they must pass in a copy without
any. The changes themselves are the tables in tests/faults/planted.py and tests/faults/plants/; this page is written by
that run.

| planted | then it is no longer true that | found by |
|---|---|---|
"""


def page(log: str) -> str:
    """Return the page that a run's log of `name<tab>test` lines makes; bugs that were not planted are left out."""
    found = dict(line.split("\t") for line in log.splitlines())
    rows = (f"| `{bug.name}` ({bug.path}) | {bug.breaks} | {found[bug.name]} |" for bug in BUGS if bug.name in found)
    return HEAD + "\n".join(rows) + f"\n\n{len(found)} planted, {len(found)} found.\n"


if __name__ == "__main__":
    sys.stdout.write(page(Path(sys.argv[1]).read_text("utf-8")))
