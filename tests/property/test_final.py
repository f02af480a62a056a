"""*Final* is a guarantee: no late event takes back a grant of an achievement that the analysis calls final.

Files and streams are random, the events arrive in some order, and after every event the test compares the grants so
far with the supported ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from dsl.analyze import verdicts
from dsl.ruleset import build
from tests.reference import strategies
from tests.reference.draw_settings import thorough
from tests.reference.taken_back import taken_back

if TYPE_CHECKING:
    from dsl.event import Event


@thorough(60)
@given(strategies.scenarios() | strategies.moments(), st.randoms(use_true_random=False))
def test_no_late_event_takes_back_a_final_grant(scenario: strategies.Scenario, random: object) -> None:
    rules = build([("drawn.ach", scenario.text.encode())])
    assert rules.program is not None
    final = {key for key, verdict in verdicts(rules.rules).items() if verdict.final}
    arriving: list[Event] = list(scenario.events)
    getattr(random, "shuffle")(arriving)  # noqa: B009 - Hypothesis has no type for what it draws here
    wrong = [each for each in taken_back(rules.program, arriving) if (each.known.achievement, each.version) in final]
    assert wrong == []
