"""What a state proves under other rules, and what only events can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from dsl.carry import carry
from dsl.compile import USER
from dsl.event import Event
from dsl.fold import fold
from dsl.ruleset import build

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from dsl.carry import Carriage, Carried
    from dsl.compile import Plan
    from dsl.progress import State

EVENTS: Final = """
event a { n: int? >= 0, key: string?, other: string? }
event b { m: int? }
event c {}
traits from user.updated { plan: string }
"""
COUNT: Final = "count(event=a, >= 3)"


def plan(*achievements: str, events: str = EVENTS) -> Plan:
    made = build([("r.ach", (events + "\n".join(achievements)).encode())])
    assert made.program is not None, made.problems
    return made.program.scopes[USER]


def rule(when: str, name: str = "x", clauses: str = "", head: str = "") -> str:
    return f'achievement {name} {head} {{ title "T" {clauses} when {when} }}'


def event(number: int, kind: str = "a", **fields: str | int) -> Event:
    return Event("t", f"e{number:04}", kind, "u", number * 60_000_000, 0, dict(fields))


def state(old: Plan, *events: Event) -> State:
    return fold(old, events)[0]


def names(carriage: Carriage, slots: AbstractSet[int]) -> set[str]:
    rulings = carriage.new.rulings
    return {rulings[slot].achievement + (f".{rulings[slot].tier}" if rulings[slot].tier else "") for slot in slots}


def carried(plans: list[Plan], *events: Event) -> tuple[Carriage, Carried]:
    carriage = carry(plans)
    return carriage, carriage.of(state(plans[0], *events))


THREE: Final = [event(number, key=f"k{number}", n=1) for number in range(3)]


@pytest.mark.parametrize(
    "other",
    [
        EVENTS.replace("other: string?", "other: int?"),
        EVENTS.replace("other: string?", "other: string?, more: int?"),
        EVENTS.replace("key: string?", "key: string"),
        EVENTS + "event d {}\n",
    ],
)
def test_what_no_rule_reads_changes_nothing(other: str) -> None:
    made, one = carried([plan(rule(COUNT)), plan(rule(COUNT), events=other)], *THREE)
    assert made.plain
    assert one.certain


@pytest.mark.parametrize(
    ("when", "old", "new"),
    [
        ("sum(event=a, of=n, >= 3)", "n: int? >= 0", "n: int? >= 1"),
        ("sum(event=a, of=n, >= 3)", "n: int? >= 0", "n: decimal? >= 0"),
        ("count(event=a, distinct=key, >= 2)", "key: string?", "key: int?"),
        ('count(event=a where key = "x", >= 2)', "key: string?", "key: string? once per n"),
        ("count(event=a, >= 2, within=1d, unless=b where m > 3)", "m: int?", "m: decimal?"),
    ],
)
def test_what_a_rule_reads_is_folded_again(when: str, old: str, new: str) -> None:
    where = (
        EVENTS.replace(old, new)
        if "once" not in new
        else EVENTS.replace("other: string? }", "other: string? once per n }")
    )
    made = carry([plan(rule(when)), plan(rule(when), events=where)])
    assert made.missing
    assert names(made, made.of(state(made.old, *THREE)).doubtful) == {"x"}


def test_a_sum_that_may_fall_proves_nothing() -> None:
    steady, signed = "sum(event=a, of=n, >= 5)", "sum(event=b, of=m, >= 5)"
    old = plan(rule(steady.replace("5", "9")), rule(signed.replace("5", "9"), "y"))
    made, one = carried([old, plan(rule(steady), rule(signed, "y"))], *THREE, event(9, "b", m=1))
    assert (names(made, set(one.unearned)), names(made, set(one.doubtful))) == ({"x"}, {"y"})


def test_a_node_that_is_missing_proves_nothing_unless_it_has_no_events() -> None:
    made, one = carried([plan(rule(COUNT)), plan(rule(COUNT), rule("count(event=b, >= 1)", "y"))], *THREE)
    assert (names(made, set(one.doubtful)), made.types) == ({"y"}, {"b"})
    part = made.part(one)
    assert part is not None
    assert part.types == {"b"}
    without = made.without.of(state(made.old, *THREE))
    assert (without.certain, names(made, set(without.unearned))) == (True, {"y"})


def test_plans_between_have_to_remember_it_too() -> None:
    both, one = plan(rule(COUNT), rule("count(event=b, >= 2)", "y")), plan(rule(COUNT))
    assert carry([both, both]).plain
    made = carry([both, one, both])
    assert (made.types, len(made.missing)) == ({"b"}, 1)


def test_values_at_the_highest_bound_are_not_all() -> None:
    low, high = (f"count(event=a, distinct=key, >= {bound})" for bound in (3, 5))
    plans = [plan(rule(low)), plan(rule(low), rule(high, "y"))]
    made, few = carried(plans, *THREE[:2])
    assert (few.certain, names(made, set(few.unearned))) == (True, {"y"})
    _, enough = carried(plans, *THREE)
    assert enough.absent
    assert names(made, set(enough.doubtful)) == {"y"}


def test_what_was_earned_before_another_version_stays() -> None:
    second = rule("count(event=a, >= 5)", head="version 2 from 1970-01-01T00:02:00Z")
    first = rule("count(event=a, >= 2)", head="version 1")
    made, early = carried([plan(first), plan(first, second)], *THREE)
    assert (early.certain, len(early.state.earned), early.unearned) == (True, 1, set())
    late = rule("count(event=a, >= 5)", head="version 2 from 1970-01-01T00:01:00Z")
    made, lost = carried([plan(first), plan(first, late)], *THREE)
    assert (lost.certain, names(made, set(lost.lost))) == (True, {"x"})
    assert carried([plan(first), plan(first, late)], THREE[0])[1].state.earned == {}
    lower = rule("count(event=a, >= 1)", head="version 2 from 1970-01-01T00:01:00Z")
    made, open_ = carried([plan(first), plan(first, lower)], *THREE)
    assert names(made, set(open_.doubtful)) == {"x"}


def test_what_comes_after_something_that_is_lost_is_lost() -> None:
    first, after = rule("count(event=a, >= 2)", head="version 1"), rule("count(event=c, >= 1)", "y", "after x")
    late = rule("count(event=a, >= 5)", head="version 2 from 1970-01-01T00:01:00Z")
    made, one = carried([plan(first, after), plan(first, late, after)], *THREE, event(5, "c"))
    assert (one.certain, names(made, set(one.lost))) == (True, {"x", "y"})


def test_a_tier_that_is_not_earned_moves_nothing_that_names_the_others() -> None:
    def tiers(*bounds: int) -> str:
        said = " ".join(f"tier t{bound} {{ when count(event=a, >= {bound}) }}" for bound in bounds)
        return f'achievement x {{ title "T" {said} }}'

    named = rule("any(unlocked(x), count(event=c, >= 2))", "y")
    made, one = carried([plan(tiers(2), named), plan(tiers(2, 9), named)], *THREE)
    assert (one.certain, names(made, set(one.unearned)), len(one.state.earned)) == (True, {"x.t9"}, 2)
    made, one = carried([plan(tiers(2), named), plan(tiers(2, 3), named)], *THREE, event(7, "c"), event(8, "c"))
    assert names(made, set(one.doubtful)) == {"x.t3", "y"}


def test_the_suppressed_copies_of_users_are_one_number() -> None:
    once = EVENTS.replace("event c {}", "event c {} \nevent d { key: string? once per key }")
    new = plan(rule(COUNT), events=once)
    assert not carry([plan(rule(COUNT)), new]).void
    assert carry([new, plan(rule(COUNT))]).void
    made = carry([plan(rule(COUNT)), new])
    assert (made.types, made.copies is not None) == ({"d"}, True)


def test_types_that_are_heard_no_more_leave_the_mark_in_doubt() -> None:
    made = carry([plan(rule(COUNT), rule("count(event=b, >= 2)", "y")), plan(rule(COUNT))])
    assert (made.dropped, made.types, made.changed) == ({"b"}, frozenset(), ())
