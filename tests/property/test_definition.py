"""The reference's table of latest starts, compared with its definition, on random conditions.

"The latest position s where it holds on the events from s to e": so the test drops the events before each s, one
after the other, and checks only whether the condition still holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dsl import syntax
from dsl.trees import walk
from tests.reference import strategies
from tests.reference.latest_starts import BEGINNING, Prefix, View, is_signed, latest_start
from tests.reference.rule_text import read
from tests.reference.timeline import position, timelines
from tests.reference.unlocks import scope_of, tiers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.event import Position
    from tests.reference.ruleset import Ruleset
    from tests.reference.timeline import Timeline

LEISURELY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=100)


def cases(scenario: strategies.Scenario) -> Iterator[tuple[Ruleset, syntax.Condition, Timeline]]:
    """Yield the conditions of a scenario with the timelines of their scope."""
    rules = read(scenario.text)
    for versions in rules.achievements.values():
        subjects = timelines(rules, scenario.events, scope_of(versions[0])).values()
        for condition in (when for version in versions for when in tiers(version).values()):
            yield from ((rules, condition, timeline) for timeline in subjects)


def starts(view: View, condition: syntax.Condition) -> list[Position | None]:
    """Return the latest start on every prefix."""
    return [latest_start(condition, Prefix(view, i)) for i in range(view.first, len(view.timeline.events))]


@LEISURELY
@given(strategies.scenarios(), st.integers(0, 10**6))
def test_the_table_says_what_the_definition_says(scenario: strategies.Scenario, pick: int) -> None:
    def tells(rules: Ruleset, condition: syntax.Condition) -> bool:
        # A streak's start is no event, a signed sum has none, and an unlock does not lie among the events.
        return not any(
            isinstance(part, syntax.Streak | syntax.StreakUnits | syntax.Unlocked)
            or (isinstance(part, syntax.Sum) and is_signed(rules, part))
            for part in walk(condition)
        )

    fit = [case for case in cases(scenario) if tells(case[0], case[1])]
    assume(fit)
    rules, condition, timeline = fit[pick % len(fit)]
    last = len(timeline.events) - 1
    by_table = starts(View(rules, timeline, ()), condition)[last]
    from_each = {first: starts(View(rules, timeline, (), first), condition)[-1] for first in range(last + 1)}
    holding = [first for first, start in from_each.items() if start is not None]
    assert by_table == (position(timeline.events[max(holding)]) if holding else None)


@LEISURELY
@given(strategies.scenarios())
def test_a_latest_start_never_moves_back(scenario: strategies.Scenario) -> None:
    for rules, condition, timeline in cases(scenario):
        if any(isinstance(part, syntax.Sum) and is_signed(rules, part) for part in walk(condition)):
            continue
        found = [start or BEGINNING for start in starts(View(rules, timeline, ()), condition)]
        assert found == sorted(found)
