"""Judges behind the gates of their aggregates grant the same as judges without gates, at every event.

A watched plan has no gates: its judges run in order, at every event that they hear.
"""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dsl.fold import fold
from dsl.outcome import by_subject, canonical_order
from dsl.ruleset import build
from dsl.watch import watched
from tests.reference import strategies
from tests.reference.dense_events import close_events, plain_rules
from tests.reference.draw_settings import thorough


@thorough(300)
@given(st.integers(0, 2**32))
def test_a_gate_opens_for_any_tier_earned(seed: int) -> None:
    dice = Random(seed)  # noqa: S311 - no secret
    text = plain_rules(dice)
    if strategies.impossible(text):
        return
    rules = build([("drawn.ach", text.encode())])
    assert rules.program is not None
    plan, ungated = rules.program.scopes["user"], watched(rules.rules, "user").plan
    for events in by_subject(rules.program, sorted(close_events(dice), key=canonical_order)).values():
        assert sorted(map(repr, fold(plan, events)[1])) == sorted(map(repr, fold(ungated, events)[1]))
