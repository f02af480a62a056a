"""Unlocks as events: the fold, its arrival in pieces, and the slow reference agree about what counts unlocks.

`ACH_EXAMPLES` sets the number of examples.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from dsl.analyze import verdicts
from dsl.fold import standings
from dsl.outcome import Subject, digest, run
from dsl.progress import State, decode, encode
from dsl.ruleset import build
from dsl.story import Arrival
from tests.property.test_fold import shown, unlocks, unlocks_by_definition
from tests.property.test_late import arrive, shuffled
from tests.reference import counted_unlocks, evaluator
from tests.reference.draw_settings import thorough
from tests.reference.rule_text import read
from tests.reference.taken_back import taken_back

if TYPE_CHECKING:
    from dsl.compile import Program
    from dsl.event import Event
    from tests.reference.strategies import Scenario


def compiled(text: str) -> Program:
    rules = build([("drawn.ach", text.encode())])
    assert rules.program is not None, rules.problems
    return rules.program


@thorough(14)
@given(counted_unlocks.scenarios())
def test_the_fold_grants_what_the_reference_grants(scenario: Scenario) -> None:
    outcome = run(compiled(scenario.text), scenario.events)
    assert unlocks(outcome) == unlocks_by_definition(evaluator.outcome(read(scenario.text), scenario.events))


@thorough(9)
@given(counted_unlocks.scenarios())
def test_progress_is_that_of_the_reference(scenario: Scenario) -> None:
    program = compiled(scenario.text)
    now = max((event.at for event in scenario.events), default=0)
    expected = evaluator.outcome(read(scenario.text), scenario.events, now)
    states = run(program, scenario.events).states
    for goal, progress in expected.progress.items():
        state = states.get(Subject(*goal.subject), State())
        found = standings(program.scopes[goal.subject.scope], state, now)
        measure = next(each.measure for each in found if (each.achievement, each.tier) == goal[1:])
        if progress.fraction or measure.fraction:
            assert (goal, shown(progress)) == (goal, (measure.fraction, measure.current, measure.target))


@thorough(9)
@given(counted_unlocks.scenarios(), st.integers(0, 2**32), st.integers(1, 7))
def test_order_copies_batches_and_restarts_do_not_show(scenario: Scenario, seed: int, size: int) -> None:
    program, dice = compiled(scenario.text), Random(seed)  # noqa: S311 - no secret
    expected = run(program, scenario.events)
    arriving: list[Event] = [*scenario.events, *scenario.events]
    dice.shuffle(arriving)
    arrival = Arrival(program)
    for at in range(0, len(arriving), size):
        arrival.take(arriving[at : at + size])
        for subject, state in arrival.states.items():
            restored = decode(encode(state))
            assert restored is not None
            arrival.states[subject] = restored
    clock = max((event.at for event in scenario.events), default=0)
    assert arrival.unlocks(clock) == expected.unlocks
    assert digest(program, expected.unlocks, arrival.states) == digest(program, expected.unlocks, expected.states)


@thorough(9)
@given(counted_unlocks.scenarios(), st.integers(0, 2**32))
def test_what_is_absorbed_is_as_if_it_had_come_in_order(scenario: Scenario, seed: int) -> None:
    dice = Random(seed)  # noqa: S311 - no secret
    arrive(compiled(scenario.text), shuffled(dice, scenario.events))


@thorough(20)
@given(counted_unlocks.scenarios(), st.integers(0, 2**32))
def test_no_late_event_takes_back_a_final_grant(scenario: Scenario, seed: int) -> None:
    rules = build([("drawn.ach", scenario.text.encode())])
    assert rules.program is not None
    final = {key for key, verdict in verdicts(rules.rules).items() if verdict.final}
    arriving = [*scenario.events]
    Random(seed).shuffle(arriving)  # noqa: S311 - no secret
    wrong = [each for each in taken_back(rules.program, arriving) if (each.known.achievement, each.version) in final]
    assert wrong == []
