"""Unlocks as events, case by case: where they stand, who sees them, what they earn, and how that is explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from dsl.carry import carry
from dsl.coverage import Coverage
from dsl.event import Event
from dsl.explain import Asked, explain
from dsl.fold import fold
from dsl.outcome import run
from dsl.progress import decode, encode
from dsl.renames import under_first_names
from dsl.ruleset import build
from dsl.story.given import GivenEvents
from tests.reference import evaluator
from tests.reference.rule_text import read

if TYPE_CHECKING:
    from dsl.compile import Plan, Program
    from dsl.ruleset import RuleSet

HOUR: Final = 3_600_000_000
EVENTS: Final = "event a { n: int? }\nevent b { n: int? }\ntraits from u { plan: string }\n"
ONE: Final = "achievement one { family red when count(event=a, >= 1) reward { xp: 10 } }\n"
TWO: Final = "achievement two { family red when count(event=a, >= 2) reward { xp: 20 } }\n"


def made(text: str) -> RuleSet:
    rules = build([("x.ach", (EVENTS + text).encode())])
    assert rules.program is not None, rules.problems
    return rules


def program(text: str) -> Program:
    found = made(text).program
    assert found is not None
    return found


def plan(text: str) -> Plan:
    return program(text).scopes["user"]


def happened(*kinds: str) -> list[Event]:
    """Return events an hour apart, with numbers for ids."""
    return [Event("t", str(number), kind, "u", number * HOUR, 0, {}) for number, kind in enumerate(kinds, 1)]


def earned(text: str, *kinds: str) -> dict[str, int]:
    """Return the hour at which each achievement is earned; the slow evaluator agrees."""
    events = happened(*kinds)
    outcome = run(program(text), events)
    wanted = evaluator.outcome(read(EVENTS + text), events).unlocks
    found = {(each.achievement, each.tier, each.occurrence) for each in outcome.unlocks}
    assert found == {(each.achievement, each.tier, each.occurrence) for each in wanted}
    _, grants = fold(plan(text), events, len(kinds) * HOUR)
    names = (f"{each.achievement} {each.tier or ''}{each.occurrence or ''}".strip() for each in grants)
    return {name: each.earned_at // HOUR for name, each in zip(names, grants, strict=True)}


def test_the_unlocks_of_one_event_stand_in_the_order_of_their_names() -> None:
    # Judged in another order: `one` waits for `zero`.
    text = "achievement zero { when count(event=a, >= 1) }\nachievement one { when count(event=a, >= 1) after zero }\n"
    text += (
        'achievement up { when sequence([unlocks where achievement = "one", unlocks where achievement = "zero"]) }\n'
    )
    text += (
        'achievement down { when sequence([unlocks where achievement = "zero", unlocks where achievement = "one"]) }\n'
    )
    assert earned(text, "a", "a") == {"zero": 1, "one": 1, "up": 1}


def test_each_unlock_ends_a_prefix() -> None:
    text = "achievement one { when count(event=a, >= 1) }\nachievement two { when count(event=a, >= 1) }\n"
    text += "achievement each { when count(event=unlocks, >= 1) repeat each }\n"
    assert earned(text, "a") == {"one": 1, "two": 1, "each 1": 1, "each 2": 1}


def test_an_unlock_stands_behind_the_event_that_earned_it() -> None:
    assert earned(ONE + "achievement x { when count(event=unlocks, >= 1, unless=a) }", "a") == {"one": 1, "x": 1}
    assert earned(ONE + "achievement x { when all(count(event=unlocks, >= 1), unless=a) }", "a") == {"one": 1, "x": 1}
    assert earned(ONE + "achievement x { when sequence([a, unlocks]) }", "a") == {"one": 1, "x": 1}
    assert earned(ONE + "achievement x { when sequence([unlocks, a]) }", "a") == {"one": 1}


def test_what_uses_unlocks_is_seen_where_it_is_named() -> None:
    text = ONE + "achievement x { when count(event=unlocks, >= 1) }\n"
    text += "achievement y { when count(event=unlocks, >= 2) }\n"
    text += 'achievement z { when count(event=unlocks where achievement in ["one", "x"], >= 2) }\n'
    text += "achievement v { when count(event=b, >= 1) after x }\nachievement w { when count(event=unlocks, >= 3) }\n"
    assert earned(text, "a", "b") == {"one": 1, "x": 1, "z": 1, "v": 2}


def test_a_version_hears_the_unlocks_that_it_matches_and_no_others() -> None:
    worth = "achievement {0} {{ when count(event={1}, >= {2}) reward {{ worth: {3} }} family {4} }}\n"
    text = worth.format("one", "a", 1, -1, "red") + worth.format("two", "b", 1, 1, "blue")
    text += worth.format("three", "b", 9, -1, "blue")
    # It holds of nothing, and is earned at the first unlock that it hears.
    text += 'achievement x { when sum(event=unlocks where family = "blue", of=reward.worth, >= 0) }\n'
    text += "achievement y { when sum(event=unlocks, of=reward.worth, >= 0) }\n"
    assert earned(text, "a", "b") == {"one": 1, "two": 2, "x": 2, "y": 2}


def test_the_event_that_earned_what_is_counted_is_the_evidence() -> None:
    state, grants = fold(plan(ONE + "achievement x { when count(event=unlocks, >= 1) }"), happened("b", "a"))
    assert {(each.achievement, each.event_id) for each in grants} == {("one", "2"), ("x", "2")}
    assert {had.first.id for had in state.earned.values()} == {"2"}
    assert decode(encode(state)) == state


def test_what_begins_at_a_moment_is_counted_there() -> None:
    text = "achievement one { when count(event=a, >= 9) reward { xp: 5 } }\n"
    text += "achievement one version 2 from 1970-01-01T03:00:00Z { when count(event=a, >= 1) reward { xp: 10 } }\n"
    text += "achievement x { when sum(event=unlocks, of=reward.xp, >= 10) }\n"
    text += "achievement y { when count(event=b, >= 1) after x }\n"
    assert earned(text, "a", "b", "b", "b") == {"one": 3, "x": 3, "y": 3}
    _, grants = fold(plan(text), happened("a"), 5 * HOUR)
    assert {(each.achievement, each.event_id) for each in grants} == {("one", ""), ("x", "")}


def test_it_counts_in_its_own_scope() -> None:
    text = "achievement one { scope tenant when count(event=a, >= 1) }\n" + ONE.replace("one", "two")
    text += "achievement x { scope tenant when count(event=unlocks, >= 1) }\n"
    text += "achievement y { when count(event=unlocks, >= 2) }\n"
    outcome = run(program(text), happened("a"))
    assert {(each.scope, each.achievement) for each in outcome.unlocks} == {
        ("tenant", "one"),
        ("tenant", "x"),
        ("user", "two"),
    }


def test_an_event_that_is_called_so_is_none() -> None:
    """A publisher may be hostile: neither the type nor an id can make an event an unlock."""
    rules = program(ONE + "achievement x { when count(event=unlocks, >= 1) }")
    false = {"achievement": "one", "family": "red"}
    events = [Event("t", name, "unlocks", "u", HOUR, 0, {**false}) for name in ("1", "1\0one\0\0")]
    assert run(rules, [*events, *happened("b")]).unlocks == []


def test_an_event_of_old_keeps_its_meaning() -> None:
    rules = build([("x.ach", b"event unlocks { n: int >= 0 }\nachievement x { when sum(event=unlocks, of=n, >= 5) }")])
    assert rules.program is not None
    event = Event("t", "1", "unlocks", "u", HOUR, 0, {"n": 5})
    assert [each.achievement for each in run(rules.program, [event]).unlocks] == ["x"]


def test_thousands_of_filters_over_thousands_of_achievements_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("dsl.unlocks", "dsl.check.unlocks"):
        monkeypatch.setattr(f"{module}.MOST_LOOKED", 1000)
    many = "".join(f"achievement p{n} {{ when count(event=a, >= 1) reward {{ xp: {n} }} }}\n" for n in range(200))
    over = "achievement o{0} {{ when count(event=unlocks where {1}, >= 1) }}\n"
    named = "".join(over.format(n, f'achievement in ["p{n}", "p1"]') for n in range(200))
    same = "".join(over.format(f"same{n}", "reward.xp > 5") for n in range(200))
    assert build([("x.ach", (EVENTS + many + named + same).encode())]).program is not None
    apart = "".join(over.format(n, f"reward.xp > {n}") for n in range(100))
    found = build([("x.ach", (EVENTS + many + apart).encode())])
    assert [(each.code, each.severity) for each in found.problems if each.severity == "error"] == [("ACH446", "error")]


# -- explained ---------------------------------------------------------------------------------------------------------

LEVEL: Final = ONE + TWO + "achievement level { when sum(event=unlocks, of=reward.xp, >= 25) }\n"


def test_an_explanation_names_the_unlocks_and_their_events() -> None:
    rules = made(LEVEL).rules
    found = explain(rules, Asked("t", "u", "level", None, None, 9 * HOUR), happened("a", "b", "a"))
    assert (found.outcome, found.earned_by) == ("earned", "3")
    assert [(each.event_id, each.event_type, [did.text for did in each.did]) for each in found.events] == [
        ("1", "unlocks", ["one: reward.xp 10: 10 of 25"]),
        ("3", "unlocks", ["two: reward.xp 20: 25 of 25"]),
    ]
    found = explain(rules, Asked("t", "u", "level", None, None, 9 * HOUR), happened("a"))
    assert found.missing == ["15 more in reward.xp of unlocks"]


def test_examples_cover_the_filters_of_unlocks() -> None:
    text = ONE + TWO.replace("red", "blue") + 'achievement x { when count(event=unlocks where family = "red", >= 1) }\n'
    example = 'example "e" { at 2026-04-13T09:00:00Z ada a {} expect ada x }\n'
    rules = made(text + example)
    assert rules.program is not None
    coverage = Coverage(rules.rules, rules.program)
    (each,) = rules.rules.examples
    coverage.take(each, GivenEvents(rules.rules, rules.sources[0], each).events())
    left = next(each for each in coverage.covered() if each.achievement == "x").left
    assert [(each.kind, each.lacks) for each in left] == [
        ("when", "no example leaves it unearned"),
        ("filter", "no event of an example is rejected"),
    ]


# -- carried to other rules --------------------------------------------------------------------------------------------

COUNT: Final = "achievement x { when count(event=unlocks, >= 2) }\n"
THREE: Final = "achievement three { when count(event=b, >= 1) }\n"


@pytest.mark.parametrize(
    ("before", "now", "doubtful"),
    [
        (ONE + TWO + COUNT, ONE + TWO + COUNT, set[str]()),
        (ONE + TWO + COUNT, ONE + TWO + COUNT.replace(">= 2", ">= 1"), {"x"}),
        (ONE + TWO + COUNT, ONE + COUNT, {"x"}),
        (ONE + COUNT, ONE + THREE + COUNT, {"three", "x"}),
        (ONE + TWO + COUNT, ONE + TWO.replace(">= 2", ">= 3") + COUNT, {"x"}),
        (LEVEL, LEVEL.replace("xp: 10", "xp: 15"), {"level"}),
        (LEVEL, LEVEL.replace("family red", "family blue"), set[str]()),
    ],
)
def test_a_state_knows_what_it_counts(before: str, now: str, doubtful: set[str]) -> None:
    """Of a subject with events of all types: what of the new rules events have to decide."""
    old, new = plan(before), plan(now)
    state, _ = fold(old, happened("a", "b", "a"))
    carriage = carry([old, new])
    moved = carriage.of(state)
    part = carriage.part(moved)
    assert {new.rulings[slot].achievement for slot in moved.doubtful} == doubtful
    events = happened("a", "b", "a")
    folded = moved.state if part is None else carriage.merged(moved, part, fold(part, events)[0], 0)
    assert folded == fold(new, events)[0]


def test_a_new_aggregate_asks_for_the_events_that_earn_what_it_counts() -> None:
    carriage = carry([plan(ONE + TWO + THREE), plan(ONE + TWO + THREE + COUNT)])
    assert carriage.types == {"a", "b"}
    carriage = carry(
        [
            plan(ONE + THREE),
            plan(ONE + THREE + 'achievement x { when count(event=unlocks where achievement = "one", >= 1) }'),
        ]
    )
    assert carriage.types == {"a"}


# -- achievements that are renamed -------------------------------------------------------------------------------------

NAMED: Final = (
    'achievement x { when count(event=unlocks where achievement = "one", >= 1) }\n'
    'achievement y { when count(event=unlocks where achievement in ["one", "two"] and family = "red", >= 2) }\n'
    "achievement z { when sum(event=unlocks, of=reward.xp, >= 10) }\n"
)


def test_a_new_name_changes_nothing_of_what_is_counted() -> None:
    now = ONE.replace("one {", "first {").replace("{ family", "{ renamed from one family") + TWO
    renamed = under_first_names(made(now + NAMED.replace('"one"', '"first"')))
    before = program(ONE + TWO + NAMED)
    assert renamed.program is not None
    assert renamed.program.fingerprint == before.fingerprint
    events = happened("a", "a")
    assert run(renamed.program, events).unlocks == run(before, events).unlocks


@pytest.mark.parametrize(
    ("where", "seen"),
    [
        ('achievement starts with "fi"', True),
        ('achievement starts with "tw"', False),
        ('achievement != "first"', False),
        ('not achievement contains "e"', True),
        ('achievement < "g" and family = "red"', True),
    ],
)
def test_a_filter_asks_for_the_name_of_today(where: str, *, seen: bool) -> None:
    now = ONE.replace("one {", "first {").replace("{ family", "{ renamed from one family") + TWO
    renamed = under_first_names(made(now + f"achievement x {{ when count(event=[unlocks] where {where}, >= 1) }}"))
    assert renamed.program is not None
    assert ("x" in {each.achievement for each in run(renamed.program, happened("a")).unlocks}) is seen
