"""An explanation names a tie where a tie decided, and no other."""

from __future__ import annotations

import pytest

from dsl.calendar import format_instant
from dsl.event import Event
from dsl.explain import Asked, Explanation, explain
from dsl.explain.text import render
from dsl.ruleset import build

RULES = b"""
event a { n: int? }
event b { n: int? }
event c {}
achievement steps { when sequence([a, b, c]) }
achievement two { when count(event=a, >= 2) }
achievement clean { when count(event=a, >= 2, unless=b) }
"""


def explained(name: str, *happened: tuple[int, str, str]) -> Explanation:
    rules = build([("rules.ach", RULES)])
    assert not rules.errors
    events = [Event("t", id_, kind, "ann", at * 1_000_000, 0, {}) for at, kind, id_ in happened]
    return explain(rules.rules, Asked("t", "ann", name, None, None, 9_000_000), events)


def test_steps_at_one_instant_are_in_the_order_of_their_ids() -> None:
    found = explained("steps", (1, "b", "e1"), (1, "a", "e2"), (2, "c", "e3"))
    assert found.outcome == "not yet"
    (tie,) = found.ties
    assert (tie.occurred_at, tie.event_ids) == (format_instant(1_000_000), ["e1", "e2"])
    lines = [line.strip() for line in render(found)]
    assert "a tie decided" in lines
    assert lines[-1] == (
        "1970-01-01T00:00:01Z  b (e1), a (e2) carry one instant and stand in the order of their ids; "
        "in another order it would have been earned at 1970-01-01T00:00:02Z"
    )


def test_what_was_earned_by_a_tie_says_so() -> None:
    found = explained("clean", (1, "a", "e0"), (2, "a", "e1"), (2, "b", "e2"))
    assert found.outcome == "earned"
    assert [tie.text.rpartition("; ")[2] for tie in found.ties] == ["in another order it would not have been earned"]


@pytest.mark.parametrize(
    ("name", "happened"),
    [
        ("steps", [(1, "a", "e1"), (2, "b", "e2"), (3, "c", "e3")]),
        ("two", [(1, "a", "e1"), (1, "a", "e2"), (1, "b", "e3")]),
        ("steps", [(1, "a", "e1"), (1, "a", "e2"), (2, "b", "e3"), (3, "c", "e4")]),
        ("clean", [(1, "a", "e1"), (1, "c", "e2"), (2, "a", "e3")]),
    ],
)
def test_no_other_tie_is_named(name: str, happened: list[tuple[int, str, str]]) -> None:
    found = explained(name, *happened)
    assert found.ties == []
    assert "a tie decided" not in "\n".join(render(found))


def test_three_steps_at_one_instant_are_tried_in_every_order() -> None:
    found = explained("steps", (1, "b", "e1"), (1, "a", "e2"), (1, "c", "e3"))
    assert [tie.event_ids for tie in found.ties] == [["e1", "e2", "e3"]]


def test_many_ties_take_no_long_search() -> None:
    happened = [(at, kind, f"e{at}{kind}") for at in range(3_000) for kind in ("b", "a")]
    rules = build([("rules.ach", RULES)])
    events = [Event("t", id_, kind, "ann", at, 0, {}) for at, kind, id_ in happened]
    assert len(explain(rules.rules, Asked("t", "ann", "steps", None, None, 9_000_000), events).ties) < 100
