"""Planted bugs: step or refold, and the meaning of the language."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

FOLD: Final = ("property/test_fold.py",)
REFERENCE: Final = ("acceptance/test_fixtures.py::test_a_stream_grants_what_was_expected", *FOLD)
PIPELINE: Final = "integration/test_pipeline.py"
EXACT: Final = "property/test_exact.py"
PROTOCOL: Final = "faults/test_protocol.py"
EDGES: Final = "faults/test_edges.py"
DRAWN: Final = ("faults/test_metamorphic.py::test_drawn_rules_through_the_database[1]",)

BUGS: Final[tuple[Bug, ...]] = (
    # -- step or refold --
    Bug(
        "step_although_late",
        "what is late is folded again",
        at="late_among",
        old="if mark is None or (mark.at, mark.id) < canonical_order(events[0]):",
        new="if mark is None or events:",
        tests=(f"{PIPELINE}::test_late_events_fold_as_if_they_had_been_in_time",),
    ),
    Bug(
        "late_event_lost",
        "a late event counts like any other",
        at="decide:_move",
        old="look.refolds[subject], look.folded[subject] = Position(heard[0].at, heard[0].id), 0",
        new="pass",
        tests=(f"{PIPELINE}::test_late_events_fold_as_if_they_had_been_in_time",),
    ),
    Bug(
        "mark_not_advanced",
        "the mark is the last event folded",
        at="fold:_step",
        old="state.mark = Position(last.at, last.id)",
        new="state.mark = state.mark or Position(last.at, last.id)",
        tests=FOLD,
    ),
    Bug(
        "refold_without_the_batch",
        "a refold sees the events of its own batch",
        at="sql:events_of_users",
        old="JOIN event ON event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id",
        new="""
            JOIN event ON event.tenant_id = asked.tenant_id AND event.user_id = asked.user_id
                AND event.xmin::text <> pg_current_xact_id()::xid::text
            """,
        tests=(f"{PIPELINE}::test_late_events_fold_as_if_they_had_been_in_time",),
    ),
    Bug(
        "stale_checkpoints_kept",
        "a checkpoint that has not seen a late event is forgotten",
        at="sql:forget_checkpoints",
        old="AND (checkpoint.mark_at, checkpoint.mark_id) >= (late.occurred_at, late.event_id);",
        new="AND (checkpoint.mark_at, checkpoint.mark_id) = (late.occurred_at, late.event_id);",
        tests=(f"{PROTOCOL}::test_checkpoints_that_have_not_seen_what_was_folded_anew",),
    ),
    Bug(
        "ledger_read_by_arrival",
        "canonical order is by instant and id",
        at="sql:events_of_users",
        old="ORDER BY asked.n, occurred_at, event.event_id;",
        new="ORDER BY asked.n, stream_seq, event.event_id;",
        tests=DRAWN,
    ),
    Bug(
        "ties_left_to_arrival",
        "canonical order is by instant and id",
        at="sql:events_of_users",
        old="ORDER BY asked.n, occurred_at, event.event_id;",
        new="ORDER BY asked.n, occurred_at, stream_seq;",
        tests=(f"{PROTOCOL}::test_ties_are_broken_by_id_and_not_by_arrival",),
    ),
    Bug(
        "order_by_id_alone",
        "canonical order is by instant first",
        at="canonical_order",
        old='attrgetter("at", "id")',
        new='attrgetter("id")',
        tests=FOLD,
    ),
    Bug(
        "batch_stepped_as_it_came",
        "a batch is stepped in canonical order",
        at="SubjectEvents.put_in_order",
        old="sorted(self.heard, key=canonical_order)",
        new="self.heard",
        tests=DRAWN,
    ),
    Bug(
        "first_of_the_batch_taken_for_its_earliest",
        "a batch is as late as its earliest event",
        at="decide:_move",
        old="look.refolds[subject], look.folded[subject] = Position(heard[0].at, heard[0].id), 0",
        new="look.refolds[subject], look.folded[subject] = Position(heard[-1].at, heard[-1].id), 0",
        tests=(f"{PROTOCOL}::test_a_batch_is_as_late_as_its_earliest_event",),
    ),
    Bug(
        "encode_loses_a_field",
        "a state that is written and read is the same state",
        at="encode",
        old='return _PREFIX + _encoder.encode(state) + b"]"',
        new="""
            state = State(state.mark, state.nodes, state.earned, state.traits, suppressed=state.suppressed)
            return _PREFIX + _encoder.encode(state) + b"]"
            """,
        tests=(f"{EDGES}::test_a_state_that_is_written_and_read_is_the_same_state",),
    ),
    Bug(
        "backfill_skips_a_subject",
        "a backfill reaches every user",
        at="Pieces._write",
        old="piece, waiting = waiting[:size], waiting[size:]",
        new="piece, waiting = waiting[:size], waiting[size + 1 :]",
        tests=(f"{PROTOCOL}::test_a_backfill_reaches_all_users",),
    ),
    Bug(
        "sweep_skips_what_it_left",
        "a slice that live work has ended goes on with the user behind the last one",
        at="Sweep.slice",
        old="self.after = chunk.last",
        new="self.after = upto",
        tests=("integration/test_ahead.py::test_a_large_slice_is_left_once_there_is_live_work",),
    ),
    Bug(
        "users_of_one_hash_are_one",
        "users whose names have the same hash have each their own events",
        at="worker.admin.hashed_events:runs_of",
        old="if tenants[here:at].count(tenant) < length or users[here:at].count(user) < length:",
        new="if not length:",
        tests=("worker/admin/test_hashed_events.py",),
    ),
    Bug(
        "sweep_reads_payloads_of_all_rules",
        "a sweep reads no payload that nothing new looks at",
        at="outdated:_swept",
        old="if not plans or len(plans) < len(parts) or not swept.types >= heard:",
        new="if plans or len(plans) < len(parts) or not swept.types >= heard:",
        tests=("integration/test_ahead.py::test_no_payload_is_read_that_nothing_new_looks_at",),
    ),
    Bug(
        "backfill_skips_between_pages",
        "a backfill reaches every user",
        at="Sweep.slice",
        old="self.after = upto",
        new="self.after = LAST",
        tests=("integration/test_ahead.py::test_a_sweep_reaches_all_users_slice_by_slice",),
    ),
    # -- the meaning of the language --
    Bug(
        "sums_of_floats",
        "sums are exact",
        at="add",
        old="result: Decimal = EXACT.add(total, amount)",
        new="result: Decimal = EXACT.create_decimal(repr(float(total) + float(amount)))",
        tests=(
            "property/test_reference.py",
            "acceptance/test_fixtures.py::test_a_stream_grants_what_was_expected",
            *FOLD,
        ),
    ),
    Bug(
        "window_closed_at_its_end",
        "a window is shorter than its length",
        at="Within.gated",
        old="if start is not None and event.at - start.at < length:",
        new="if start is not None and event.at - start.at <= length:",
        tests=REFERENCE,
    ),
    Bug(
        "once_per_by_the_last_copy",
        "the first of its fingerprint counts, and the others do not",
        at="fold:_counts",
        old="return False",
        new="""
            counted[key] = event.at
            return False
            """,
        tests=REFERENCE,
    ),
    Bug(
        "fingerprints_swept_early",
        "a copy is a copy as long as the span says, however many others there are",
        at="fold:_counts",
        old="if at <= horizon]:",
        new="if at < event.at]:",
        tests=(f"{PROTOCOL}::test_a_copy_among_many_fingerprints",),
    ),
    Bug(
        "unless_by_the_same_event",
        "what lies at the event that breaks it is broken",
        at="Unless.stepper",
        old="if start is not None and (node.last is None or start > node.last):",
        new="if start is not None and (node.last is None or start >= node.last):",
        tests=(f"{EDGES}::test_what_breaks_a_condition_cannot_also_make_it",),
    ),
    Bug(
        "repeat_each_goes_on_counting",
        "after each unlock the condition starts afresh",
        at="Judge._record_each",
        old="""
            for node in own:
                state.nodes.pop(node, None)
            """,
        new="del state",
        tests=REFERENCE,
    ),
    Bug(
        "version_by_an_inclusive_end",
        "one version is in effect at an instant",
        at="Judge.stepper",
        old="if not low <= event.at < high:",
        new="if not low <= event.at <= high:",
        tests=(f"{EDGES}::test_one_version_is_in_effect_at_an_instant",),
    ),
    Bug(
        "version_of_once_by_an_inclusive_end",
        "one version is in effect at an instant",
        at="Judge._once",
        old="or not low <= event.at < high or",
        new="or not low <= event.at <= high or",
        tests=(f"{EDGES}::test_one_version_is_in_effect_at_an_instant",),
    ),
    Bug(
        "alternatives_one_in_another",
        "a pattern may have any number of alternatives",
        at="any_of",
        old="""
            return tests[0] if len(tests) == 1 else lambda state, event: any(test(state, event) for test in tests)
            """,
        new="""
            made = tests[0]
            for test in tests[1:]:
                made = (lambda one, two: lambda state, event: one(state, event) or two(state, event))(made, test)
            return made
            """,
        tests=("faults/test_rules_as_code.py::test_ten_thousand_parts",),
    ),
    Bug(
        "grace_of_one_more",
        "a run bridges so many units and no more",
        at="Streaks.runs",
        old="length = length + 1 if last is not None and index - last - 1 <= self.grace else 1",
        new="length = length + 1 if last is not None and index - last - 1 <= self.grace + 1 else 1",
        tests=REFERENCE,
    ),
    Bug(
        "bound_of_a_run_seen_late",
        "a count in bulk is judged at the event that reaches its bound",
        at="in_bulk:counting",
        old="for place in range(max(0, first - before - 1), len(events)):",
        new="for place in range(max(0, first - before), len(events)):",
        tests=("property/test_strands.py::test_strands_agree_with_the_fold_event_by_event",),
    ),
    Bug(
        "units_of_a_run_sealed_early",
        "a streak in bulk seals the units that one event after the other would have sealed",
        at="in_bulk:streaks",
        old="_seal(node, actives, lengths, unit_index(unit, begin.at - MAX_OFFSET))",
        new="_seal(node, actives, lengths, unit_index(unit, begin.at))",
        tests=("property/test_strands.py::test_strands_agree_with_the_fold_event_by_event",),
    ),
    Bug(
        "strand_that_others_look_at",
        "an aggregate that other judges look at is no strand",
        at="strands:strands_of",
        old="own = asking[entry.aggregate.slot]",
        new="own = {key: judge for key, judge in asking[entry.aggregate.slot].items() if key in rung_of}",
        tests=("property/test_strands.py",),
    ),
    Bug(
        "strand_with_copies",
        "an aggregate that hears copies or traits is no strand",
        at="strands:strands_of",
        old="if not own or not own.keys() <= rung_of.keys() or not entry.types <= plain:",
        new="if not own or not own.keys() <= rung_of.keys():",
        tests=("property/test_strands.py",),
    ),
    Bug(
        "strand_in_the_zone_of_a_user",
        "an aggregate whose zone another event moves is no strand",
        at="strands:_strand",
        old="if USER_ZONE in entry.key():",
        new="if USER_ZONE in entry.key() and isinstance(aggregate, Streaks):",
        tests=("property/test_strands.py",),
    ),
    Bug(
        "strand_that_others_name",
        "an achievement that another one comes after is judged at its event, before that one",
        at="strands:strands_of",
        old="if not names and judge.version.name.text not in named and (rung := judge.rung()) is not None",
        new="if not names and (rung := judge.rung()) is not None",
        tests=("property/test_strands.py",),
    ),
)
