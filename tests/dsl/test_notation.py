"""Trees as the language writes them: what is written reads as the same tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from dsl import notation
from dsl.format import strip_spans
from dsl.parse import parse
from dsl.references import tier_conditions
from dsl.source import Source
from dsl.syntax import Achievement, Count, Extreme, Nested, Streak, Sum
from dsl.trees import walk
from tests.dsl.programs import texts

if TYPE_CHECKING:
    from dsl.syntax import Condition

SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much)


def achievements(text: str) -> list[Achievement]:
    file, problems = parse(Source("x.ach", text))
    return [] if problems else [one for one in file.declarations if isinstance(one, Achievement)]


def is_open(tree: Condition) -> bool:
    """Tell whether a condition has an operator without a bound, or with that of a list."""
    return any(node.cmp.kind != "" for node in walk(tree) if isinstance(node, Count | Sum | Extreme | Streak | Nested))


def condition(text: str) -> Condition:
    (one,) = achievements(f'achievement x {{ title "X" when {text} }}')
    assert one.when is not None
    return one.when


@pytest.mark.parametrize(
    "text",
    [
        "count(event=a.done, >= 10)",
        'count(event=a.done where n >= 3 and not (f or s = "x"), distinct=s, > 2, within=7d)',
        'count(event=[a, b where n in [1, 2]] where s != "y", >= 1, per=day, unless=c, tz="Asia/Tokyo")',
        "sum(event=a, of=x, >= 0.5, tz=user)",
        "min(event=a, of=x, <= 3)",
        "streak(event=a where f, per=day, >= 7, min=2, grace=1, tz=event)",
        "sequence([a, b where s is not present], by=s, within=1h)",
        "all(count(event=a, >= 1), any(unlocked(x.gold), unlocked(y)))",
        "at_least(2, count(event=a, >= 1), count(event=b, >= 1), count(event=c, >= 1), within=30d)",
        'count(event=a where at.weekday in ["sat", "sun"] or t >= 2026-05-01T00:00:00Z, >= 1)',
    ],
)
def test_a_condition_in_its_one_form_is_written_as_it_is(text: str) -> None:
    assert notation.condition(condition(text)) == text


def test_comments_spaces_and_the_order_of_arguments_are_left_out() -> None:
    assert notation.condition(condition("count( # few\n >= 1_000 , event = a )")) == "count(event=a, >= 1000)"


def test_clauses() -> None:
    (one,) = achievements(
        'achievement x version 2 from 2026-05-01T00:00:00Z fresh { title "X" when count(event=a, >= 1) '
        'for plan = "pro" after y, z.gold active 2026-01-01T00:00:00Z .. repeat every day tz=user scope team settle 1h '
        "reward { xp: 1 } }"
    )
    assert notation.clauses(one) == {
        "from": "2026-05-01T00:00:00Z",
        "fresh": "fresh",
        "for": 'plan = "pro"',
        "after": "y, z.gold",
        "active": "2026-01-01T00:00:00Z ..",
        "repeat": "every day tz=user",
        "scope": "team",
        "settle": "1h",
    }


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW, derandomize=True, database=None)
@given(texts())
def test_what_is_written_reads_as_the_same_tree(text: str) -> None:
    for one in achievements(text):
        for _, when in tier_conditions(one):
            if is_open(when) or "$" in text:
                continue  # its bound stands in the tiers, or a value in the list of its family
            assert strip_spans(condition(notation.condition(when))) == strip_spans(when)
