"""The list of events that earned an achievement: exactly the events it needs."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from dsl.explain import Asked, Explanation, explain
from dsl.explain.text import render
from dsl.fold import fold
from dsl.ruleset import RuleSet, build
from tests.reference.hand_computed import CONTRACT, e

if TYPE_CHECKING:
    from dsl.event import Event

TOKYO, NEW_YORK = "Asia/Tokyo", "America/New_York"


def _rules(text: str) -> RuleSet:
    rules = build([("rules.ach", (CONTRACT + text).encode())])
    assert not rules.errors, rules.problems
    return rules


def _explain(text: str, *events: Event, now: str = "", occurrence: str | None = None) -> Explanation:
    """Explain x as of the last event, or of `now`."""
    moment = e(now, "a").at if now else max(event.at for event in events)
    return explain(_rules(text).rules, Asked("t", "u", "x", None, occurrence, moment), events)


def _listed(text: str, *events: Event) -> dict[str, str]:
    """Return what is listed as having earned x, and see to it that this alone earns it."""
    earned = _explain(text, *events)
    listed = {event.event_id: "; ".join(did.text for did in event.did) for event in earned.events}
    program = _rules(text).program
    assert program is not None
    _, grants = fold(program.scopes["user"], [event for event in events if event.id in listed])
    assert [earned.earned_by] == [grant.event_id for grant in grants if grant.achievement == "x"]
    return listed


def test_what_lies_before_the_run_of_a_streak_is_left_out() -> None:
    rule = 'achievement x { title "X" when streak(event=a, per=day, >= 2) }'
    events = [e("08 09:00", "a", "old"), e("11 09:00", "a", "a1"), e("12 09:00", "a", "a2")]
    assert list(_listed(rule, *events)) == ["a1", "a2"]


def test_a_unit_of_a_streak_that_lies_before_its_start_is_listed() -> None:
    rule = 'achievement x { title "X" when streak(event=a, per=day, >= 2, tz=event) }'
    # By its own clock the first is of the 14th; that begins in UTC half an hour later.
    events = [e("11 09:00", "a", "old"), e("2026-04-14T08:30:00+09:00", "a", "a1"), e("15 09:00", "a", "a2")]
    assert list(_listed(rule, *events)) == ["a1", "a2"]


def test_a_copy_of_what_is_not_listed_is_not_listed() -> None:
    rule = 'achievement x { title "X" when count(event=o where n > 0, >= 2, within=1h) }'
    # The copy would count in place of the first, which is not listed, and earn it sooner.
    events = [
        e("13 08:55", "o", "first", k="k", n=0),
        e("13 09:00", "o", "second", k="l", n=1),
        e("13 09:04", "o", "copy", k="k", n=1),
        e("13 09:30", "o", "third", k="m", n=1),
    ]
    assert _listed(rule, *events) == {"second": "counts: 1 of 2", "third": "counts: 2 of 2"}


def test_a_moment_by_whose_clock_it_holds_is_listed() -> None:
    rule = 'achievement x { title "X" when count(event=a, >= 2, per=day, tz=event) after y }'
    rule += 'achievement y { title "Y" when count(event=c, >= 1) }'
    # 23:30 and 00:30 are of one day only by the clock of b, which nothing counts.
    events = [e("13 23:30", "a", "a1"), e("14 00:30", "a", "a2"), e("2026-04-14T03:00:00+02:00", "b", "b", n=1)]
    assert _listed(rule, *events, e("15 09:00", "c", "c")) == {
        "a1": "counts: 1 of 2",
        "a2": "counts: 1 of 2",
        "b": "does not count, but the condition holds from here on",
        "c": "meets the last requirement outside the `when`; earns y",
    }


def test_what_an_achievement_before_it_needs_is_listed_too() -> None:
    rule = """
        achievement x { title "X" when count(event=c, >= 1) after y }
        achievement y { title "Y" when all(count(event=b, >= 1), unlocked(z)) }
        achievement z { title "Z" when count(event=a, >= 2) for plan = "pro" }"""
    events = [
        e("10 08:00", "user.updated", "pro", plan="pro"),
        *(e(f"11 0{hour}:00", "a", f"a{hour}") for hour in range(1, 5)),
        e("12 08:00", "b", "b", n=1),
        e("13 08:00", "c", "c"),
        e("13 09:00", "user.updated", "later", plan="free"),
    ]
    assert _listed(rule, *events) == {
        "pro": 'plan is "pro"',
        "a1": "counts towards z",
        "a2": "counts towards y; earns z",
        "b": "earns y",
        "c": "counts: 1 of 1",
    }


@pytest.mark.parametrize(("amounts", "far"), [(("60", "40"), "100 of more than 100"), (("60",), "60 of 100")])
def test_a_total_on_a_bound_to_exceed_is_not_complete(amounts: tuple[str, ...], far: str) -> None:
    rules = 'event q { v: decimal >= 0 }\nachievement x { title "X" when sum(event=q, of=v, > 100) }'
    events = [e("13 09:00", "q", f"q{i}", v=Decimal(amount)) for i, amount in enumerate(amounts)]
    explanation = _explain(rules, *events)
    assert next(render(explanation)).endswith(f": {far}")
    assert (explanation.when.progress.fraction == "1", explanation.when.holds) == (False, False)


def test_the_hour_in_which_a_run_broke_is_by_utc_where_the_next_event_may_have_another() -> None:
    rule = 'achievement x { title "X" when streak(event=a, per=hour, >= 3, tz=event) }'
    explanation = _explain(rule, e("2026-04-13T04:00:00-05:00", "a"), now="13 09:30")
    assert explanation.missing[0] == "the streak broke on 2026-04-13T05: no a, by UTC"


def test_a_part_that_a_moment_now_would_make_hold_lacks_nothing() -> None:
    rule = 'achievement x { title "X" when count(event=a, >= 2, per=day, tz=event) }'
    events = [e("13 21:30", "a", "a1"), e("2026-04-14T01:30:00+02:00", "a", "a2")]  # the clock of a2 shows the 14th
    explanation = _explain(rule, *events, now="13 23:45")
    assert (explanation.outcome, explanation.when.holds) == ("not yet", True)
    assert explanation.missing == ["nothing but the next event that it hears: a"]
    assert _explain(rule, *events, now="14 00:00").when.progress.current == 0


def test_an_occurrence_is_found_after_a_flight_to_where_its_day_has_not_begun() -> None:
    rule = 'achievement x { title "X" when count(event=a, >= 1) repeat every day tz=user }'
    tokyo, york = (
        e(at, "user.updated", at, timezone=zone) for at, zone in (("13 00:00", TOKYO), ("13 17:00", NEW_YORK))
    )
    events = [tokyo, e("13 16:00", "a", "a1"), york]
    earned = _explain(rule, *events, occurrence="2026-04-14")
    assert (earned.outcome, earned.earned_by, earned.occurrence) == ("earned", "a1", "2026-04-14")
    current = _explain(rule, *events)  # it is the 13th again, and by its clock the event is of the 13th
    assert (current.outcome, current.when.holds, current.occurrence) == ("not yet", True, "2026-04-13")
