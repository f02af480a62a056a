"""The strategies are useful: they draw valid rules, and a large share unlocks something."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings

from tests.reference import strategies
from tests.reference.evaluator import outcome
from tests.reference.rule_text import read


def test_a_large_share_unlocks_something() -> None:
    granted: list[bool] = []

    @settings(
        max_examples=60,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(strategies.scenarios())
    def measure(scenario: strategies.Scenario) -> None:
        ids = [event.id for event in scenario.events]
        assert len(ids) == len(set(ids))
        granted.append(bool(outcome(read(scenario.text), scenario.events).unlocks))

    measure()
    assert sum(granted) > 0.5 * len(granted)
