"""Counts of combinations, `distinct=[F, G]`: what one is, what it costs, and what it is in words."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from dsl import notation, words
from dsl.calendar import format_instant
from dsl.check import check
from dsl.diagnostics import render
from dsl.event import Event
from dsl.outcome import run
from dsl.parse import parse
from dsl.reads import reads_of
from dsl.ruleset import RuleSet, build
from dsl.source import Source
from dsl.syntax import Achievement, Condition
from tests.reference import evaluator
from tests.reference.rule_text import read

if TYPE_CHECKING:
    from dsl.compile import Program

EVENTS = """
event a { s: string?, x: decimal?, tags: [string]?, more: [int], f: bool, g: bool? }
event b {}
"""
DAY = 86_400_000_000


def built(when: str, clauses: str = "") -> RuleSet:
    text = f'{EVENTS}achievement t {{ title "T" when {when} {clauses} }}\n'
    made = build([("rules.ach", text.encode())])
    assert made.program is not None, [render(each) for each in made.problems]
    return made


def program(when: str) -> Program:
    made = built(when).program
    assert made is not None
    return made


def condition(when: str) -> Condition:
    (node,) = parse(Source("rules.ach", f'achievement t {{ title "T" when {when} }}'))[0].declarations
    assert isinstance(node, Achievement)
    assert node.when is not None
    return node.when


def one(number: int, at: int = 0, user: str = "u", **fields: object) -> Event:
    return Event("t", f"e{number}", "a", user, at or number, 0, fields)  # pyright: ignore[reportArgumentType]


def earned(when: str, *events: Event) -> list[int]:
    """Return when it is earned by the fold, which is when the reference says so."""
    found = run(program(when), events).unlocks
    text = f'{EVENTS}achievement t {{ title "T" when {when} }}\n'
    expected = [unlock.earned_at for unlock in evaluator.outcome(read(text), events).unlocks]
    assert [unlock.earned_at for unlock in found] == [format_instant(at) for at in expected]
    return expected


MODIFIERS = ["", ", within=1d", ", unless=b", ", per=day", ", within=2d, unless=b"]


@pytest.mark.parametrize("modifiers", MODIFIERS)
def test_a_combination_counts_once_and_lies_in_one_event(modifiers: str) -> None:
    when = f"count(event=a, distinct=[s, x], >= 3{modifiers})"
    pairs = [("p", Decimal(1)), ("p", Decimal("1.5")), ("q", Decimal(1))]
    events = [one(n, s=s, x=x) for n, (s, x) in enumerate(pairs, start=1)]
    assert earned(when, *events) == [3]
    assert earned(when, *events[:2], one(3, s="p", x=Decimal(1)), one(4, s="p"), one(5, x=Decimal(1))) == []


def test_parts_of_a_combination_do_not_run_together() -> None:
    when = "count(event=a, distinct=[s, actor], >= 2)"
    assert earned("count(event=a, distinct=[s, x], >= 2)", one(1, s="1", x=Decimal(11)), one(2, s="11", x=Decimal(1)))
    assert earned(when, one(1, s='x","u'), one(2, s="x")) == [2]
    long = "x" * 100
    assert earned(when, one(1, s=long), one(2, s=long)) == []
    assert earned(when, one(1, s=long), one(2, s=f"{long}y")) == [2]


def test_each_element_of_a_list_makes_a_combination() -> None:
    when = "count(event=a, distinct=[tags, at.date], >= 4)"
    assert earned(when, one(1, tags=("p", "q", "p")), one(2, at=DAY, tags=("q",)), one(3, at=2 * DAY, tags=())) == []
    assert earned(when, one(1, tags=("p", "q")), one(2, at=DAY, tags=("q", "r"))) == [DAY]


def test_days_of_a_combination_are_those_of_the_zone() -> None:
    for zone, found in (("UTC", []), ("Asia/Tokyo", [16 * 3_600_000_000])):
        when = f'count(event=a, distinct=[s, at.date], >= 2, tz="{zone}")'
        assert earned(when, one(1, at=1, s="p"), one(2, at=16 * 3_600_000_000, s="p")) == found


def test_it_is_in_words_and_as_it_is_written() -> None:
    node = condition("count(event=a, distinct=[s, at.date], >= 3)")
    assert words.condition(node) == "3 different combinations of s and days of a"
    assert notation.condition(node) == "count(event=a, distinct=[s, at.date], >= 3)"
    assert notation.condition(condition("count(event=a, distinct=[s], >= 3)")) == "count(event=a, distinct=s, >= 3)"


def test_what_a_combination_needs_is_read() -> None:
    made = built("count(event=a, distinct=[s, x, actor], >= 3)")
    (version,) = made.rules.achievements["t"]
    assert {("a", "s"), ("a", "x")} <= reads_of(version).fields


def test_two_counts_share_what_they_remember_only_if_they_name_the_same() -> None:
    when = "all(count(event=a, distinct=[s, x], >= 2), count(event=a, distinct=[s, actor], >= 2))"
    events = [one(1, s="p", x=Decimal(1)), one(2, s="p", x=Decimal(2)), one(3, s="q", x=Decimal(2))]
    assert earned(when, *events) == [3]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ("[tags, more]", "ACH315"),
        ("[s, s]", "ACH111"),
        ("[s, nothing]", "ACH202"),
        ("[s, at.dat]", "ACH202"),
        ("[f, g]", "ACH412"),
        ("[at.weekday, f]", None),
        ("[s, a as b]", "ACH113"),
        ("[]", "ACH113"),
        ("[s, x, f, g, actor, at.date, at.hour, at.week, at.year]", "ACH113"),
    ],
)
def test_fields_that_cannot_be_counted_together(fields: str, code: str | None) -> None:
    text = f'{EVENTS}achievement t {{ title "T" when count(event=a, distinct={fields}, >= 5) }}\n'
    file, syntax = parse(Source("rules.ach", text))
    found = [each.code for each in (*syntax, *check([file])[1]) if each.code != "ACH501"]
    assert found == ([] if code is None else [code])
