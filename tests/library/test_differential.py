"""The library form grants what `ach replay` does: on every recorded stream, in any order, and over every cut."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from ach import evaluate
from tests.fixture_library import NOW, histories, in_process, stories
from tests.library.streams import EVERYTHING, Sessions, rules_of, taken_of, unlocks_of

if TYPE_CHECKING:
    from tests.fixture_library import Fixture

STORIES = stories()
SHORT = [one for one in STORIES if len(one.lines()) < 100]
MIDDLING = [one for one in STORIES if len(one.lines()) < 2000]


def named(fixtures: list[Fixture]) -> pytest.MarkDecorator:
    """Run a test with each fixture; the longest are for the long suite."""
    marks = {"flask": pytest.mark.faults, "lark": pytest.mark.faults}
    return pytest.mark.parametrize(
        "fixture", [pytest.param(one, id=one.name, marks=marks.get(one.name, ())) for one in fixtures]
    )


@named([*STORIES, *histories()])
def test_evaluate_says_what_replay_does(fixture: Fixture) -> None:
    lines = fixture.lines()
    expected, dead = in_process(fixture, lines)
    said = evaluate(rules_of(fixture.rules), lines, now=NOW)
    assert (said.unlocks, said.digest, said.counts) == (expected.unlocks, expected.digest, expected.counts)
    assert [(one.reason, one.detail, one.body) for one in said.rejected] == [
        (one.reason.value, one.detail, one.body) for one in dead
    ]


@named([*STORIES, *histories()])
def test_sessions_grant_what_replay_does_in_canonical_order(fixture: Fixture) -> None:
    rules = rules_of(fixture.rules)
    events = {(one.event.tenant, one.event.id): one for one in taken_of(rules, fixture.lines())}
    sessions = Sessions(rules, remember=5)
    for taken in sorted(events.values(), key=lambda one: (one.event.at, one.event.id)):
        sessions.feed(taken)
    clock = max((one.event.at for one in events.values()), default=0)
    assert unlocks_of(sessions.fed, clock) == in_process(fixture, fixture.lines())[0].unlocks


@named(MIDDLING)
def test_sessions_hold_what_replay_grants_in_the_order_of_arrival(fixture: Fixture) -> None:
    rules = rules_of(fixture.rules)
    events = [*taken_of(rules, fixture.lines())]
    sessions = Sessions(rules, remember=EVERYTHING)
    for taken in events:
        sessions.feed(taken)
    clock = max((one.event.at for one in events), default=0)
    assert unlocks_of(sessions.held(), clock) == in_process(fixture, fixture.lines())[0].unlocks


@named(SHORT)
@pytest.mark.parametrize("remember", [0, 1, 3])
def test_every_cut_to_bytes_and_back_changes_nothing(fixture: Fixture, remember: int) -> None:
    rules = rules_of(fixture.rules)
    events = {(one.event.tenant, one.event.id): one for one in taken_of(rules, fixture.lines())}
    sessions = Sessions(rules, remember=remember, cut=True)
    for taken in sorted(events.values(), key=lambda one: (one.event.at, one.event.id)):
        sessions.feed(taken)
    clock = max((one.event.at for one in events.values()), default=0)
    assert unlocks_of(sessions.fed, clock) == in_process(fixture, fixture.lines())[0].unlocks


@named(SHORT)
def test_any_order_over_every_cut_ends_the_same(fixture: Fixture) -> None:
    rules = rules_of(fixture.rules)
    events = [*taken_of(rules, fixture.lines())]
    Random(22).shuffle(events)  # noqa: S311 - an order, not a secret
    sessions = Sessions(rules, remember=EVERYTHING, cut=True)
    for taken in events:
        sessions.feed(taken)
    clock = max((one.event.at for one in events), default=0)
    assert unlocks_of(sessions.held(), clock) == in_process(fixture, fixture.lines())[0].unlocks
