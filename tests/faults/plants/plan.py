"""Planted bugs: what new rules would change, before they are in force; and what they have changed."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

PLAN: Final = "integration/test_plan.py"
RECONCILE: Final = "integration/test_reconcile.py"
COMMAND: Final = "acceptance/test_plan_command.py"
COMMENT: Final = "worker/commands/test_plan_markdown.py"
EFFECTS: Final = "worker/engine/test_effects.py"
SHORTFALL: Final = "dsl/test_shortfall.py"
DIFFERENCES: Final = "worker/engine/test_rule_diff.py"

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "plan_trusts_the_state_alone",
        "a plan counts events that a stored state has not seen yet",
        at="sql:events_behind",
        old="occurred_at >= asked.mark_at",
        new="occurred_at < asked.mark_at",
        tests=(f"{PLAN}::test_events_that_no_state_has_seen_count", f"{PLAN}::test_drawn_changes"),
    ),
    Bug(
        "plan_forgets_what_is_stored",
        "a plan compares what is earned with the unlocks that are stored",
        at="FromStates._judged",
        old="return self._outcomes(folds, stored)",
        new="return self._outcomes(folds, {})",
        tests=(f"{PLAN}::test_a_higher_bound_and_what_follows",),
    ),
    Bug(
        "plan_stops_short_of_the_bound",
        "as many events as a count is short of reach its bound",
        at="FromStates._reaching",
        old="one.short <= number]",
        new="one.short < number]",
        tests=(f"{PLAN}::test_events_that_no_state_has_seen_count",),
    ),
    Bug(
        "plan_passes_over_a_tier_that_was_there",
        "unlocks of a tier are looked for if any rules ever had it",
        at="sql:ever_in_force",
        old="strpos(sources::text, tier) > 0",
        new="strpos(tier, sources::text) > 0",
        tests=(f"{PLAN}::test_a_tier_that_comes_back_finds_its_unlocks",),
    ),
    Bug(
        "plan_compares_numbers_as_words",
        "a state that says of many events is not passed over",
        at="sql:states_within_reach",
        old="20, '0') COLLATE",
        new="1, '0') COLLATE",
        tests=(f"{PLAN}::test_the_text_of_a_state_says_who_is_far",),
    ),
    Bug(
        "plan_loses_who_has_no_event",
        "a scan of the ledger yields those without an event too",
        at="FromStates._by_scan",
        old="folds |= await self._folds_aside(subjects[known:])",
        new="",
        tests=(f"{PLAN}::test_doubtful_users_are_read_in_one_scan",),
    ),
    Bug(
        "needed_of_one_part",
        "where k of n parts hold, one holds of any n - k + 1 of them",
        at="needed",
        old="enough = len(parts) - k + 1",
        new="enough = 1",
        tests=(SHORTFALL,),
    ),
    Bug(
        "shortfall_of_all_the_parts",
        "at_least(k) may hold once the k parts that are nearest hold",
        at="shortfall",
        old="sorted(short(state) for short in each)[k - 1]",
        new="sorted(short(state) for short in each)[-1]",
        tests=(SHORTFALL,),
    ),
    Bug(
        "shortfall_of_unlocks",
        "one event may bring several unlocks, so a count of them may reach its bound by it",
        at="dsl.shortfall:_counts",
        old="return by_ones and UNLOCKS not in total.types",
        new="return by_ones",
        tests=(SHORTFALL,),
    ),
    Bug(
        "plan_forgets_what_settles",
        "what an apply withdraws at once is part of a plan",
        at="preview",
        old="await _look_at_retired(session, rules, seen, clock=books.clock)",
        new="",
        tests=(f"{PLAN}::test_what_settles_is_foreseen_by_the_clock",),
    ),
    Bug(
        "plan_by_members_of_today",
        "the subjects of a field are those that the new rules make of the events",
        at="Events.all",
        old="return self._by_field()",
        new="return _no_events()",
        tests=(f"{PLAN}::test_scopes_of_fields_and_tenants",),
    ),
    Bug(
        "plan_blames_itself",
        "what only names a changed achievement is a consequence of it",
        at="Effects._under",
        old="if achievement in self._direct:",
        new="if achievement:",
        tests=(f"{EFFECTS}::test_consequences_are_listed_with_their_cause",),
    ),
    Bug(
        "plan_of_a_normal_interval",
        "an interval says that what was not seen may be there",
        at="interval",
        old="middle = (share + z2 / (2 * looked_at)) / (1 + z2 / looked_at)",
        new="middle = share",
        tests=(f"{EFFECTS}::test_wilson",),
    ),
    Bug(
        "plan_used_wrongly_says_changes",
        "2 stands for changes alone",
        at="_errors_are_1",
        old='vars(error)["exit_code"] = 1',
        new='vars(error)["exit_code"] = 2',
        tests=(f"{COMMAND}::test_mistakes_end_with_1",),
    ),
    Bug(
        "plan_file_of_what_is_refused",
        "no plan is written that an apply would refuse",
        at="plan:_write",
        old="any(not one.by_declarations for one in seen.refused)",
        new="False",
        tests=(f"{COMMAND}::test_mistakes_end_with_1",),
    ),
    Bug(
        "plan_hides_a_contract",
        "a contract that changes names the achievements that read it",
        at="_Compared.contracts",
        old="readers[place][key[0]] = None",
        new="pass",
        tests=(f"{DIFFERENCES}::test_contracts_name_what_they_touch",),
    ),
    # -- what a change has decided --
    Bug(
        "reconciled_with_every_change",
        "a reconciliation counts the decisions of one change",
        at="sql:reconciled",
        old="WHERE change_id = :change_id",
        new="WHERE change_id <= :change_id OR decision <> ''",
        tests=(f"{RECONCILE}::test_the_numbers_are_those_of_the_plan",),
    ),
    Bug(
        "decided_counts_as_unchanged",
        "what a change has decided about is not unchanged",
        at="sql:unchanged_by_change",
        old="NOT IN (",
        new="IN (",
        tests=(f"{RECONCILE}::test_unchanged_is_what_stands_without_a_decision",),
    ),
    Bug(
        "page_runs_what_it_shows",
        "a page of a change shows names as text",
        at="reconcile.page:_safe",
        old="return escape(visible(text))",
        new="return visible(text)",
        tests=("worker/commands/test_reconcile_page.py::test_what_it_shows_is_text",),
    ),
    Bug(
        "comment_names_users",
        "a plan as a comment names no user",
        at="_without_names",
        old="replace(effect, examples=[])",
        new="effect",
        tests=(f"{COMMENT}::test_the_comment",),
    ),
    Bug(
        "comment_names_the_operator",
        "a plan as a comment names no operator",
        at="_without_names",
        old="replace(preview, applied_by=None, achievements=achievements)",
        new="replace(preview, achievements=achievements)",
        tests=(f"{COMMENT}::test_the_comment",),
    ),
    Bug(
        "rules_end_the_block_of_code",
        "what rules say stays within the block of code of a comment",
        at="_fence",
        old="max(3, longest + 1)",
        new="max(3, longest)",
        tests=(f"{COMMENT}::test_rules_cannot_leave_the_block_of_code",),
    ),
    Bug(
        "comment_hides_what_it_has",
        "every character of a comment is seen",
        at="markdown:markdown",
        old="_shortened(visible(line.text))",
        new="_shortened(line.text)",
        tests=(f"{COMMENT}::test_rules_cannot_leave_the_block_of_code",),
    ),
    Bug(
        "comment_without_end",
        "a host takes the comment, however much changes",
        at="markdown:markdown",
        old="list(_within(page, LARGEST))",
        new="page",
        tests=(f"{COMMENT}::test_a_comment_is_bounded",),
    ),
    Bug(
        "comment_lists_users",
        "a comment does not list the users of each decision",
        at="plan:command",
        old='if given["listed"] and form == "markdown":',
        new="if False:",
        tests=(f"{COMMAND}::test_mistakes_end_with_1",),
    ),
)
