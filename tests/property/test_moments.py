"""The begin of a version is a moment: the fold, its arrival in pieces and the slow reference agree about it.

The clock of a replay goes to the latest event or to a later instant; of a worker, it passes moments between events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from dsl.fold import fold, reach, start, walk
from dsl.moments import at_moment
from dsl.outcome import by_subject, canonical_order, digest, run
from dsl.progress import decode, encode
from dsl.ruleset import build
from dsl.story import Arrival
from tests.property.test_fold import unlocks, unlocks_by_definition
from tests.reference import evaluator, strategies
from tests.reference.draw_settings import thorough
from tests.reference.rule_text import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.compile import Program
    from dsl.event import Event
    from tests.reference.strategies import Scenario

LATER = (0, 1, strategies.HOUR, 8 * strategies.DAY)
"""How far behind the latest event a clock stands."""


def compiled(text: str) -> Program:
    program = build([("drawn.ach", text.encode())]).program
    assert program is not None
    return program


def latest(scenario: Scenario) -> int:
    return max((event.at for event in scenario.events), default=0)


@thorough(25)
@given(strategies.moments(), st.sampled_from(LATER))
def test_the_fold_earns_at_moments_what_the_reference_earns(scenario: Scenario, later: int) -> None:
    until = latest(scenario) + later
    outcome = run(compiled(scenario.text), scenario.events, until)
    assert unlocks(outcome) == unlocks_by_definition(
        evaluator.outcome(read(scenario.text), scenario.events, until=until)
    )


@thorough(12)
@given(strategies.moments(), st.sampled_from(LATER), st.randoms(use_true_random=False), st.integers(1, 7))
def test_moments_that_pass_between_batches_do_not_show(
    scenario: Scenario, later: int, random: object, size: int
) -> None:
    program, until = compiled(scenario.text), latest(scenario) + later
    expected = run(program, scenario.events, until)
    arriving: list[Event] = [*scenario.events]
    getattr(random, "shuffle")(arriving)  # noqa: B009 - Hypothesis has no type for what it draws here
    arrival = Arrival(program)
    for at in range(0, len(arriving), size):
        arrival.take(arriving[at : at + size])
        arrival.reach(arriving[at].at + later)  # a clock that runs ahead of what comes
        for subject, state in arrival.states.items():
            restored = decode(encode(state))
            assert restored is not None
            arrival.states[subject] = restored
    ahead = max(until, arrival.clock)
    assert arrival.unlocks(ahead) == run(program, scenario.events, ahead).unlocks
    if ahead == until:
        assert digest(program, expected.unlocks, arrival.states) == digest(program, expected.unlocks, expected.states)


def cut(scenario: Scenario, program: Program) -> Iterator[tuple[str, list[Event]]]:
    for subject, events in by_subject(program, scenario.events).items():
        yield subject.scope, sorted(events, key=canonical_order)


@thorough(12)
@given(strategies.moments(), st.integers(0, 40))
def test_a_moment_that_is_judged_again_earns_nothing_again(scenario: Scenario, cut_at: int) -> None:
    program, until = compiled(scenario.text), latest(scenario)
    for scope, events in cut(scenario, program):
        plan = program.scopes[scope]
        state, earned = fold(plan, events, until)
        assert reach(plan, state, until) == []
        # Between two events, the clock has come exactly to the later one.
        pieces = start(plan)
        grants = walk(plan, pieces, events[:cut_at])
        for event in events[cut_at:]:
            grants += reach(plan, pieces, event.at)
            grants += walk(plan, pieces, [event])
        grants += reach(plan, pieces, until)
        assert (grants, encode(pieces)) == (earned, encode(state))


def test_what_is_drawn_is_earned_at_moments() -> None:
    """Without it, the tests above would say little."""
    earned = asked = 0

    @thorough(25)
    @given(strategies.moments())
    def count(scenario: Scenario) -> None:
        nonlocal earned, asked
        program = compiled(scenario.text)
        asked += 1
        earned += any(
            at_moment(grant)
            for scope, events in cut(scenario, program)
            for grant in fold(program.scopes[scope], events, latest(scenario))[1]
        )

    count()
    assert earned >= asked / 25
