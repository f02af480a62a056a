"""Keyed conditions and conditions per calendar unit: what the language page says of them, case by case.

tests/property compares them with the reference; here are the words, the verdicts and the edges of states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dsl import notation, words
from dsl.analyze import Kind, verdicts
from dsl.calendar import format_instant
from dsl.carry import carry
from dsl.event import Event
from dsl.fold import fold, standings, start, step
from dsl.outcome import run
from dsl.progress import KeyedGroups, decode, encode
from dsl.ruleset import build
from dsl.shelf import LIVE, SIZE
from tests.reference import evaluator
from tests.reference.rule_text import read

if TYPE_CHECKING:
    from dsl.compile import Program
    from dsl.ruleset import RuleSet
    from dsl.schema import Rules

CONTRACT = """
event like { post: string?, liker: string? }
event hidden { post: string? }
event joined {}
event posted { tags: [string] }
event vote { post: string  once per post }
event view { post: string, liker: string? once per liker }
event paid { n: int, day: string? }
event tip { n: int >= 0, post: string? }
traits from user.updated { timezone: string }
achievement member { title "Member" when count(event=joined, >= 1) }
"""
DAY = 86_400_000_000


def like(number: int, kind: str = "like", at: int | None = None, **fields: str | int) -> Event:
    return Event("t", f"e{number:06d}", kind, "u", number if at is None else at, 0, dict(fields))


def rules(achievements: str) -> Rules:
    return _built(achievements).rules


def program(achievements: str) -> Program:
    made = _built(achievements).program
    assert made is not None
    return made


def _built(achievements: str) -> RuleSet:
    made = build([("rules.ach", (CONTRACT + achievements).encode())])
    assert made.program is not None, made.problems
    return made


def earned(achievements: str, *events: Event) -> list[tuple[str, str | None, int]]:
    """Return (achievement, occurrence, instant) of all that the fold grants, which is what the reference grants."""
    text = CONTRACT + achievements
    found = [(u.achievement, u.occurrence, u.earned_at) for u in run(program(achievements), events).unlocks]
    expected = evaluator.outcome(read(text), events).unlocks
    assert found == [(u.achievement, u.occurrence, format_instant(u.earned_at)) for u in expected]
    return [(u.achievement, u.occurrence, u.earned_at) for u in expected if u.achievement != "member"]


def x(when: str, clauses: str = "") -> str:
    return f'achievement x {{ title "X" when {when} {clauses} }}'


def test_what_is_waited_for_earns_every_value_at_once() -> None:
    events = [
        like(1, post="a"),
        like(2, post="b"),
        like(3, post=""),
        like(4, "joined"),
        like(5, post="c"),
        like(6, post="a"),
    ]
    found = earned(x("count(event=like, >= 1)", "repeat by post after member"), *events)
    assert found == [("x", "a", 4), ("x", "b", 4), ("x", "c", 5)]


def test_a_value_that_is_too_long_has_no_occurrence() -> None:
    long, just = "ä" * 257, "ä" * 256
    assert earned(x("count(event=like, >= 1)", "repeat by post"), like(1, post=long), like(2, post=just)) == [
        ("x", just, 2)
    ]


def test_an_unlock_is_news_to_every_group() -> None:
    when = "all(count(event=like, >= 1), unlocked(member), within=1h, by=post)"
    assert earned(x(when), like(1, post="a"), like(2, post="b"), like(3, "joined")) == [("x", None, 3)]
    assert earned(x(when), like(1, post="a"), like(2, "joined", at=DAY)) == []


def test_an_event_without_the_field_resets_all_groups_and_one_with_it_its_own() -> None:
    when = "count(event=like, >= 2, by=post, unless=hidden)"
    one, two = like(1, post="a"), like(9, post="a")
    assert earned(x(when), one, like(2, "hidden", post="b"), two) == [("x", None, 9)]
    assert earned(x(when), one, like(2, "hidden", post="a"), two) == []
    assert earned(x(when), one, like(2, "hidden"), two) == []
    nested = "all(count(event=like, >= 2, unless=hidden), count(event=like, >= 1), by=[post, liker])"
    both = [like(1, post="a", liker="l"), like(9, post="a", liker="l")]
    assert earned(x(nested), both[0], like(2, "hidden", post="b"), both[1]) == [("x", None, 9)]
    assert earned(x(nested), both[0], like(2, "hidden", post="a"), both[1]) == []


def test_a_late_reset_reaches_groups_that_were_not_looked_at() -> None:
    when = "count(by=post, count(event=like, >= 2, unless=hidden), >= 2)"
    events = [like(1, post="a"), like(2, post="b"), like(3, "hidden"), like(4, post="a"), like(5, post="b")]
    assert earned(x(when), *events) == []
    assert earned(x(when), *events, like(6, post="a"), like(7, post="b")) == [("x", None, 7)]


def test_units_need_not_be_neighbours_and_labels_are_those_of_the_clock() -> None:
    events = [like(n, at=n * DAY + hour * DAY // 24, post="a") for n in (1, 3) for hour in (1, 2)]
    assert earned(x("count(per=day, count(event=like, >= 2), >= 2)"), *events) == [("x", None, events[-1].at)]
    assert earned(x("streak(per=day, count(event=like, >= 2), >= 2)"), *events) == []
    assert earned(x("streak(per=day, count(event=like, >= 2), >= 2, grace=1)"), *events) == [("x", None, events[-1].at)]


@pytest.mark.parametrize(
    ("when", "kinds"),
    [
        ("count(event=like, >= 2, by=post)", set[Kind]()),
        ("count(event=vote, >= 2, by=post)", set[Kind]()),
        ("count(event=view, >= 2, by=post)", {Kind.ONCE_PER}),
        ("count(by=post, count(event=vote, >= 1), >= 2)", set[Kind]()),
        ("count(by=post, count(event=view, >= 1), >= 2)", {Kind.ONCE_PER}),
        ("count(event=vote, >= 2, by=actor)", set[Kind]()),
        ("count(per=day, count(event=like, >= 2), >= 2)", set[Kind]()),
        ("count(per=day, count(event=vote, >= 2), >= 2)", {Kind.ONCE_PER}),
        ("count(per=day, count(event=like, >= 2), >= 2, tz=user)", {Kind.USER_ZONE}),
        ("streak(per=day, count(event=like, >= 2), >= 2, tz=user)", {Kind.USER_ZONE}),
        ("streak(per=week, count(event=like, distinct=at.date, >= 2), >= 2)", set[Kind]()),
        ("all(count(event=like, >= 1), unlocked(member), by=post)", set[Kind]()),
        ("all(count(event=like, >= 1), unlocked(member), within=1h, by=post)", {Kind.UNLOCKED_IN_WINDOW}),
        ("count(event=like, >= 2, by=post, unless=hidden)", {Kind.UNLESS}),
        ("count(by=post, sum(event=paid, of=n, >= 2), >= 1)".replace("post", "day"), {Kind.SIGNED_SUM}),
    ],
)
def test_verdicts(when: str, kinds: set[Kind]) -> None:
    assert {reason.kind for reason in verdicts(rules(x(when)))["x", 1].reasons} == kinds


def test_a_unit_that_comes_back_after_it_was_used_up_is_contestable() -> None:
    for when in ("streak(event=like, per=day, >= 2, tz=event)", "count(event=like, per=day, >= 2, tz=event)"):
        reasons = verdicts(rules(x(when, "repeat each")))["x", 1].reasons
        assert Kind.SPENT_UNIT in {reason.kind for reason in reasons}
        assert Kind.SPENT_UNIT not in {r.kind for r in verdicts(rules(x(when)))["x", 1].reasons}


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("count(event=like, >= 2, by=post)", "2 like, all with the same post"),
        ("count(event=like, >= 2, by=[post, liker])", "2 like, all with the same post and liker"),
        ("count(by=post, count(event=like, >= 2), >= 3)", "3 different post, each with 2 like"),
        ("count(per=day, count(event=like, >= 2), >= 3)", "3 days, each with 2 like"),
        (
            "streak(per=day, count(event=like, >= 2), >= 3, grace=1)",
            "3 days in a row, each with 2 like, with up to 1 day off in between",
        ),
    ],
)
def test_words_and_notation(when: str, said: str) -> None:
    tree = rules(x(when)).achievements["x"][0].when
    assert tree is not None
    assert words.condition(tree) == said
    assert notation.condition(tree) == when


def test_many_groups_are_written_in_pieces_and_read_again() -> None:
    plan = program(x("count(event=like, >= 3, by=post)")).scopes["user"]
    number = 2 * LIVE * SIZE
    events = [like(n, post=f"p{n % number}") for n in range(2 * number)]
    state, _ = fold(plan, events[:number])
    again = decode(encode(state))
    assert again == state
    for event in events[number:]:
        assert again is not None
        step(plan, again, event)
    whole, _ = fold(plan, events)
    assert again == whole
    node = next(each for each in whole.nodes.values() if isinstance(each, KeyedGroups))
    assert len(node.groups) == number


def test_units_that_are_over_are_forgotten() -> None:
    plan = program(x("count(per=hour, count(event=like, >= 2), >= 100_000)")).scopes["user"]
    state, _ = fold(plan, [like(n, at=n * DAY // 48, post="a") for n in range(4000)])
    node = next(each for each in state.nodes.values() if isinstance(each, KeyedGroups))
    assert node.holding == 2000
    assert len(node.groups) < 200


def test_progress_is_that_of_the_furthest_group() -> None:
    plan = program(x("count(event=like, >= 4)", "repeat by post")).scopes["user"]
    state = start(plan)

    def progress() -> tuple[object, object]:
        measure = next(each.measure for each in standings(plan, state, 100) if each.achievement == "x")
        return measure.current, measure.target

    assert progress() == (0, 4)
    for n, post in enumerate("aababb"):
        step(plan, state, like(n, post=post))
    assert progress() == (3, 4)
    step(plan, state, like(10, post="a"))
    assert progress() == (3, 4)
    step(plan, state, like(11, post="b"))
    assert progress() == (0, 4)


def test_groups_are_carried_to_a_plan_that_asks_for_less() -> None:
    before = program(x("count(by=post, count(event=like, >= 2), >= 5, within=1h)")).scopes["user"]
    after = program(x("count(by=post, count(event=like, >= 2), >= 3, within=1h)")).scopes["user"]
    events = [like(n, post=f"p{n % 4}") for n in range(8)]
    state, _ = fold(before, events)
    carried = carry([before, after]).of(state)
    wanted, _ = fold(after, events)
    slot = next(slot for slot, node in wanted.nodes.items() if isinstance(node, KeyedGroups))
    assert slot not in carried.absent
    assert carried.state.nodes[slot] == wanted.nodes[slot]


@pytest.mark.parametrize(
    "when",
    [
        "streak(event=like, per=day, >= 2)",
        "streak(per=day, count(event=like, >= 1), >= 2)",
        "count(per=day, count(event=like, >= 1), >= 2)",
        "count(by=post, streak(event=like, per=day, >= 2), >= 1)",
    ],
)
def test_the_unit_of_an_unlock_is_used_up(when: str) -> None:
    hours = {13: (1,), 14: (1, 2), 15: (1,), 16: (1,)}
    events = [like(day * 100 + hour, at=day * DAY + hour * DAY // 24, post="a") for day in hours for hour in hours[day]]
    found = earned(x(when, "repeat each"), *events)
    assert [(occurrence, at // DAY) for _, occurrence, at in found] == [("1", 14), ("2", 16)]


def test_what_goes_by_no_unit_goes_on_within_it() -> None:
    events = [like(n, at=n, post="a") for n in range(8)]
    assert len(earned(x("count(event=like, >= 2)", "repeat each"), *events)) == 4
    assert len(earned(x("count(event=like, per=day, >= 2)", "repeat each"), *events)) == 1


@pytest.mark.parametrize(
    "when",
    [
        "count(event=like, >= 2, by=post)",
        "count(event=like, distinct=liker, >= 2, by=post)",
        "sum(event=tip, of=n, >= 2, by=post)",
        "count(by=post, count(event=like, >= 2), >= 1)",
    ],
)
@pytest.mark.parametrize("zone", ["", 'tz="Europe/Berlin"', "tz=event"])
def test_a_period_counts_each_value_by_itself(when: str, zone: str) -> None:
    kind = "tip" if when.startswith("sum") else "like"
    events = [like(number, kind, post=value, liker=f"l{number}", n=1) for number, value in enumerate("pqp")]
    rules = x(when, f"repeat every day {zone}")
    assert earned(rules, *events[:2]) == []
    assert earned(rules, *events) == [("x", "1970-01-01", 2)]


def test_a_group_of_one_element_counts_the_elements_beside_it() -> None:
    rules = x("count(event=posted, distinct=tags, >= 3, by=tags)")
    posted: list[dict[str, Any]] = [{"tags": ("a", "b")}, {"tags": ("c", "d")}, {"tags": ("a", "c")}]
    events = [Event("t", f"e{number}", "posted", "u", number, 0, fields) for number, fields in enumerate(posted)]
    assert earned(rules, *events[:2]) == []
    assert earned(rules, *events) == [("x", None, 2)]
