"""The compiled fold against the slow reference: the same unlocks and progress in every arrival order.

`ACH_EXAMPLES` sets the number of examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.calendar import format_instant
from dsl.event import Event
from dsl.fold import standings
from dsl.outcome import Subject, digest, run
from dsl.progress import State, decode, encode
from dsl.ruleset import build
from dsl.story import Arrival
from tests.reference import evaluator, strategies
from tests.reference.draw_settings import thorough
from tests.reference.rule_text import read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from dsl.compile import Program
    from dsl.outcome import Outcome
    from tests.reference.progress_made import Progress


_thorough = thorough(60)


def _compiled(text: str) -> Program:
    program = build([("drawn.ach", text.encode())]).program
    assert program is not None
    return program


def unlocks(outcome: Outcome) -> list[tuple[object, ...]]:
    return sorted(
        (u.tenant_id, u.scope, u.subject, u.achievement, u.tier or "", u.occurrence or "", u.version, u.earned_at)
        for u in outcome.unlocks
    )


def unlocks_by_definition(outcome: evaluator.Outcome) -> list[tuple[object, ...]]:
    return sorted(
        (*u.subject, u.achievement, u.tier or "", u.occurrence or "", u.version, format_instant(u.earned_at))
        for u in outcome.unlocks
    )


@_thorough
@given(strategies.scenarios())
def test_the_fold_grants_what_the_reference_grants(scenario: strategies.Scenario) -> None:
    outcome = run(_compiled(scenario.text), scenario.events)
    expected = evaluator.outcome(read(scenario.text), scenario.events)
    assert unlocks(outcome) == unlocks_by_definition(expected)
    # The reference knows subjects of the scopes that have achievements; copies are counted by user.
    copies = [number for subject, number in expected.copies.items() if subject.scope == "user"]
    assert not copies or outcome.suppressed == sum(copies)


@_thorough
@given(strategies.scenarios())
def test_progress_is_that_of_the_reference(scenario: strategies.Scenario) -> None:
    program = _compiled(scenario.text)
    now = max((event.at for event in scenario.events), default=0)
    expected = evaluator.outcome(read(scenario.text), scenario.events, now)
    states = run(program, scenario.events).states
    for goal, progress in expected.progress.items():
        # Of a subject to which nothing has happened that its rules hear, nothing is known.
        state = states.get(Subject(*goal.subject), State())
        found = standings(program.scopes[goal.subject.scope], state, now)
        measure = next(each.measure for each in found if (each.achievement, each.tier) == goal[1:])
        if progress.fraction or measure.fraction:
            assert shown(progress) == (measure.fraction, measure.current, measure.target)


def shown(progress: Progress) -> tuple[Fraction, Fraction | None, Fraction | None]:
    return progress.fraction, progress.current, progress.target


@_thorough
@given(strategies.scenarios(), st.randoms(use_true_random=False), st.integers(1, 7))
def test_order_copies_batches_and_restarts_do_not_show(
    scenario: strategies.Scenario, random: object, size: int
) -> None:
    arriving: list[Event] = [*scenario.events, *scenario.events]
    getattr(random, "shuffle")(arriving)  # noqa: B009 - Hypothesis has no type for what it draws here
    arrives_as_in_order(_compiled(scenario.text), scenario.events, arriving, size)


def arrives_as_in_order(program: Program, events: Sequence[Event], arriving: Sequence[Event], size: int) -> None:
    """Assert that `events` earn what they earn in order where they come as `arriving`, in batches of `size`."""
    expected = run(program, events)
    arrival = Arrival(program)
    for at in range(0, len(arriving), size):
        arrival.take(arriving[at : at + size])
        # A restart between any two batches: nothing is kept but what is written down.
        for subject, state in arrival.states.items():
            restored = decode(encode(state))
            assert restored is not None
            arrival.states[subject] = restored
    clock = max((event.at for event in events), default=0)
    assert arrival.unlocks(clock) == expected.unlocks
    assert digest(program, expected.unlocks, arrival.states) == digest(program, expected.unlocks, expected.states)


CLEAN = """
event a {}
event b {}
achievement clean { title "Two clean days" when streak(event=a, per=day, >= 2, unless=b) }
achievement hours { title "Two clean hours" when all(streak(event=a, per=hour, >= 2, unless=b), count(event=a, >= 9)) }
"""


@pytest.mark.parametrize(("begin", "days"), [(0, 1), (1, 1), (-1, 2)])
def test_an_event_at_the_very_start_of_a_unit_spoils_it(begin: int, days: int) -> None:
    stream = [Event("t", f"a{i}", "a", "u", i * strategies.DAY + 60, 0, {}) for i in (100, 101)]
    stream.append(Event("t", "b", "b", "u", 100 * strategies.DAY + begin, 0, {}))
    now = stream[1].at
    program, expected = _compiled(CLEAN), evaluator.outcome(read(CLEAN), stream, now)
    [state] = run(program, stream).states.values()
    ours = {each.achievement: each.measure for each in standings(program.scopes["user"], state, now)}
    assert ours["clean"].current == days
    assert {
        goal.achievement: (each.fraction, each.current, each.target) for goal, each in expected.progress.items()
    } == {name: (measure.fraction, measure.current, measure.target) for name, measure in ours.items()}
