"""Filters, lists of values, and what dsl/expand writes out."""

from __future__ import annotations

from typing import Final

from tests.faults.plants.bug import Bug

BUGS: Final = (
    Bug(
        "lists_of_one_more",
        "an event that breaks its contract is a dead letter",
        at="_MOST",
        old="max_length=MAX_ELEMENTS",
        new="max_length=MAX_ELEMENTS + 1",
        tests=("dsl/test_payload.py::test_lists_and_users_break_the_contract",),
    ),
    Bug(
        "users_counted_by_character",
        "an event that breaks its contract is a dead letter",
        at="_from_user",
        old="len(value.encode()) <= MAX_USER_BYTES",
        new="len(value) <= MAX_USER_BYTES",
        tests=("dsl/test_payload.py::test_lists_and_users_break_the_contract",),
    ),
    Bug(
        "products_rounded",
        "the result depends only on the set of events",
        at="dsl.expressions:_EXACT",
        old='"*": _WIDE.multiply',
        new='"*": Decimal.__mul__',
        tests=("dsl/test_expressions.py::test_arithmetic_is_exact",),
    ),
    Bug(
        "absent_operands_are_nothing",
        "a comparison with an absent field is false",
        at="dsl.expressions:_arithmetic",
        old="if one is None or two is None:\n            return None",
        new="one, two = one or 0, two or 0",
        tests=("dsl/test_expressions.py::test_what_is_absent_makes_a_comparison_false",),
    ),
    Bug(
        "absent_lists_are_empty",
        "a comparison with an absent field is false",
        at="dsl.filters:_contains",
        old="left is not None and values is not None and (left in values) is wanted",
        new="left is not None and (left in (values or ())) is wanted",
        tests=("dsl/test_expressions.py::test_what_is_absent_makes_a_comparison_false",),
    ),
    Bug(
        "elements_counted_by_place",
        "a count of different values counts each once",
        at="DistinctKeys.gated",
        old="_fill(node.seen, keys, cap)",
        new='_fill(node.seen, [f"{key}{n}" for n, key in enumerate(keys)], cap)',
        tests=("dsl/test_expressions.py::test_an_element_that_occurs_twice_is_one_value",),
    ),
    Bug(
        "days_of_all_zones_are_one_count",
        "equal aggregates are one, and others are not",
        at="dsl.conditions:_name",
        old='"" if ZONED.keys().isdisjoint(names) else f"@{clock.key}"',
        new='""',
        tests=("dsl/test_expressions.py::test_days_of_two_zones_are_two_counts",),
    ),
    Bug(
        "elements_prove_events",
        "what is proven to follow follows",
        at="_Proof._number",
        old="number = 1 if self._several(one) else at_least(one.cmp)",
        new="number = at_least(one.cmp)",
        tests=("dsl/test_expressions.py::test_elements_of_one_event_prove_one_event",),
    ),
    Bug(
        "opaque_comparisons_claimed",
        "what is proven to be possible is",
        at="dsl.prove.predicates:_try",
        old="UNDECIDED if found.found and any(name.startswith(OPAQUE) for name in known) else found",
        new="found",
        tests=("dsl/test_expressions.py::test_comparisons_of_two_fields_are_not_decided",),
    ),
    Bug(
        "members_in_capitals",
        "a family means the same as its members written out",
        at="dsl.expand.families:slug",
        old="text.lower()",
        new="text",
        tests=("dsl/test_expand.py::test_what_is_short_means_what_it_stands_for",),
    ),
    Bug(
        "all_and_one_more",
        "a bound `all` is the length of its list",
        at="_Names._counted",
        old="bound=number or 1",
        new="bound=(number or 1) + 1",
        tests=("dsl/test_expand.py::test_what_is_short_means_what_it_stands_for",),
    ),
    Bug(
        "families_without_a_limit",
        "bad input gives a diagnostic quickly",
        at="Families._elements",
        old="len(elements) > MAX_MEMBERS",
        new="len(elements) > MAX_MEMBERS + 1",
        tests=("dsl/test_expand.py::test_a_family_has_a_limit",),
    ),
    Bug(
        "long_lists_are_parsed",
        "bad input gives a diagnostic quickly",
        at="dsl.parse.long_lists:_too_long",
        old="_elements(text, start, end) > MAX_ELEMENTS",
        new="_elements(text, start, end) > 100 * MAX_ELEMENTS",
        tests=("dsl/test_hostile.py::test_families_and_expressions_have_bounds",),
    ),
)
