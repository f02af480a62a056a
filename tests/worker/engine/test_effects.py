"""What is foreseen, counted: by row, by subject, in little memory; samples, and what they say of all."""

from __future__ import annotations

from random import Random
from typing import Final

import pytest

from dsl.event import Position
from dsl.outcome import Subject
from dsl.progress import Grant
from dsl.types import DAY, HOUR
from worker.engine.change import Announced, Policy
from worker.engine.effects import EXAMPLES, Effects, Foreseen, foresee, interval, rounded
from worker.engine.preview import Moves
from worker.engine.reconcile import Complete, Kind, Stored, unlock_id

ANN: Final = Subject("acme", "user", "ann")
BEFORE_ALL: Final = Position(-1, "")
CLOCK: Final = 1000 * DAY


def grant(name: str = "ten", at: int = DAY, *, settle: int = 0, version: int = 1, tier: str | None = None) -> Grant:
    return Grant(name, tier, None, version, at, "e", settle)


def stored(one: Grant, subject: Subject = ANN) -> Stored:
    key = one.achievement, one.tier or "", ""
    ids = unlock_id(subject, one), one.version, one.earned_at, one.event_id
    settles_at = one.earned_at + one.settle if one.settle else None
    return Stored(*subject, *key, *ids, settles_at, None if one.settle else 1, None, None)


def seen(rows: list[Stored], grants: list[Grant], *, ruled: bool = True) -> list[tuple[Kind, int]]:
    def still_ruled(achievement: str, tier: str) -> bool:
        return ruled or achievement == tier

    complete = Complete(BEFORE_ALL, still_ruled)
    found = foresee(ANN, rows, grants, complete, clock=CLOCK)
    return [(one.kind, one.moved) for one in found]


def test_what_the_engine_would_decide() -> None:
    one, later = grant(), grant(at=3 * DAY)
    settles = grant(at=CLOCK, settle=HOUR)
    assert seen([], [one]) == [(Kind.GRANTED, 0)]
    assert seen([], [settles]) == [(Kind.SETTLING, 0)]
    assert seen([], [grant(at=CLOCK - HOUR, settle=HOUR)]) == [(Kind.GRANTED, 0)]
    assert seen([stored(one)], [one]) == []
    assert seen([stored(one)], [later]) == [(Kind.AMENDED, 2 * DAY)]
    assert seen([stored(one)], []) == [(Kind.CONTESTED, 0)]
    assert seen([stored(settles)], []) == [(Kind.WITHDRAWN, 0)]
    assert seen([stored(one)], [], ruled=False) == []
    assert seen([stored(one)._replace(revoked_at=5)], []) == []
    assert seen([stored(one)._replace(contested_at=5)], [one]) == [(Kind.RESTORED, 0)]
    by_hand = stored(one)._replace(by_hand=True, granted_at=9 * DAY)
    assert seen([by_hand], []) == [(Kind.AMENDED, 8 * DAY)]


def amended(days: int) -> Foreseen:
    before = grant(at=100 * DAY)
    return Foreseen(Kind.AMENDED, before._replace(earned_at=before.earned_at + days * DAY), stored(before))


def test_rows_count_unlocks_and_subjects() -> None:
    effects = Effects(frozenset({"ten"}), {})
    for number in range(10):
        subject = Subject("acme", "user", f"u{number}")
        effects.add(subject, [Foreseen(Kind.GRANTED, grant(tier=tier), None) for tier in ("gold", "gold", "low")])
    rows = [(row.tier, row.unlocks, row.subjects, len(row.examples)) for _, row in effects.rows(looked_at=10, of=None)]
    assert rows == [("gold", 20, 10, EXAMPLES), ("low", 10, 10, EXAMPLES)]
    assert effects.gained == effects.announced == 30


