"""How two rule sets differ, in the words of `ach plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.ruleset import build
from worker.engine.preview import Difference, SameRule, Status
from worker.engine.rule_diff import Differences, build_of, compare_rules

if TYPE_CHECKING:
    from dsl.schema import Rules

EVENTS: Final = """
event a.done { n: int? >= 0, s: string? once per s within 10m }
event b.done { n: int? }
traits from user.updated { plan: string }
"""
TEN: Final = 'achievement ten { title "Ten" when count(event=a.done, >= 10) }'
TWO: Final = 'achievement two { title "Two" when count(event=b.done, >= 2) }'
END: Final = 'achievement end { title "End" when count(event=b.done, >= 1) after ten }'


def rules(*texts: str, events: str = EVENTS) -> Rules:
    made = build([("rules.ach", "\n".join((events, *texts)).encode())])
    assert not made.errors, made.problems
    return made.rules


def compared(before: tuple[str, ...], now: tuple[str, ...], events: str = EVENTS) -> Differences:
    return compare_rules(rules(*before), rules(*now, events=events))


def only(found: Differences, achievement: str) -> list[tuple[int, Status, list[Difference]]]:
    (change,) = [one for one in found.achievements if one.achievement == achievement]
    return [(one.version, one.status, one.differences) for one in change.versions]


def test_nothing_differs() -> None:
    found = compared((TEN, TWO, END), (f"# a comment\n{END}", TWO, TEN))
    assert (found.achievements, found.contracts, found.unchanged, found.in_words) == ([], [], 3, [])


def test_new_retired_and_in_words() -> None:
    found = compared((TEN, TWO), (TEN.replace('"Ten"', '"10"'), END))
    assert [(one.achievement, one.status) for one in found.achievements] == [
        ("end", Status.NEW),
        ("two", Status.RETIRED),
    ]
    assert found.in_words == ["ten"]
    assert found.direct == {"end"}


def test_a_bound_is_shown_as_such() -> None:
    found = compared((TEN,), (TEN.replace("10", "12"),))
    assert only(found, "ten") == [(1, Status.CHANGED, [Difference("count", ">= 10", ">= 12")])]


def test_bounds_within_a_composition_name_their_events() -> None:
    both = 'achievement x {{ title "X" when all(count(event=a.done, >= {}), sum(event=b.done, of=n, >= {})) }}'
    found = compared((both.format(1, 5),), (both.format(1, 6),))
    assert only(found, "x") == [(1, Status.CHANGED, [Difference("sum(b.done)", ">= 5", ">= 6")])]


def test_a_new_version_is_compared_with_the_one_before() -> None:
    second = TEN.replace("ten {", "ten version 2 from 2026-05-01T00:00:00Z {").replace("10", "12")
    found = compared((TEN, END), (TEN, second, END))
    assert only(found, "ten") == [(2, Status.NEW, [Difference("count", ">= 10", ">= 12")])]
    # What names it means the same by itself.
    assert [one.achievement for one in found.achievements] == ["ten"]
    assert found.roots["end"] == ["ten"]
    assert found.direct == {"ten"}


def test_other_conditions_clauses_and_tiers() -> None:
    tiers = 'achievement t {{ title "T" {} }}'
    low = "tier low { when count(event=b.done, >= 1) }"
    high = "tier high { when count(event=b.done, >= 9) }"
    found = compared(
        (TEN, tiers.format(low)),
        (TEN.replace(">= 10", ">= 10, within=7d").replace(") }", ") settle 1h }"), tiers.format(low + high)),
    )
    assert only(found, "ten")[0][2] == [
        Difference("when", "count(event=a.done, >= 10)", "count(event=a.done, >= 10, within=7d)"),
        Difference("settle", None, "1h"),
    ]
    assert only(found, "t")[0][2] == [Difference("tier high", None, "count(event=b.done, >= 9)")]


def test_contracts_name_what_they_touch() -> None:
    events = EVENTS.replace("within 10m", "within 30d").replace("b.done { n: int? }", "b.done { n: int? >= 1 }")
    found = compared((TEN, TWO, END), (TEN, TWO, END), events)
    assert [(one.declaration, one.place, one.before, one.now, one.achievements) for one in found.contracts] == [
        ("event a.done", "once per", "s within 10m", "s within 30d", ["ten"]),
        ("event b.done", "n", "int?", "int? >= 1", []),
    ]
    assert found.direct == {"ten"}
    assert [(one.achievement, one.status) for one in found.achievements] == [("ten", Status.CHANGED)]
    assert found.achievements[0].versions[0].reasons == ["event a.done: once per was `s within 10m`, is `s within 30d`"]


def test_spans_of_many_seconds_differ() -> None:
    before, now = (EVENTS.replace("within 10m", f"within {seconds}s") for seconds in (1_000_001, 1_000_002))
    found = compare_rules(rules(TWO, events=before), rules(TWO, events=now))
    assert [(one.declaration, one.place, one.before, one.now) for one in found.contracts] == [
        ("event a.done", "once per", "s within 1000001s", "s within 1000002s"),
    ]


def test_what_is_built_and_reused() -> None:
    other = 'achievement more { title "M" tier one { when count(event=b.done, >= 5) } }'
    new = 'achievement new { title "N" when sum(event=b.done, of=n, >= 5) }'
    before, now = rules(TEN, TWO), rules(TEN, TWO, other, new)
    found = build_of(before, now, compare_rules(before, now), events=1001, rate=100, measured=False)
    assert (found.new, found.reused, found.dropped) == (["sum(b.done of n)"], 1, 0)
    assert (found.events, found.seconds, found.measured) == (1001, 11, False)
    touched = rules(TEN, TWO, events=EVENTS.replace("10m", "1h"))
    again = build_of(before, touched, compare_rules(before, touched), events=0, rate=None, measured=True)
    assert (again.new, again.seconds) == (["count(a.done)", "once a.done per s"], None)


def test_a_retired_achievement_comes_back_under_another_name() -> None:
    renamed = TEN.replace("achievement ten", "achievement decade").replace('"Ten"', '"Decade"')
    found = compared((TEN, TWO), (renamed, TWO))
    assert found.same == [SameRule("ten", "decade")]
    other = renamed.replace(">= 10", ">= 11")
    assert compared((TEN, TWO), (other, TWO)).same == []
    assert compared((TEN, TWO), (TEN, renamed, TWO)).same == []  # both are there
