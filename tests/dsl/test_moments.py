"""Moments: `unless` at the start of a unit, empty totals, and "now" for a team."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from dsl.calendar import format_instant
from dsl.explain import Asked, explain
from dsl.fold import fold, standings
from dsl.ruleset import build
from tests.reference import evaluator
from tests.reference.hand_computed import e
from tests.reference.rule_text import read

if TYPE_CHECKING:
    from dsl.event import Event

CONTRACT = """
event a { team: string? }
event other {}
event stop {}
event points { n: int, x: decimal? }
event moved { timezone: string?, team: string? }
traits from moved { timezone: string }
"""


class Came(NamedTuple):
    """What has come of events: the event that earned it (None where nothing), and progress in numbers."""

    by: str | None
    current: object
    target: object


def _come(when: str, *events: Event, now: str = "", scope: str = "user", subject: str = "u") -> Came:
    """Fold events, and see to it that the reference and the explanation say the same."""
    text = CONTRACT + f'achievement x {{ title "X" scope {scope} when {when} }}'
    rules = build([("rules.ach", text.encode())])
    assert rules.program is not None, rules.problems
    plan = rules.program.scopes[scope]
    state, grants = fold(plan, events)
    moment = e(now, "a").at if now else events[-1].at
    (standing,) = standings(plan, state, moment)
    by_definition = evaluator.supported_unlocks(read(text), list(events))
    assert [(each.occurrence, each.by.id) for each in by_definition] == [
        (each.occurrence, each.event_id) for each in grants
    ]
    (progress,) = (
        each
        for goal, each in evaluator.progress(read(text), list(events), moment).items()
        if goal.subject.name == subject
    )
    assert (progress.fraction, progress.current) == (standing.measure.fraction, standing.measure.current)
    explanation = explain(rules.rules, Asked("t", subject, "x", None, None, moment), events)
    assert (explanation.earned_at or explanation.when.holds) if standing.measure.fraction == 1 else explanation.missing
    assert [one.earned_at for one in explanation.had] == [format_instant(grant.earned_at) for grant in grants]
    return Came(grants[0].event_id if grants else None, standing.measure.current, standing.measure.target)


@pytest.mark.parametrize(
    ("unit", "begin", "days"),
    [("day", "13 00:00", ("13 09:00", "14 09:00")), ("hour", "13 09:00", ("13 09:10", "13 10:10"))],
)
@pytest.mark.parametrize("minimum", [1, 2])
def test_an_unless_at_the_very_begin_of_a_unit_spoils_it(
    unit: str, begin: str, days: tuple[str, str], minimum: int
) -> None:
    when = f"streak(event=a, per={unit}, >= 2, min={minimum}, unless=stop)"
    events = [e(day, "a", f"{day}{n}") for day in days for n in range(minimum)]
    assert _come(when, e(begin, "stop"), *events) == (None, 1, 2)
    assert _come(f"all({when}, count(event=a, >= 99))", e(begin, "stop"), *events).by is None
    assert _come(when.replace(">= 2", ">= 3"), e(begin, "stop"), *events) == (None, 1, 3)
    assert _come(when, *events)[1:] == (2, 2)


@pytest.mark.parametrize("bound", [">= -5", ">= 0", "> -1"])
def test_a_total_of_nothing_may_be_enough(bound: str) -> None:
    since = f"sum(event=points, of=n, {bound}, unless=stop)"
    lost, end = e("13 09:00", "points", "lost", n=-10), e("13 10:00", "stop", "end")
    assert _come(since, lost) == (None, 0, 1)
    assert _come(since, lost, end).by == "end"
    assert _come(since, end).by == "end"
    kept = f"all({since}, count(event=points, >= 1))"
    assert _come(kept, e("13 08:00", "stop"), lost).by == "lost"
    assert _come(kept, e("13 08:00", "other"), lost).by == "lost"  # every event is a moment
    assert _come(kept, lost).by is None


def test_an_empty_total_is_not_enough_for_a_higher_bound() -> None:
    since = "sum(event=points, of=n, > 0, unless=stop)"
    assert _come(since, e("13 08:00", "other"), e("13 09:00", "stop")) == (None, 0, 1)
    assert _come("sum(event=points, of=x, > 0, unless=stop)", e("13 09:00", "stop")) == (None, 0, 1)


@pytest.mark.parametrize(("scope", "subject"), [("tenant", "t"), ("team", "red")])
def test_between_events_the_users_zone_of_a_team_is_utc(scope: str, subject: str) -> None:
    when = "count(event=a, >= 3) repeat every day tz=user"
    moved = e("12 00:00", "moved", "moved", team="red", timezone="Asia/Tokyo")
    first, second = (e(f"13 {hour}:30", "a", f"a{hour}", team="red") for hour in (15, 16))
    # The events are of the 14th for their user; now it is the 13th, by UTC, and then the 14th.
    for now, current in (("13 17:00", 2), ("14 01:00", 0)):
        assert _come(when, moved, first, second, now=now, scope=scope, subject=subject) == (None, current, 3)
    third = e("13 17:30", "a", "a17", team="red")
    assert _come(when, moved, first, second, third, scope=scope, subject=subject).by == "a17"


def test_between_events_the_zone_of_a_user_is_that_of_by_now() -> None:
    when = "count(event=a, >= 3) repeat every day tz=user"
    moved, event = e("12 00:00", "moved", "moved", timezone="Asia/Tokyo"), e("13 15:30", "a", "a1")
    assert _come(when, moved, event, now="14 01:00") == (None, 1, 3)
    back = e("13 16:00", "moved", "back", timezone="UTC")
    assert _come(when, moved, event, back, now="14 01:00") == (None, 0, 3)
