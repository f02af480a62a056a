"""Edges of the language's meaning at which a small slip went unnoticed (docs/planted-bugs.md)."""

from __future__ import annotations

import pytest

from dsl.event import Event
from dsl.outcome import by_subject, canonical_order, run
from dsl.progress import decode, encode
from dsl.ruleset import RuleSet, build
from tests.fixture_library import NOW, Fixture, stories
from worker.contract.strict_reader import Accepted, Contract
from worker.rulefiles import load

SKEW = 300_000_000
EVENTS = "event a { n: int? }\nevent b {}\n"
AT = 1_777_593_600_000_000
"""2026-05-01T00:00:00Z."""


def ruleset(text: str) -> RuleSet:
    made = build([("rules.ach", (EVENTS + text).encode())])
    assert made.program is not None, made.problems
    return made


def event(at: int, kind: str = "a") -> Event:
    return Event("t", f"e{at}", kind, "u", at, 0, {"n": 5} if kind == "a" else {})


def granted(text: str, *events: Event) -> list[tuple[str, int]]:
    program = ruleset(text).program
    assert program is not None
    return [(one.achievement, one.version) for one in run(program, events).unlocks]


@pytest.mark.parametrize("fixture", [pytest.param(one, id=one.name) for one in stories()])
def test_a_state_that_is_written_and_read_is_the_same_state(fixture: Fixture) -> None:
    rules = load([fixture.rules])
    assert rules.program is not None
    contract = Contract(rules.rules.events, prefix="events", skew=SKEW)
    read = [one for line in fixture.lines() for one in contract.read("", line, now=NOW)]
    events = {(one.event.tenant, one.event.id): one.event for one in read if isinstance(one, Accepted)}
    subjects = by_subject(rules.program, sorted(events.values(), key=canonical_order))
    outcome = run(rules.program, events.values())
    assert outcome.states.keys() == subjects.keys()
    for state in outcome.states.values():
        assert decode(encode(state)) == state


@pytest.mark.parametrize("when", ["max(event=a, of=n, >= 1, unless=a)", "any(count(event=a, >= 1), unless=a)"])
def test_what_breaks_a_condition_cannot_also_make_it(when: str) -> None:
    assert granted(f'achievement x {{ title "X" when {when} }}', event(AT), event(AT + 1)) == []


REPEATS = pytest.mark.parametrize("repeat", ["", "repeat each", "repeat every day"])


@REPEATS
def test_one_version_is_in_effect_at_an_instant(repeat: str) -> None:
    text = f"""
    achievement x {{ title "X" {repeat} when count(event=a, >= 1) }}
    achievement x version 2 from 2026-05-01T00:00:00Z {{ title "X" {repeat} when count(event=a, >= 1) }}
    """
    assert granted(text, event(AT - 1)) == [("x", 1)]
    assert granted(text, event(AT)) == [("x", 2)]


@REPEATS
def test_active_ends_before_its_end(repeat: str) -> None:
    text = f'achievement x {{ title "X" {repeat} active .. 2026-05-01T00:00:00Z when count(event=a, >= 1) }}'
    assert granted(text, event(AT)) == []
    assert granted(text, event(AT - 1)) == [("x", 1)]
