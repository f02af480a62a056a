"""Earning, progress and explanations agree at every moment, and the listed events are enough."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import assume, given
from hypothesis import strategies as st

from dsl.calendar import format_instant
from dsl.compile import compile_rules, scope_of
from dsl.explain import Asked, Explanation, explain, tiers_of
from dsl.explain.text import render
from dsl.fold import fold, standings
from dsl.moments import at_moment
from dsl.outcome import Subject, by_subject, canonical_order, run
from dsl.progress import State
from dsl.ruleset import RuleSet, build
from dsl.syntax import Repeat, RepeatBy, RepeatEach
from tests.property.test_fold import shown, unlocks, unlocks_by_definition
from tests.reference import edge_cases, evaluator, strategies
from tests.reference.draw_settings import thorough
from tests.reference.rule_text import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.compile import Program
    from dsl.event import Event
    from dsl.explain.shape import Part
    from dsl.progress import Grant

HOUR = strategies.HOUR
LATER = (0, 1, 5 * HOUR, 30 * HOUR)
"""How long after the last event it is asked."""
DONE = re.compile(r"(?<![\d.])([\d.]+) of \1(?![\d.])")


class Case(NamedTuple):
    """An achievement and tier of one subject, the events that the subject has, and the grants that these earn."""

    rules: RuleSet
    program: Program
    asked: Asked
    events: list[Event]
    grants: list[Grant]

    @property
    def repeat(self) -> Repeat | None:
        """How it repeats."""
        return self.rules.rules.achievements[self.asked.achievement][0].repeat

    @property
    def current(self) -> Fraction | None:
        """Progress; None where no version is in effect."""
        plan = self.program.scopes[scope_of(self.rules.rules.achievements[self.asked.achievement][0])]
        state, _ = fold(plan, self.events, self.asked.now)
        return next(
            (
                each.measure.fraction
                for each in standings(plan, state, self.asked.now)
                if (each.achievement, each.tier) == (self.asked.achievement, self.asked.tier)
            ),
            None,
        )


def _cases(scenario: strategies.Scenario, until: int, later: int) -> Iterator[Case]:
    """Yield all that may be asked of a scenario, some time after one of its events and before the next."""
    rules = build([("drawn.ach", scenario.text.encode())])
    assume(not rules.errors)
    program = compile_rules(rules.rules)
    known = sorted(scenario.events, key=canonical_order)[: until + 1]
    now = known[-1].at + later
    for subject, heard in by_subject(program, [event for event in scenario.events if event.at <= now]).items():
        events = sorted(heard, key=canonical_order)
        _, grants = fold(program.scopes[subject.scope], events, now)
        for name, versions in rules.rules.achievements.items():
            if scope_of(versions[0]) == subject.scope:
                for tier in tiers_of(rules.rules, name):
                    asked = Asked(subject.tenant_id, subject.subject, name, tier, None, now)
                    own = [grant for grant in grants if (grant.achievement, grant.tier) == (name, tier)]
                    yield Case(rules, program, asked, events, own)


def _check(case: Case) -> None:
    explanation = explain(case.rules.rules, case.asked, case.events)
    _check_consistent(explanation)
    # Of `repeat by`, progress is that of a value that has not earned yet, and an explanation that of the last that has.
    if case.current is not None and not isinstance(case.repeat, RepeatBy):
        assert (case.current == 1) == (explanation.earned_at is not None or explanation.when.holds)
    if explanation.earned_at is None and case.current is not None:
        assert explanation.when.progress.fraction == str(case.current)
    for grant in case.grants:
        earned = explain(case.rules.rules, case.asked._replace(occurrence=grant.occurrence), case.events)
        assert (earned.occurrence, earned.earned_at) == (grant.occurrence, format_instant(grant.earned_at))
        assert earned.version == grant.version
        assert earned.earned_by == grant.event_id or (earned.at_begin and at_moment(grant))
        _check_consistent(earned)
        _check_enough(case, earned, grant)


def _check_consistent(explanation: Explanation) -> None:
    """What is not earned is not said to be complete, and a part is full exactly if it holds."""
    if explanation.earned_at is None:
        assert not DONE.search(next(render(explanation)))
        assert explanation.missing
        assert not any(re.match(r"0 more", text) for text in explanation.missing)
    else:
        assert explanation.when.holds
        assert explanation.earned_by in {each.event_id for each in explanation.events}
        assert explanation.at_begin or explanation.events[-1].event_id == explanation.earned_by
    for part in _parts(explanation.when):
        assert part.holds == (Fraction(part.progress.fraction) == 1) == (not part.missing)


def _parts(part: Part) -> Iterator[Part]:
    yield part
    for below in part.parts:
        yield from _parts(below)


def _check_enough(case: Case, earned: Explanation, grant: Grant) -> None:
    """The listed events alone earn the same at the same event; one of `repeat each` under another number."""
    listed = {event.event_id for event in earned.events}
    plan = case.program.scopes[earned.scope]
    _, grants = fold(plan, [event for event in case.events if event.id in listed], grant.earned_at)
    found = [each for each in grants if (each.achievement, each.tier) == (grant.achievement, grant.tier)]
    if isinstance(case.repeat, RepeatEach):
        assert grant in [each._replace(occurrence=grant.occurrence) for each in found]
    else:
        assert grant in found


@thorough(60)
@given(edge_cases.scenarios(), st.integers(0, 13), st.sampled_from(LATER))
def test_explanations_agree_in_the_corners(scenario: strategies.Scenario, until: int, later: int) -> None:
    for case in _cases(scenario, until, later):
        _check(case)


@thorough(40)
@given(strategies.scenarios(), st.integers(5, 100), st.sampled_from(LATER))
def test_explanations_agree_on_random_rules(scenario: strategies.Scenario, until: int, later: int) -> None:
    for case in _cases(scenario, until, later):
        _check(case)


@thorough(60)
@given(edge_cases.scenarios(), st.sampled_from(LATER))
def test_the_fold_follows_the_definition_in_the_corners(scenario: strategies.Scenario, later: int) -> None:
    rules = build([("drawn.ach", scenario.text.encode())])
    assume(not rules.errors)
    program, definition = compile_rules(rules.rules), read(scenario.text)
    outcome = run(program, scenario.events)
    assert unlocks(outcome) == unlocks_by_definition(evaluator.outcome(definition, scenario.events))
    now = max(event.at for event in scenario.events) + later
    for goal, progress in evaluator.progress(definition, scenario.events, now).items():
        state = outcome.states.get(Subject(*goal.subject), State())
        found = standings(program.scopes[goal.subject.scope], state, now)
        measure = next(each.measure for each in found if (each.achievement, each.tier) == goal[1:])
        if progress.fraction or measure.fraction:
            assert shown(progress) == (measure.fraction, measure.current, measure.target)
