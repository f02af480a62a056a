"""The begin of a version in rule files: `until` in examples, and what is said of an unlock without an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dsl.explain import Asked, explain
from dsl.explain.text import render
from dsl.format import format_source
from dsl.outcome import run
from dsl.ruleset import build
from dsl.source import Source
from dsl.story import run_example
from dsl.story.given import GivenEvents
from worker.commands.options import microseconds

if TYPE_CHECKING:
    from dsl.event import Event
    from dsl.ruleset import RuleSet

RULES = """\
event a {}

achievement x {
  title "X"
  when  count(event=a, >= 9)
}

achievement x version 2 from 2026-05-01T00:00:00Z {
  title "X"
  when  count(event=a, >= 2)
}

example "two are enough from May on" {
  at 2026-04-13T09:00:00Z ada a {} times 2 every 1h
  until 2026-05-01T00:00:00Z
  expect ada x at 2026-05-01T00:00:00Z
}
"""


def rule_set(text: str) -> RuleSet:
    return build([("rules.ach", text.encode())])


def given(rules: RuleSet) -> list[Event]:
    return list(GivenEvents(rules.rules, rules.sources[0], rules.rules.examples[0]).events())


def failures(text: str) -> list[str]:
    rules = rule_set(text)
    assert rules.program is not None
    verdict = run_example(rules.rules, rules.program, rules.sources[0], rules.rules.examples[0])
    return [failure.got for failure in verdict.failures]


def test_an_example_says_how_far_its_clock_goes() -> None:
    assert failures(RULES) == []
    assert failures(RULES.replace("  until 2026-05-01T00:00:00Z\n", "")) == ["it was not earned; progress 2/9"]
    assert failures(RULES.replace("until 2026-05-01T00:00:00Z", "until 2026-04-30T23:59:59.999999Z")) == [
        "it was not earned; progress 2/9"
    ]


def test_it_stands_behind_what_happens_and_is_there_once() -> None:
    for line, message in (
        (
            "until 2026-04-13T09:30:00Z",
            "an event of the example lies behind this instant: the clock cannot stop before it",
        ),
        (
            "until 2026-05-01T00:00:00Z until 2026-06-01T00:00:00Z",
            "the clock of an example goes up to one instant",
        ),
        ("until tomorrow", "expected an instant such as 2026-04-13T09:00:00Z, found `tomorrow`"),
        ("untl 2026-05-01T00:00:00Z", "expected a line that begins with `at`, `expect` or `until`, found `untl`"),
    ):
        problems = rule_set(RULES.replace("until 2026-05-01T00:00:00Z", line)).problems
        assert [problem.message for problem in problems] == [message]


def test_the_formatter_keeps_it() -> None:
    assert format_source(Source("rules.ach", RULES)) == RULES


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (
            "2026-05-01T00:00:00Z",
            "ada has x (version 2), earned at 2026-05-01T00:00:00Z, at the beginning of version 2",
        ),
        ("2026-04-30T23:59:59Z", "ada has not earned x yet, as of 2026-04-30T23:59:59Z: 2 of 9"),
    ],
)
def test_an_explanation_says_that_a_version_has_begun(now: str, text: str) -> None:
    rules = rule_set(RULES)
    events = given(rules)
    explanation = explain(rules.rules, Asked("example", "ada", "x", None, None, microseconds(now)), events)
    said = list(render(explanation))
    assert said[0] == text
    if explanation.at_begin:
        assert explanation.earned_by == "e000002"
        assert [event.event_id for event in explanation.events] == ["e000001", "e000002"]


def test_a_condition_that_holds_of_nothing_asks_for_an_event() -> None:
    """A signed sum that 0 satisfies: a user who has done nothing earns nothing."""
    text = """\
event a { n: int }
event b {}
achievement x { title "X" when sum(event=a, of=n, >= 5) }
achievement x version 2 from 2026-05-01T00:00:00Z { title "X" when sum(event=a, of=n, >= 0) }
achievement y { title "Y" when count(event=b, >= 1) }
example "ada lost what she had won, ben has done nothing of it" {
  at 2026-04-13T09:00:00Z ada a { n: 1 }
  at 2026-04-14T09:00:00Z ada a { n: -1 }
  at 2026-04-13T09:00:00Z ben b {}
  until 2026-05-01T00:00:00Z
  expect ada x at 2026-05-01T00:00:00Z
  expect ben not x
}
"""
    assert failures(text) == []
    rules = rule_set(text)
    assert rules.program is not None
    assert len(run(rules.program, given(rules), None).unlocks) == 1


def test_a_fresh_version_earns_nothing_when_it_begins() -> None:
    """What was unlocked is a fact for it, too: it is earned at the next event all the same."""
    text = """\
event a {}
achievement x { title "X" when count(event=a, >= 1) }
achievement y { title "Y" when count(event=a, >= 99) }
achievement y version 2 from 2026-05-01T00:00:00Z fresh { title "Y" when unlocked(x) }
example "in May, at the first event" {
  at 2026-04-13T09:00:00Z ada a {}
  at 2026-04-13T09:00:00Z ben a {}
  at 2026-05-02T09:00:00Z ben a {}
  expect ada not y
  expect ben y at 2026-05-02T09:00:00Z
}
"""
    assert failures(text) == []
