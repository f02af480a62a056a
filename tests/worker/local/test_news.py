from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dsl.ruleset import build
from worker.local.news import MAX_TYPES, Undeclared, changes, types_of

if TYPE_CHECKING:
    from dsl.schema import Rules

TEXT = """
event lesson.completed { lesson_id: string, seconds: int? >= 0 }
event login {}
traits from user.updated { plan: string, region: string }
achievement first {
  title "First"
  when all(count(event=lesson.completed, >= 1, within=7d), streak(event=login, per=day, >= 3))
  reward { xp: 1 }
}
"""


def rules(text: str = TEXT) -> Rules:
    found = build([("rules.ach", text.encode())])
    assert not found.errors, found.problems
    return found.rules


def test_what_a_reload_changed() -> None:
    before = rules()
    assert changes(before, rules("\n# moved\n" + TEXT.replace("all(", "all(\n    "))) == []
    assert changes(before, rules(TEXT.replace('"First"', '"1st"'))) == ["  achievements: changed first"]
    other = TEXT.replace("achievement first", "achievement early").replace("seconds: int? >= 0", "seconds: int?")
    assert changes(before, rules(other + "event logout {}\nevent a {}\n")) == [
        "  achievements: new early; gone first",
        "  events: new a and logout; changed lesson.completed",
    ]
    assert changes(before, rules(TEXT.replace("region: string", "region: int"))) == [
        "  events: changed user.updated",
        "  traits: changed region",
    ]


def event(event_type: str) -> bytes:
    return json.dumps({"event_type": event_type, "user_id": "ann"}).encode()


def test_an_undeclared_type_is_named_once() -> None:
    undeclared, declared = Undeclared(), rules().events
    assert undeclared.lines_of(event("lesson.complete"), declared) == [
        "lesson.complete is not declared: did you mean lesson.completed?"
    ]
    assert undeclared.lines_of(event("lesson.complete"), declared) == []
    assert undeclared.lines_of(event("login"), declared) == []
    assert undeclared.lines_of(b"[%s,%s]" % (event("zzz"), event("login")), declared) == [
        "zzz is not declared: no rule sees its events"
    ]


def test_the_types_that_are_named_are_bounded() -> None:
    undeclared = Undeclared()
    lines = [line for number in range(MAX_TYPES + 5) for line in undeclared.lines_of(event(f"t{number}"), {})]
    assert len(lines) == MAX_TYPES


@pytest.mark.parametrize(
    "body", [b"", b"nope", b"\xff", b"[1]", b'{"event_type": 5}', b"{}", b"[" * 5000, b'{"event_type": ""}']
)
def test_what_is_no_event_names_none(body: bytes) -> None:
    assert types_of(body) == set()


def test_cloudevents_have_types() -> None:
    assert types_of(b'{"specversion": "1.0", "type": "a.done"}') == {"a.done"}
