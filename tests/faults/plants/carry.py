"""Planted bugs: states that are carried over a change of rules."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug, Edit

UNIT: Final = "dsl/test_carry.py"
EDITS: Final = "property/test_carry.py::test_drawn_edits"
DECIDE: Final = "property/test_decide.py"
CHANGING: Final = "integration/test_carried.py"
AHEAD: Final = "integration/test_ahead.py"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "carried_over_contracts",
        "what read a field by another contract is folded again",
        at="Texts._aggregate",
        old="Reads(entry.types, entry.reads, traits)",
        new="Reads(entry.types, frozenset(), traits)",
        tests=(f"{UNIT}::test_what_a_rule_reads_is_folded_again",),
    ),
    Bug(
        "carried_over_plans_between",
        "what a plan in between did not remember has missed events",
        at="Carriage._all_alike",
        old="all(each is not None and alike(each, last, self._ignored) for each in before)",
        new="before[0] is not None and alike(before[0], last, self._ignored) if before else True",
        tests=(f"{UNIT}::test_plans_between_have_to_remember_it_too",),
    ),
    Bug(
        "carried_behind_a_new_version",
        "what was earned behind the start of a new version is judged by that",
        at="_settled",
        old="had is not None and ruled.once and had.first.at < ruled.since",
        new="had is not None and ruled.once",
        tests=(EDITS,),
    ),
    Bug(
        "carried_without_what_lasts",
        "an achievement whose condition may fall back is not proved unearned",
        at="Carriage._never",
        old="if not judge.lasts or not absent.isdisjoint(judge.asked) or judge.holds(state):",
        new="if not absent.isdisjoint(judge.asked) or judge.holds(state):",
        tests=(f"{UNIT}::test_a_sum_that_may_fall_proves_nothing",),
    ),
    Bug(
        "carried_with_an_empty_node",
        "a node that only events can fill proves nothing",
        at="Carriage._never",
        old="if not judge.lasts or not absent.isdisjoint(judge.asked) or judge.holds(state):",
        new="if not judge.lasts or judge.holds(state):",
        tests=(f"{UNIT}::test_a_node_that_is_missing_proves_nothing_unless_it_has_no_events",),
    ),
    Bug(
        "part_without_what_it_names",
        "what needs events is folded with what it names",
        at="carry:_closed",
        old="more = _named(plan, waiting.pop()) - closed",
        new="more = _named(plan, waiting.pop()) & closed",
        tests=(EDITS,),
    ),
    Bug(
        "values_at_the_bound_are_all",
        "distinct values are all that there were only below the bound",
        at="fit:_distinct",
        old="whole = len(seen) < before",
        new="whole = len(seen) <= before",
        tests=(f"{UNIT}::test_values_at_the_highest_bound_are_not_all",),
    ),
    Bug(
        "part_folded_behind_the_mark",
        "a part is folded up to the mark of the state that it is put into",
        at="PartFold.feed",
        old="known = events[: bisect_right(events, (mark.at, mark.id), key=canonical_order)]",
        new="known = events",
        tests=(DECIDE,),
    ),
    Bug(
        "decided_anew_and_not_complete",
        "what rules take back of earlier grants is contested",
        at="decide:_compare",
        old="frozenset[tuple[str, str]]() if refold.anew is None else refold.anew.rulings",
        new="frozenset[tuple[str, str]]()",
        tests=(f"{CHANGING}::test_a_raised_bound_contests_without_events_and_amends_with_them",),
    ),
    Bug(
        "carried_with_decisions_and_not_saved",
        "a state that something was decided about is saved",
        at="_as_they_were",
        old="if one.as_it_was and subject not in moved and",
        new="if one.as_it_was and",
        tests=(f"{CHANGING}::test_a_tier_is_granted_to_those_who_reach_it",),
    ),
    Bug(
        "mark_of_a_dropped_type_kept",
        "progress is measured at the last event that a rule hears",
        at="fold_ahead",
        old="await find_marks(session, rules, refolds)",
        new="",
        tests=(f"{CHANGING}::test_progress_is_measured_at_the_last_event_that_is_heard",),
    ),
    Bug(
        "backfill_of_states_alone",
        "a backfill visits subjects with events that something new reads",
        at="outdated:searches",
        old="if past.base is None or past.types:",
        new="if past.base is None:",
        tests=(f"{CHANGING}::test_what_is_new_is_built_for_those_who_have_events_of_it",),
    ),
    Bug(
        "backfill_of_events_alone",
        "a backfill visits subjects whose states say that something is judged otherwise",
        at="outdated:_differs",
        old="if not carried.certain or carried.lost:",
        new="if not carried.certain:",
        tests=(f"{CHANGING}::test_a_raised_bound_contests_without_events_and_amends_with_them",),
    ),
    # -- folded without a lock --
    Bug(
        "overwritten_what_came_in_meanwhile",
        "a build does not overwrite what a live event has done since it looked",
        at="sql:unmoved_subjects",
        old="coalesce(progress.xmin::text::bigint, 0) = asked.version",
        new="asked.version >= 0",
        tests=(f"{AHEAD}::test_what_came_in_meanwhile_is_kept",),
    ),
    Bug(
        "erased_user_comes_back",
        "a build writes nothing of a user who was erased since it looked",
        at="sql:unmoved_subjects",
        old="asked.witness = '' OR EXISTS (",
        new="asked.witness >= '' OR EXISTS (",
        also=(
            Edit(
                "sql:unmoved_subjects",
                "asked.version <> 0 OR :scope <> 'user'",
                "asked.version >= 0 OR :scope <> 'user'",
            ),
        ),
        tests=(f"{AHEAD}::test_an_erased_user_does_not_come_back",),
    ),
    Bug(
        "tenant_folded_with_the_erased",
        "a build writes nothing of a tenant whose events were erased since it looked",
        at="visit:_place_rows",
        old='await session.run("place_void_states", scope=scope, now=work.now(), **names)',
        new="",
        tests=(f"{AHEAD}::test_a_tenant_without_a_state_is_folded_without_the_erased",),
    ),
    Bug(
        "long_history_left_out_of_a_sweep",
        "users with a long history are folded with all of it",
        at="Chunk.read",
        old="if subject in self.long or subject not in self.events:",
        new="if subject not in self.events:",
        tests=(f"{AHEAD}::test_a_sweep_reaches_all_users_slice_by_slice",),
    ),
    Bug(
        "place_noted_before_it_is_written",
        "a build that was interrupted goes on behind what it has written",
        at="visit:_settle",
        old="await pieces.flush()",
        new="",
        tests=(f"{AHEAD}::test_a_sweep_goes_on_where_it_was",),
    ),
    Bug(
        "builds_never_rest",
        "a build rests as long as it works while there is live work",
        at="Courtesy.rest",
        old="max(self._pause, worked)",
        new="min(self._pause, worked)",
        tests=("worker/engine/test_pace.py::test_a_build_rests_as_long_as_it_works_while_there_is_live_work",),
    ),
)
