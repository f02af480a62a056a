"""Unlocks as events: the fold, its arrival in pieces, and the slow reference agree about what counts unlocks.

`ACH_EXAMPLES` sets the number of examples.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Final

from hypothesis import given
from hypothesis import strategies as st

from dsl.analyze import verdicts
from dsl.compile import USER
from dsl.fold import standings
from dsl.outcome import Subject, run
from dsl.progress import State
from dsl.ruleset import build
from tests.faults.changes_rules import Rulebook, Version, is_valid
from tests.property.test_carry import cases, check
from tests.property.test_decide import BATCHES, drawn_rules, lived, small
from tests.property.test_fold import arrives_as_in_order, shown, unlocks, unlocks_by_definition
from tests.property.test_late import arrive, shuffled
from tests.reference import counted_unlocks, evaluator
from tests.reference.draw_settings import thorough
from tests.reference.rule_text import read
from tests.reference.taken_back import taken_back

if TYPE_CHECKING:
    import pytest

    from dsl.compile import Program
    from dsl.event import Event
    from tests.reference.strategies import Scenario


def compiled(text: str) -> Program:
    rules = build([("drawn.ach", text.encode())])
    assert rules.program is not None, rules.problems
    return rules.program


@thorough(8)
@given(counted_unlocks.scenarios())
def test_the_fold_grants_what_the_reference_grants(scenario: Scenario) -> None:
    outcome = run(compiled(scenario.text), scenario.events)
    assert unlocks(outcome) == unlocks_by_definition(evaluator.outcome(read(scenario.text), scenario.events))


@thorough(6)
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


@thorough(6)
@given(counted_unlocks.scenarios(), st.integers(0, 2**32), st.integers(1, 7))
def test_order_copies_batches_and_restarts_do_not_show(scenario: Scenario, seed: int, size: int) -> None:
    arriving: list[Event] = [*scenario.events, *scenario.events]
    Random(seed).shuffle(arriving)  # noqa: S311 - no secret
    arrives_as_in_order(compiled(scenario.text), scenario.events, arriving, size)


@thorough(5)
@given(counted_unlocks.scenarios(), st.integers(0, 2**32))
def test_what_is_absorbed_is_as_if_it_had_come_in_order(scenario: Scenario, seed: int) -> None:
    dice = Random(seed)  # noqa: S311 - no secret
    arrive(compiled(scenario.text), shuffled(dice, scenario.events))


@thorough(10)
@given(counted_unlocks.scenarios(calm=True) | counted_unlocks.scenarios(), st.integers(0, 2**32))
def test_no_late_event_takes_back_a_final_grant(scenario: Scenario, seed: int) -> None:
    rules = build([("drawn.ach", scenario.text.encode())])
    assert rules.program is not None
    final = {key for key, verdict in verdicts(rules.rules).items() if verdict.final}
    arriving = [*scenario.events]
    Random(seed).shuffle(arriving)  # noqa: S311 - no secret
    wrong = [each for each in taken_back(rules.program, arriving) if (each.known.achievement, each.version) in final]
    assert wrong == []


# -- rules that change, and the worker ---------------------------------------------------------------------------------


@thorough(4)
@given(counted_unlocks.changes(), st.integers(0, 2**32))
def test_a_state_is_carried_to_other_rules(change: counted_unlocks.Change, seed: int) -> None:
    programs = [(rules.program, rules.rules) for text in change.texts for rules in [build([("r.ach", text.encode())])]]
    known = [(program, rules) for program, rules in programs if program is not None]
    assert len(known) == len(programs)
    dice = Random(seed)  # noqa: S311 - no secret
    for case in cases(dice, known, lambda rules: change.events, "\n---\n".join(change.texts)):
        check(case, Counter())


OVER: Final = (
    "count(event=unlocks, >= 2)",
    "count(event=unlocks, >= 3)",
    "sum(event=unlocks, of=reward.xp, >= 9)",
    "count(event=unlocks, >= 2, within=6h)",
    "all(count(event=unlocks, >= 2), count(event=a, >= 3), unless=b)",
    "count(event=unlocks, distinct=achievement, >= 2)",
    "streak(event=unlocks, per=day, >= 2)",
    'count(event=unlocks where achievement in ["s", "u"], >= 1)',
)


def over_unlocks(dice: Random) -> Rulebook:
    """Draw rules, with some over their unlocks that late events give and take."""
    book = drawn_rules(dice)
    for name in ("s", "t"):
        more = {"s": ("reward { xp: 5 }",), "t": ("settle 6h",) if dice.random() < 0.3 else ()}
        repeat = dice.choice(("", "", "each", "every day"))
        when = dice.choice(OVER[:-1] if name == "s" else OVER)
        version = Version(name, 1, "", False, USER, repeat, (("", when),), more[name])
        made = book._replace(versions=(*book.versions, version))
        book = made if is_valid(made.text()) else book
    return book


def test_the_books_of_a_worker_say_what_the_reference_says(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    done, number, seen = 0, 0, Counter[str]()
    while done < BATCHES // 80:
        dice = Random(f"unlocks {number}")  # noqa: S311 - no secret
        book, batches = over_unlocks(dice), dice.randint(8, 30)
        try:
            seen += lived(f"unlocks {number}", book, batches)
        except BaseException as error:
            error.add_note(book.text())
            raise
        done, number = done + batches, number + 1
    assert [name for name in ("contested", "amended", "long refolds") if not seen[name]] == []