def test_moves_have_a_direction_and_a_median() -> None:
    effects = Effects(frozenset({"ten"}), {})
    for number, days in enumerate((-9, -1, 0, 1, 2, 30)):
        effects.add(Subject("acme", "user", f"u{number}"), [amended(days)])
    later, earlier, same = (row for _, row in effects.rows(looked_at=6, of=None))
    assert [(row.moves, row.unlocks) for row in (later, earlier, same)] == [
        (Moves.LATER, 3),
        (Moves.EARLIER, 2),
        (Moves.SAME, 1),
    ]
    assert later.median_seconds == pytest.approx(2 * 86_400, rel=0.005)
    assert earlier.median_seconds == pytest.approx(-9 * 86_400, rel=0.005)
    assert same.median_seconds is None


def test_memory_does_not_grow_with_what_moves() -> None:
    effects, dice = Effects(frozenset({"ten"}), {}), Random(1)  # noqa: S311 - no secret
    for number in range(5000):
        before = grant(at=100 * DAY)
        moved = before._replace(earned_at=before.earned_at + dice.randrange(1, 99 * DAY))
        effects.add(Subject("acme", "user", f"u{number}"), [Foreseen(Kind.AMENDED, moved, stored(before))])
    ((_, row),) = effects.rows(looked_at=5000, of=None)
    assert row.median_seconds == pytest.approx(49.5 * 86_400, rel=0.05)
    kept = {rounded(dice.randrange(-99 * DAY, 99 * DAY)) for _ in range(20_000)}
    assert len(kept) < 5000
    assert {rounded(move) for move in (0, 7, -7, 999, -999)} == {0, 7, -7, 999, -999}
    assert (rounded(12_345), rounded(-12_355), rounded(999_999)) == (12_300, -12_400, 1_000_000)


def test_the_policy_says_what_is_announced() -> None:
    effects = Effects(frozenset(), {}, policy=Policy(Announced.SINCE, 5 * DAY))
    for day in range(10):
        effects.add(Subject("acme", "user", f"u{day}"), [Foreseen(Kind.GRANTED, grant(at=day * DAY), None)])
    assert (effects.gained, effects.announced) == (10, 5)


def test_consequences_are_listed_with_their_cause() -> None:
    effects = Effects(frozenset({"a", "b"}), {"end": ("a", "b"), "a": ("b",)})
    ends = Foreseen(Kind.CONTESTED, grant("end"), stored(grant("end")))
    own = {name: Foreseen(Kind.CONTESTED, grant(name), stored(grant(name))) for name in ("a", "b")}
    effects.add(Subject("acme", "user", "u1"), [own["b"], ends])
    effects.add(Subject("acme", "user", "u2"), [own["a"], own["b"], ends])
    effects.add(Subject("acme", "user", "u3"), [ends])
    rows = [(under, row.achievement, row.unlocks) for under, row in effects.rows(looked_at=3, of=None)]
    assert rows == [("a", "a", 1), ("a", "end", 2), ("b", "b", 2), ("b", "end", 1)]


@pytest.mark.parametrize(
    ("subjects", "looked_at", "low", "high"),
    [(0, 100, 0.0, 0.037), (1, 10, 0.018, 0.404), (50, 100, 0.404, 0.596), (100, 100, 0.963, 1.0)],
)
def test_wilson(subjects: int, looked_at: int, low: float, high: float) -> None:
    """The bounds are those of the literature (Newcombe 1998, and tables made with R)."""
    found = interval(subjects, subjects, looked_at, 1_000_000)
    assert found.low / 1_000_000 == pytest.approx(max(low, subjects / 1_000_000), abs=0.001)
    assert found.high / 1_000_000 == pytest.approx(min(high, 1 - (looked_at - subjects) / 1_000_000), abs=0.001)
    assert found.low <= found.subjects <= found.high


def test_a_sample_of_all_is_exact() -> None:
    assert interval(7, 9, 20, 20).low == interval(7, 9, 20, 20).high == 7
    assert interval(0, 0, 0, 50).high == 50


def test_intervals_hold_as_often_as_they_say() -> None:
    dice, held = Random(7), 0  # noqa: S311 - no secret
    population = [1] * 300 + [0] * 9700
    for _ in range(200):
        chosen = dice.sample(population, 1000)
        found = interval(sum(chosen), sum(chosen), 1000, 10_000)
        held += found.low <= 300 <= found.high
    assert held >= 185
