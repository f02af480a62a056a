"""Explanations of random rules and streams: they never fail, and agree with the fold."""

from __future__ import annotations

from fractions import Fraction
from random import Random
from typing import TYPE_CHECKING

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from dsl.calendar import format_instant
from dsl.compile import compile_rules, scope_of
from dsl.explain import Asked, Explanation, explain, tiers_of
from dsl.explain.text import render
from dsl.fold import fold, standings
from dsl.outcome import Subject, by_subject, canonical_order, run
from dsl.ruleset import RuleSet, build
from tests.reference import strategies, time_zones
from tests.reference.draw_settings import thorough

if TYPE_CHECKING:
    from dsl.event import Event
    from dsl.explain.shape import Part


def _rules(text: str) -> RuleSet:
    rules = build([("drawn.ach", text.encode())])
    assume(not rules.errors)
    return rules


def _asked(rules: RuleSet, subject: Subject, now: int) -> list[Asked]:
    return [
        Asked(subject.tenant_id, subject.subject, name, tier, None, now)
        for name, versions in rules.rules.achievements.items()
        if scope_of(versions[0]) == subject.scope
        for tier in tiers_of(rules.rules, name)
    ]


def _had(explanation: Explanation) -> set[tuple[str | None, int, str]]:
    return {(one.occurrence, one.version, one.earned_at) for one in explanation.had}


@thorough(60)
@given(strategies.scenarios())
def test_an_explanation_never_fails_and_agrees_with_the_fold(scenario: strategies.Scenario) -> None:
    _explain_all(scenario.text, scenario.events)


@thorough(60)
@given(st.integers(0, 2**32))
def test_so_it_does_where_labels_come_back(seed: int) -> None:
    dice = Random(seed)  # noqa: S311 - no secret
    _explain_all(time_zones.rules(dice), time_zones.journey(dice), abroad=True)


def _explain_all(text: str, stream: list[Event], *, abroad: bool = False) -> None:
    rules = _rules(text)
    program = compile_rules(rules.rules)
    now = max(event.at for event in stream) + 40 * strategies.DAY  # whatever settles has settled
    outcome = run(program, stream)
    for subject, events in by_subject(program, stream).items():
        standing = {
            (each.achievement, each.tier): each
            for each in standings(program.scopes[subject.scope], outcome.states[subject], now)
        }
        _, grants = fold(program.scopes[subject.scope], sorted(events, key=canonical_order))
        for asked in _asked(rules, subject, now):
            explanation = explain(rules.rules, asked, events)
            assert _had(explanation) == {
                (grant.occurrence, grant.version, format_instant(grant.earned_at))
                for grant in grants
                if (grant.achievement, grant.tier) == (asked.achievement, asked.tier)
            }
            _check_shape(explanation)
            here = standing.get((asked.achievement, asked.tier))
            if explanation.outcome == "not yet" and here is not None and here.version == explanation.version:
                assert explanation.when.progress.fraction == str(here.measure.fraction)
            for one in explanation.had:
                again = explain(rules.rules, asked._replace(occurrence=one.occurrence), events)
                _check_earned(again, one.earned_at, one.version, abroad=abroad)


def _check_shape(explanation: Explanation) -> None:
    assert msgspec.json.decode(msgspec.json.encode(explanation), type=Explanation) is not None
    assert list(render(explanation))
    assert bool(explanation.missing) == (explanation.outcome == "not yet")
    _check_part(explanation.when)
    positions = [(each.occurred_at, each.event_id) for each in explanation.events]
    assert positions == sorted(positions)


def _check_part(part: Part) -> None:
    assert part.holds == (not part.missing)
    assert 0 <= Fraction(part.progress.fraction) <= 1
    for below in part.parts:
        _check_part(below)


def _check_earned(explanation: Explanation, earned_at: str, version: int, *, abroad: bool) -> None:
    assert explanation.outcome == "earned"
    assert (explanation.earned_at, explanation.version) == (earned_at, version)
    assert explanation.when.holds
    assert all(fact.holds for fact in explanation.requirements)
    assert explanation.at_begin or explanation.events[-1].event_id == explanation.earned_by
    # A streak begins where its unit does, by the clock of the moment asked: perhaps behind the event that earned it.
    assert abroad or explanation.when.since is None or explanation.when.since <= earned_at
