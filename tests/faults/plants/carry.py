"""Planted bugs: states that are carried over a change of rules."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

UNIT: Final = "dsl/test_carry.py"
EDITS: Final = "property/test_carry.py::test_drawn_edits"
DECIDE: Final = "property/test_decide.py"
CHANGING: Final = "integration/test_carried.py"

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
        old="if mark is not None and canonical_order(event) <= (mark.at, mark.id)",
        new="if mark is not None",
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
        old="if refold.as_it_was and subject not in moved and",
        new="if refold.as_it_was and",
        tests=(f"{CHANGING}::test_a_tier_is_granted_to_those_who_reach_it",),
    ),
    Bug(
        "mark_of_a_dropped_type_kept",
        "progress is measured at the last event that a rule hears",
        at="backfill:_bring_up_to_date",
        old="await _find_marks(session, rules, refolds)",
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
)
