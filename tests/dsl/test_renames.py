"""Achievements that have other names than before: what rules may say, and what stands under first names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from dsl.diagnostics import Severity
from dsl.format import format_file
from dsl.renames import all_old_names, under_first_names
from dsl.ruleset import build

if TYPE_CHECKING:
    from dsl.ruleset import RuleSet

EVENT: Final = "event a.done { n: int }\n"
WHEN: Final = "when count(event=a.done, >= 1)"


def rules(*texts: str) -> RuleSet:
    """Return texts as one rule set."""
    return build([(f"{number}.ach", text.encode()) for number, text in enumerate((EVENT, *texts))])


def errors(ruleset: RuleSet) -> list[tuple[str, str]]:
    """Return codes and messages of all errors."""
    return [(one.code, one.message) for one in ruleset.problems if one.severity is Severity.ERROR]


def of(name: str, clause: str = "", head: str = "") -> str:
    """Return an achievement of one condition."""
    return f"achievement {name} {head} {{ {WHEN} {clause} }}\n"


def test_old_names_are_those_of_all_versions_though_one_says_them() -> None:
    later = of("new", "renamed from old", "version 2 from 2026-01-01T00:00:00Z")
    found = rules(of("new"), later)
    assert not errors(found)
    assert all_old_names(found.rules) == {"new": ("old",)}


def test_the_members_of_a_family_are_renamed_with_it() -> None:
    found = rules(of("pets", "renamed from animals", 'for each pet in ["cat", "Big dog"]'))
    assert not errors(found)
    assert all_old_names(found.rules) == {"pets_cat": ("animals_cat",), "pets_big_dog": ("animals_big_dog",)}


@pytest.mark.parametrize(
    ("texts", "codes"),
    [
        ([of("new", "renamed from old"), of("old")], ["ACH231"]),  # also a chain of two that are both there
        ([of("one", "renamed from two"), of("two", "renamed from one")], ["ACH231", "ACH231"]),  # a circle
        ([of("new", "renamed from new")], ["ACH231"]),
        ([of("new", "renamed from new, old")], ["ACH231"]),
        ([of("one", "renamed from old"), of("two", "renamed from old")], ["ACH232"]),
        ([of("one", "renamed from old, old")], ["ACH232"]),
        ([of("one", "renamed from old, first"), of("two", "renamed from first")], ["ACH232"]),
        (
            [of("new", "renamed from old"), of("new", "renamed from other", "version 2 from 2026-01-01T00:00:00Z")],
            ["ACH233"],
        ),
        ([of("new", "renamed from old"), f"achievement more {{ after old {WHEN} }}"], ["ACH204"]),
        ([of("new", "renamed from old"), "achievement more { when unlocked(old) }"], ["ACH204"]),
        ([of("new", f"renamed from {'x' * 200}")], ["ACH118"]),
    ],
)
def test_what_is_no_name_of_before_is_reported(texts: list[str], codes: list[str]) -> None:
    assert [code for code, _ in errors(rules(*texts))] == codes


def test_an_achievement_that_has_its_first_name_again_says_so() -> None:
    found = rules(of("first", "renamed from second, first"))
    assert not errors(found)
    assert under_first_names(found).rules.achievements.keys() == {"first"}


def test_an_old_name_that_a_rule_asks_for_is_answered_with_the_new_one() -> None:
    found = rules(of("new", "renamed from old"), "achievement more { when unlocked(old) }")
    (problem,) = [one for one in found.problems if one.code == "ACH204"]
    assert problem.message == "`old` is called `new` now"
    assert problem.hint == "did you mean `new`?"


def test_under_first_names_a_rule_set_means_what_it_meant_before_it_was_renamed() -> None:
    asking = "achievement more {{ after {0} when all(unlocked({0}), count(event=a.done, >= 2)) }}\n"
    story = 'example "x" {{ at 2026-01-01T00:00:00Z ann a.done {{ n: 1 }}\n expect ann {0} }}\n'
    before = rules(of("old"), asking.format("old"), story.format("old"))
    after = rules(of("new", "renamed from middle, old"), asking.format("new"), story.format("new"))
    moved = under_first_names(after)
    assert not errors(after)
    assert before.program is not None
    assert moved.program is not None
    assert moved.program.fingerprint == before.program.fingerprint
    assert moved.rules.achievements.keys() == before.rules.achievements.keys()
    assert moved.renamed == {"old": ("new", "middle")}
    assert moved.written is after.rules
    assert under_first_names(moved) is moved


def test_rules_without_the_clause_stay_as_they_are() -> None:
    found = rules(of("new"))
    assert under_first_names(found) is found


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        (f"achievement new renamed from old {{ {WHEN} }}", "write it into the braces"),
        (of("new", "renamed to old"), "write the old name in the achievement that has the new one"),
        (of("new", "renamed old"), "write: renamed from old"),
        (of("new", 'renamed from "old"'), "write names without quotes: renamed from old"),
        (of("new", "renamed from [second, first]"), "separate names with commas, the latest first"),
        (of("new", "formerly old"), "did you mean `renamed`?"),
        (of("new", "renamed from old.gold"), "a tier keeps its name"),
    ],
)
def test_slips_are_answered_with_what_to_write(written: str, hint: str) -> None:
    (problem,) = [one for one in rules(written).problems if one.severity is Severity.ERROR]
    assert problem.hint is not None
    assert hint in problem.hint


def test_a_tier_cannot_be_renamed() -> None:
    text = f"achievement new {{ tier gold {{ {WHEN} renamed from silver }} }}"
    assert [code for code, _ in errors(rules(text))] == ["ACH122"]


def test_renamed_may_be_the_name_of_a_field() -> None:
    assert not errors(rules("event b.done { renamed: string }", of("renamed")))


def test_the_formatter_keeps_the_clause_and_its_comments() -> None:
    text = f"achievement new {{\n {WHEN}\n  renamed  from second,first # twice\n  # end\n}}\n"
    (found,) = rules(text).files[1:]
    assert format_file(found) == (
        "achievement new {\n  when    count(event=a.done, >= 1)\n  renamed from second, first  # twice\n  # end\n}\n"
    )
