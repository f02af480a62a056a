"""The checker's result, and that no rule set makes it slow or crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings

from dsl.check import check
from dsl.check.names import achievements_begun
from dsl.diagnostics import Severity, render
from dsl.parse import parse
from dsl.schema import EventSchema, Field
from dsl.source import Source
from dsl.types import FieldType
from tests.dsl.programs import texts

if TYPE_CHECKING:
    from dsl.diagnostics import Diagnostic
    from dsl.schema import Rules


def checked(*files: str) -> tuple[Rules, list[Diagnostic]]:
    return check([parse(Source(f"{number}.ach", text))[0] for number, text in enumerate(files)])


def clean(*files: str) -> Rules:
    rules, problems = checked(*files)
    assert [render(each) for each in problems if each.severity is Severity.ERROR] == []
    return rules


def test_events_and_their_contracts() -> None:
    rules = clean(
        "event a.b { n: int? >= 0, d: decimal >= -1.5, s: string once per s, n within 10m }",
        "event c {} event d { x: bool once per x }",
    )
    assert rules.events["a.b"] == EventSchema(
        name="a.b",
        fields={
            "n": Field("n", FieldType.INT, optional=True, low=0),
            "d": Field("d", FieldType.DECIMAL, low=rules.events["a.b"].fields["d"].low),
            "s": Field("s", FieldType.STRING),
        },
        once=(("s", "n"), 600_000_000),
    )
    assert rules.events["c"] == EventSchema(name="c", fields={})
    assert rules.events["d"].once == (("x",), None)


def test_traits_and_the_events_that_carry_them() -> None:
    rules = clean(
        "traits from u.u { plan: string, level: int >= 0 } traits from v { plan: string }",
        "event v { x: int } traits from v { level: int }",
    )
    assert rules.traits == {"plan": FieldType.STRING, "level": FieldType.INT}
    assert rules.trait_events == {"u.u": ("plan", "level"), "v": ("plan", "level")}
    assert rules.events["u.u"].traits_only
    assert rules.events["u.u"].fields["level"] == Field("level", FieldType.INT, optional=True, low=0)
    assert not rules.events["v"].traits_only
    assert list(rules.events["v"].fields) == ["x", "plan", "level"]


def test_versions_ascend_in_any_order_and_file() -> None:
    rules = clean(
        "achievement x version 3 from 2026-03-01T00:00:00Z { when count(event=e, >= 3) }",
        "event e {} achievement x { when count(event=e, >= 1) }"
        " achievement x version 2 from 2026-02-01T00:00:00Z { when count(event=e, >= 2) }",
    )
    assert [node.version for node in rules.achievements["x"]] == [1, 2, 3]


def test_names_are_known_across_files() -> None:
    rules = clean(
        "achievement b { when all(count(event=e, >= 1), unlocked(a.one)) after a.one, a }",
        "achievement a { tier one { when count(event=e where plan = 1, >= 1) } }",
        "event e { plan: int }",
        'example "x" { at 2026-01-01T00:00:00Z u e { plan: 1 } expect u b }',
    )
    assert [example.title for example in rules.examples] == ["x"]


def test_problems_come_in_the_order_of_files_and_text() -> None:
    _, problems = checked("event a { x: what }\nevent a {}\nevent b { y: what }", "event b {}\nevent a {}")
    places = [(each.source.name, each.span.start) for each in problems]
    assert places == sorted(places)
    assert {name for name, _ in places} == {"0.ach", "1.ach"}


def test_an_empty_rule_set_is_one() -> None:
    rules, problems = check([])
    assert (rules.achievements, problems) == ({}, [])


def test_long_chains_and_circles_are_walked() -> None:
    count = 5000
    chain = "event e {}\nachievement a0 { when count(event=e, >= 1) }\n" + "\n".join(
        f"achievement a{i} {{ when count(event=e, >= 1) after a{i - 1} }}" for i in range(1, count)
    )
    clean(chain)
    _, problems = checked(chain.replace("a0 { when count(event=e, >= 1)", f"a0 {{ when unlocked(a{count - 1})"))
    assert [each.code for each in problems] == ["ACH407"]
    assert len(problems[0].message) < 200


def test_nothing_but_misspelt_names_does_not_take_long() -> None:
    count = 1500
    text = "\n".join(
        f"event lesson_{i} {{}}\nachievement a{i} {{ when count(event=leson_{i}, >= 1) }}" for i in range(count)
    )
    _, problems = checked(text)
    assert len(problems) == count
    assert problems[0].hint == "did you mean `lesson_0`?"


@settings(max_examples=60, deadline=None, suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much))
@given(texts(), texts())
def test_any_program_is_survived(one: str, two: str) -> None:
    _, problems = checked(one, two)
    for problem in problems:
        render(problem)
        assert problem.span.start < problem.span.end <= len(problem.source.text)


def test_achievements_are_counted_however_broken_they_are() -> None:
    text = """
event a {}
achievement one { when count(event=a, >= 1) }
achievement two { when count(event=a, <= 1) }
achievement Three { when count(event=a, >= 1) }
achievment four { when count(event=a, >= 1) }
achievement five-up { when count(event=a, >= 1) }
achievement "six" { when count(event=a, >= 1) }
# achievement seven { is said in a comment
example "achievement eight" {}
"""
    file, problems = parse(Source("x.ach", text))
    assert problems
    assert achievements_begun(file) == {"one", "two", "Three", "four", "five-up", "six"}
