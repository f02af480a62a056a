"""Planted bugs: the parser's tables, the speed of the tools, and what an author gets to read."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

GRAMMAR: Final = "dsl/test_grammar.py"
INTENTS: Final = "dsl/test_intents.py::test_a_hint_says_what_to_write_and_that_checks"
GOLDEN: Final = "dsl/test_golden.py::test_golden"
TIES: Final = "dsl/test_ties.py"

BUGS: Final = (
    Bug(
        "stale_tables",
        "tables of another grammar are refused",
        at="dsl.parse.lalr:tables",
        old="if read.grammar != checksum(grammar()):",
        new="if False:",
        tests=(f"{GRAMMAR}::test_tables_of_another_grammar_are_refused",),
    ),
    Bug(
        "torn_tables",
        "tables that a merge has left in pieces say how to mend them",
        at="dsl.parse.lalr:tables",
        old="except msgspec.DecodeError as error:",
        new="except UnicodeDecodeError as error:",
        tests=(f"{GRAMMAR}::test_tables_that_do_not_fit_are_refused",),
    ),
    Bug(
        "absent_parts_dropped",
        "a part of a rule that is left out is None for the builder",
        at="_chosen",
        old="chosen += [None] * before",
        new="chosen += [None] * (before - 1)",
        tests=(f"{GRAMMAR}::test_parts_that_are_left_out_are_none_as_with_lark",),
    ),
    Bug(
        "expected_too_much",
        "a message lists the tokens that could stand there, and no others",
        at="Parser._expected",
        old="if kind.isupper() and self._goes_on(stack, kind)",
        new="if kind.isupper()",
        tests=(f"{GRAMMAR}::test_it_stumbles_where_lark_does",),
    ),
    Bug(
        "rich_in_pipes",
        "commands that run at every save load nothing for terminals",
        at="_console",
        old="return _paper(file) if file.isatty() or any(name in os.environ for name in _FORCED) else Plain(file)",
        new="return _paper(file)",
        tests=("worker/commands/test_lazy_group.py::test_commands_of_every_day_load_nothing_that_takes_long",),
    ),
    Bug(
        "suggested_filter_means_more",
        "a suggested filter keeps what was written: `or` is put in brackets before `and` is added",
        at="dsl.parse.intents.arguments:filters",
        old=r'tests.insert(0, f"({before})" if re.search(r"\bor\b", before) else before)',
        new="tests.insert(0, before)",
        tests=(INTENTS,),
    ),
    Bug(
        "suggested_unless_lost",
        "a step with `not` becomes the `unless` of the whole",
        at="_Steps._take",
        old="self.unless.append(found[1])",
        new="pass",
        tests=(INTENTS,),
    ),
    Bug(
        "suggestion_in_the_wrong_place",
        "a suggestion takes the place of the call that it is written for",
        at="dsl.parse.intents.never:never",
        old='return Meant(f"{why}; `unless=` begins afresh at each `{first_of(event)}`", whole, around)',
        new='return Meant(f"{why}; `unless=` begins afresh at each `{first_of(event)}`", whole, call)',
        tests=(INTENTS,),
    ),
    Bug(
        "any_is_all",
        "a part of `any` that has an `unless` is no trap",
        at="_held_once",
        old="if node.k < _WHOLE or node.mods.unless is not None:",
        new="if node.mods.unless is not None:",
        tests=(GOLDEN,),
    ),
    Bug(
        "old_dates_reported",
        "dates of an earlier version may be over",
        at="advise_on_dates",
        old="version = versions[-1]",
        new="version = versions[0]",
        tests=(GOLDEN,),
    ),
    Bug(
        "ties_of_lost_grants_unseen",
        "a tie that earned something is named, as well as one that kept something from being earned",
        at="dsl.explain.ties:ties",
        old="if after != before:",
        new="if after - before:",
        tests=(f"{TIES}::test_what_was_earned_by_a_tie_says_so",),
    ),
    Bug(
        "ties_of_some_orders_alone",
        "three steps at one instant are tried in every order",
        at="dsl.explain.ties:ties",
        old="for order in islice(permutations(group), 1, MOST_ORDERS):",
        new="for order in [group[::-1]]:",
        tests=(f"{TIES}::test_three_steps_at_one_instant_are_tried_in_every_order",),
    ),
    Bug(
        "broken_streak_of_a_condition",
        "a streak of a condition that broke is explained",
        at="broken_at",
        old="isinstance(tree, Streak | StreakUnits)",
        new="isinstance(tree, Streak)",
        tests=("dsl/test_explain.py::test_stories_are_explained_as_before",),
    ),
    Bug(
        "all_of_one_list_for_a_family",
        "each member of a family counts the values of its own list",
        at="_Names._all",
        old="elif _has_hole(node.event):",
        new="elif False:",
        tests=("dsl/test_expand.py::test_what_is_short_means_what_it_stands_for",),
    ),
    Bug(
        "all_of_anything",
        "`>= all` is a bound of a count of values, and of nothing else",
        at="_Names._all",
        old='self._refuse(cmp, "`all` is a bound of `count` with `distinct=F` only: the length of a list")',
        new="pass",
        tests=("dsl/test_expand.py::test_only_a_count_of_the_values_of_one_list_is_of_all",),
    ),
    Bug(
        "reason_before_the_clock",
        "a failed example is explained as of its `until`",
        at="worker.commands.test:_why",
        old="until_of(verdict.example)",
        new="None",
        tests=("worker/commands/test_test.py::test_a_reason_is_as_of_the_clock_of_the_example",),
    ),
    Bug(
        "reset_under_repeat_by",
        "an `unless` that resets all groups is reported where `repeat by` makes them",
        at="dsl.advice.groups:_repeated",
        old="if isinstance(version.repeat, RepeatBy) else ()",
        new="if version.repeat is None else ()",
        tests=(GOLDEN,),
    ),
)
