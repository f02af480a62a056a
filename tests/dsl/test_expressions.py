"""Expressions: exact, absent where a part is, and known to proofs only as far as they can be."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.compile import compile_rules
from dsl.event import Event
from dsl.expressions import MAX_OPERATIONS
from dsl.filters import compile_pattern, pattern_key
from dsl.local_time import FixedClock
from dsl.outcome import run
from dsl.progress import State
from dsl.prove import Conditions, Patterns
from dsl.ruleset import build
from dsl.syntax import Count

if TYPE_CHECKING:
    from dsl.schema import Rules
    from dsl.syntax import Condition, Pattern

EVENTS: Final = """event a {
  x: decimal?, y: decimal?, n: int?, s: string?, s2: string?, t: timestamp?, b: bool?
  tags: [string]?, u: user?, us: [user]?
}
"""
UTC: Final = FixedClock("UTC")
AT: Final = 1_776_070_800_000_000
"""2026-04-13T09:00:00Z, a Monday."""


def rules_of(text: str) -> Rules:
    built = build([("rules.ach", (EVENTS + text).encode())])
    assert built.errors == 0, [problem.message for problem in built.problems]
    return built.rules


def pattern(test: str) -> Pattern:
    when = rules_of(f"achievement y {{ when count(event=a where {test}, >= 1) }}").achievements["y"][0].when
    assert isinstance(when, Count)
    return when.event


def passes(test: str, fields: dict[str, Any], clock: FixedClock = UTC) -> bool:
    compiled = compile_pattern(pattern(test), clock)["a"]
    assert compiled is not None
    return compiled(State(), Event("t", "e", "a", "ada", AT, 0, fields))


NUMBERS: Final = st.decimals(allow_nan=False, allow_infinity=False, places=10, min_value=-(10**27), max_value=10**27)


@given(NUMBERS, NUMBERS, st.sampled_from(("x * y", "x + y", "x - y", "x * x * y - y", "3 * x + y * (x - 2)")))
def test_arithmetic_is_exact(x: Decimal, y: Decimal, text: str) -> None:
    exact = eval(text, {}, {"x": Fraction(x), "y": Fraction(y)})  # noqa: S307 - a text from the line above
    assert passes(f"{text} = {text}", {"x": x, "y": y})
    assert passes(f"{text} > 0", {"x": x, "y": y}) == (exact > 0)
    assert passes(f"{text} - n = 0", {"x": x, "y": y, "n": int(exact)}) == (exact == int(exact))


def test_the_longest_expression_keeps_every_digit() -> None:
    product = " * ".join(["x"] * (MAX_OPERATIONS // 2 + 1))
    fields = {"x": Decimal("1.0000000000000000000000000000000000001"), "y": Decimal(0)}
    assert passes(f"{product} > {product.removesuffix(' * x')}", fields)
    assert not passes(f"{product} = {product.removesuffix(' * x')} + y", fields)


@pytest.mark.parametrize(
    ("test", "true"),
    [
        ("at - t < 5m", True),
        ("t + 5m > at and t - 1h < at", True),
        ("at - t = 60s", True),
        ("2 * (at - t) >= 2m", True),
        ("at > t and at = 2026-04-13T09:00:00Z", True),
        ("at.minute = 0 and at.hour = 9 and at.day = 13 and at.month = 4 and at.year = 2026", True),
        ('at.week = "2026-W16" and at.weekday = "mon" and at.date = "2026-04-13"', True),
        ("actor = u and actor in us and u in us", True),
        ("actor != u or actor not in us", False),
        ('s starts with "He" and s ends with "é" and s contains "ell" and s contains s2', True),
        ('s starts with "he" or s contains "x"', False),
        ('lower(s) = "hellé" and length(s) = 5', True),
        ('"b" in tags and s2 not in tags and size(tags) = 3', True),
        ("n = 5 and 5 = n and 4 < n and 2 * n = 10 and n - 6 < 0", True),
        ("(n + 1) * 2 = 12 and (n = 5 or b) and n * 2 + 1 = 11", True),
    ],
)
def test_what_one_event_decides(test: str, *, true: bool) -> None:
    fields = {"t": AT - 60_000_000, "u": "ada", "us": ("ben", "ada"), "s": "Hellé", "s2": "ll", "n": 5}
    assert passes(test, {**fields, "tags": ("a", "b", "b")}) is true


@pytest.mark.parametrize(
    "test",
    [
        "x = y",
        "x != y",
        "x + 1 > 0",
        "1 - x > 0",
        "2 * x >= 0",
        "at - t < 5m",
        'lower(s) != "x"',
        "length(s) >= 0",
        "size(tags) >= 0",
        '"x" in tags',
        '"x" not in tags',
        "s in tags",
        "s not in tags",
        "u != actor",
        "actor not in us",
        's starts with ""',
        "s2 contains s",
        "x not in [1]",
        "x + y not in [1]",
    ],
)
def test_what_is_absent_makes_a_comparison_false(test: str) -> None:
    assert not passes(test, {"y": Decimal(1), "s2": "x"})
    assert passes(f"not {test}", {"y": Decimal(1), "s2": "x"})


def test_a_form_is_canonical() -> None:
    def key(test: str) -> str:
        return pattern_key(pattern(test), UTC)

    assert key("n + x > 2 and y = x") == key("y = x and x + n > 2")
    assert key("n - x > 2") != key("x - n > 2")
    assert key("s = s2") != key('s = "s2"')
    assert key("at > t") != key("t > at")
    assert key("2 < n") == key("n > 2")


def test_days_of_two_zones_are_two_counts() -> None:
    rules = rules_of(
        "achievement a { when count(event=a, distinct=at.date, >= 2) }\n"
        'achievement b { when count(event=a, distinct=at.date, >= 2, tz="Asia/Tokyo") }\n'
        "achievement c { when count(event=a, distinct=at.date, >= 3) }\n"
    )
    keys = {judge.built.key for ruling in compile_rules(rules).scopes["user"].rulings for judge in ruling.judges}
    assert len({key.rsplit(">=", 1)[0] for key in keys}) == 2


# -- proofs ------------------------------------------------------------------------------------------------------------


def search(test: str) -> bool | None:
    rules = rules_of("achievement y { when count(event=a, >= 1) }")
    return Patterns(rules.events, rules.traits).find("a", [pattern(test).alternatives[0].where]).found


@pytest.mark.parametrize(
    "test",
    ["x > y", "length(s) > 3", '"x" in tags', 's starts with "x"', "at - t < 5m", "u = actor", "x > y and n = 1"],
)
def test_comparisons_of_two_fields_are_not_decided(test: str) -> None:
    assert search(test) is None


@pytest.mark.parametrize(
    "test", ["x > y and not x > y", "n = 1 and n = 2 and x > y", '"x" in tags and not "x" in tags and n = 1']
)
def test_what_contradicts_itself_is_impossible_whatever_is_compared(test: str) -> None:
    assert search(test) is False


def whens(one: str, two: str) -> tuple[Rules, Condition, Condition]:
    rules = rules_of(f"achievement y {{ when {one} }}\nachievement z {{ when {two} }}")
    first, second = (rules.achievements[name][0].when for name in "yz")
    return rules, cast("Condition", first), cast("Condition", second)


def follows(one: str, two: str) -> bool:
    rules, first, second = whens(one, two)
    return Conditions(Patterns(rules.events, rules.traits)).implies(first, second, strong=True)


def test_elements_of_one_event_prove_one_event() -> None:
    assert not follows("count(event=a, distinct=tags, >= 3)", "count(event=a, >= 2)")
    assert follows("count(event=a, distinct=tags, >= 3)", "count(event=a, >= 1)")
    assert follows("count(event=a, distinct=s, >= 3)", "count(event=a, >= 3)")
    assert follows("count(event=a, distinct=at.date, >= 3)", "count(event=a, >= 3)")


def test_days_prove_days_of_the_same_zone_alone() -> None:
    tokyo = 'tz="Asia/Tokyo"'
    assert follows("count(event=a, distinct=at.date, >= 3)", "count(event=a, distinct=at.date, >= 2)")
    assert not follows(f"count(event=a, distinct=at.date, >= 3, {tokyo})", "count(event=a, distinct=at.date, >= 2)")


def test_a_filter_follows_from_itself_with_more() -> None:
    assert follows("count(event=a where x > y and n = 1, >= 2)", "count(event=a where x > y, >= 2)")
    assert not follows("count(event=a where x > y, >= 2)", "count(event=a where x >= y, >= 2)")


# -- values of one event ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "span", ["", ", within=1d", ", per=day", ", unless=a where b", ", within=1d, unless=a where b"]
)
def test_an_element_that_occurs_twice_is_one_value(span: str) -> None:
    program = compile_rules(rules_of(f"achievement y {{ when count(event=a, distinct=tags, >= 3{span}) }}"))

    def earned(*tags: tuple[str, ...]) -> list[str]:
        fields = [cast("dict[str, Any]", {"tags": each}) for each in tags]
        events = [Event("t", f"e{n}", "a", "ada", AT + n, 0, each) for n, each in enumerate(fields)]
        return [unlock.earned_at[-8:] for unlock in run(program, events).unlocks]

    assert earned(("x", "x", "y"), ("y",), (), ("x", "y")) == []
    assert earned(("x", "x", "y"), (), ("z", "x")) == [".000002Z"]
    assert earned(("x", "y", "z", "w")) == [".000000Z"]
