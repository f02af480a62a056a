"""Families, lists and ladders mean what they stand for, written out, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.check import check
from dsl.compile import compile_rules
from dsl.expand import expand
from dsl.format import strip_spans
from dsl.parse import parse
from dsl.ruleset import build
from dsl.source import Source
from dsl.syntax import Count, Or
from tests.reference.written_out import written_out

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from dsl.schema import Rules
    from dsl.syntax import Achievement, Predicate

EVENTS: Final = "event e { pet: string, color: string, n: int, tags: [string] }\n"
ELEMENTS: Final = ("wolf", "Red Fox", "tiger-2", "panda", "élan")


def rules_of(text: str) -> Rules:
    built = build([("rules.ach", text.encode())])
    assert built.errors == 0, [problem.message for problem in built.problems]
    return built.rules


def versions(rules: Rules) -> dict[str, list[Achievement]]:
    """Return every version without places, sorted by name."""
    return {name: [_bare(each) for each in rules.achievements[name]] for name in sorted(rules.achievements)}


def _bare(version: Achievement) -> Achievement:
    # The order of clauses is for the formatter, and is that of the text.
    return strip_spans(msgspec.structs.replace(version, order=()))


def states(rules: Rules) -> dict[str, set[str]]:
    """Return the canonical form of all that a program remembers and judges, by scope."""
    plans = compile_rules(rules).scopes
    return {
        scope: {judge.described for ruling in plan.rulings for judge in ruling.judges} for scope, plan in plans.items()
    }


def same(short: str) -> None:
    long = written_out(short)
    assert "for each" not in long
    assert "$" not in long
    one, two = rules_of(short), rules_of(long)
    assert versions(one) == versions(two)
    assert states(one) == states(two)
    assert [strip_spans(each) for each in one.examples] == [strip_spans(each) for each in two.examples]


@st.composite
def families(draw: DrawFn) -> str:
    """Draw rules with lists, families, ladders and examples, a clause a line."""
    pets = draw(st.lists(st.sampled_from(ELEMENTS), min_size=1, max_size=4, unique=True))
    levels = draw(st.lists(st.integers(-2, 5), min_size=1, max_size=3, unique=True))
    quoted = ", ".join(f'"{pet}"' for pet in pets)
    numbers = ", ".join(map(str, levels))
    which = draw(st.sampled_from(("pets", f"[{quoted}]")))
    bound = draw(st.sampled_from(("distinct=pet, >= all", ">= 2", "distinct=color, >= 2, within=1d")))
    text = (
        f"list pets = [{quoted}]\nlist levels = [{numbers}]\n{EVENTS}"
        f'achievement zoo {{\n  title "Zoo"\n  when  count(event=e where pet in pets, {bound})\n}}\n'
        f'achievement kind for each kind in {which} {{\n  title "{{kind}} of {{kind}}"\n'
        f'  about "{{n}}"\n  when  count(event=e where color = $kind and $kind in tags and pet in pets, {bound})\n'
        f'  reward {{ badge: "a-{{kind}}", list: [1, "{{kind}}"] }}\n}}\n'
        f'achievement deep for each n in levels {{\n  title "{{n}}"\n'
        f"  when  count(event=e where n > $n or n in [$n, 100], >= 2)\n  after zoo\n}}\n"
        f'achievement both for each kind in {which} {{\n  title "{{kind}}"\n'
        f'  when  count(event=e where pet in [$kind, "wolf"], distinct=pet, >= all)\n}}\n'
    )
    rungs = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True))
    tiers = "".join(f'  tier t{bound} >= {bound} {{ title "{bound}" }}\n' for bound in rungs)
    text += f'achievement ladder {{\n  title "Ladder"\n  when  count(event=e where pet in pets, per=day)\n{tiers}}}\n'
    return text + (
        f'example "seen" for each kind in {which} {{\n'
        '  at 2026-04-13T09:00:00Z "{kind}" e { pet: $kind, color: $kind, n: 1, tags: ["x-{kind}", $kind] }\n'
        '  expect "{kind}" not kind_$kind\n}\n'
    )


@settings(max_examples=60, deadline=None)
@given(families())
def test_what_is_short_means_what_it_stands_for(text: str) -> None:
    same(text)


def test_versions_of_a_family_follow_each_other() -> None:
    same(
        EVENTS
        + 'achievement a for each x in ["p", "q"] {\n  title "{x}"\n  when  count(event=e where pet = $x, >= 1)\n}\n'
        'achievement b for each x in ["p"] {\n  title "B"\n  when  count(event=e, >= 3)\n  after a_$x\n}\n'
    )
    rules = rules_of(
        EVENTS + 'achievement a for each x in ["p", "q"] { when count(event=e where pet = $x, >= 1) }\n'
        'achievement a version 2 from 2026-05-01T00:00:00Z for each x in ["p"] '
        "{ when count(event=e where pet = $x, >= 2) }"
    )
    assert {name: len(each) for name, each in rules.achievements.items()} == {"a_p": 2, "a_q": 1}


def test_expanding_twice_changes_nothing() -> None:
    text = (
        EVENTS
        + 'list l = ["a"]\nachievement a for each x in l { when count(event=e where pet = $x and pet in l, >= 1) }'
    )
    once = expand([parse(Source("x.ach", text))[0]])
    twice = expand(once.files)
    assert twice.files == once.files
    assert (once.problems, twice.problems) == ([], [])


def test_a_member_shares_with_the_others_what_does_not_name_its_element() -> None:
    elements = ", ".join(map(str, range(100)))
    rules = rules_of(
        EVENTS + f"list l = [{elements}]\nachievement a for each x in l "
        "{ when count(event=e where n = $x or n in l, >= 1) }"
    )
    parts = {id(_second(each[0])) for each in rules.achievements.values()}
    assert len(parts) == 1


def _second(version: Achievement) -> Predicate:
    when = version.when
    assert isinstance(when, Count)
    where = when.event.alternatives[0].where
    assert isinstance(where, Or)
    return where.parts[1]


@pytest.mark.parametrize(
    "condition",
    [
        'sum(event=e where pet in ["a"], of=n, >= all)',
        'max(event=e where pet in ["a"], of=n, >= all)',
        'streak(event=e where pet in ["a"], per=day, >= all)',
        'count(by=pet, count(event=e where pet in ["a"], >= 1), >= all)',
        'count(per=day, count(event=e where pet in ["a"], >= 1), >= all)',
        'streak(per=day, count(event=e where pet in ["a"], >= 1), >= all)',
        'count(event=e where pet in ["a"], >= all)',
        'count(event=e where pet in ["a"], distinct=color, >= all)',
        'count(event=e where not pet in ["a"], distinct=pet, >= all)',
        'count(event=e where pet in ["a"] and pet in ["b"], distinct=pet, >= all)',
        'count(event=e where pet in ["a"], distinct=pet, > all)',
    ],
)
def test_only_a_count_of_the_values_of_one_list_is_of_all(condition: str) -> None:
    _, problems = check([parse(Source("x.ach", f"{EVENTS}achievement a {{ when {condition} }}"))[0]])
    assert [problem.code for problem in problems] == ["ACH444"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('list l = ["a"]\n', "b.ach"),
        ("", "b.ach"),
    ],
)
def test_lists_are_known_in_all_files(text: str, name: str) -> None:
    one = parse(Source("a.ach", EVENTS + "achievement a { when count(event=e where pet in l, >= 1) }"))[0]
    two = parse(Source(name, text))[0]
    _, problems = check([one, two])
    assert [problem.code for problem in problems] == ([] if text else ["ACH224"])


def test_a_list_that_cannot_be_read_is_reported_once() -> None:
    text = (
        EVENTS + "list l = [\nachievement a for each x in l { when count(event=e where pet in l and pet = $x, >= 1) }\n"
    )
    file, syntax = parse(Source("x.ach", text + "achievement b { when count(event=e, >= 1) after a_q }"))
    _, problems = check([file])
    assert len(syntax) == 1
    assert problems == []


@pytest.mark.parametrize(("number", "codes"), [(10_000, []), (10_001, ["ACH446"])])
def test_a_family_has_a_limit(number: int, codes: list[str]) -> None:
    elements = ", ".join(map(str, range(number)))
    text = f"list l = [{elements}]\nachievement a for each x in l {{ when count(event=e where n = $x, >= 1) }}"
    expanded = expand([parse(Source("x.ach", EVENTS + text))[0]])
    assert [problem.code for problem in expanded.problems] == codes
    assert len(expanded.files) == (1 if codes else 1 + number)


def test_a_problem_of_a_ladder_is_reported_once() -> None:
    rungs = " ".join(f"tier t{n} >= {n} {{}}" for n in range(1, 6))
    text = f'event e {{}}\nachievement l {{ title "L" when count(event=e, distinct=gone) {rungs} repeat by lost }}\n'
    _, found = check([parse(Source("rules.ach", text))[0]])
    assert [each.code for each in found] == ["ACH202", "ACH202"]
