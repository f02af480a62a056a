"""Numbers are exact: no step from a rule and an event to a grant rounds, regardless of their length.

The operators of `Decimal` round to the 28 digits of the current context, including unary minus. These tests use a
context of one digit that raises on any rounding.
"""

from __future__ import annotations

from contextlib import contextmanager
from decimal import Context, Decimal, Inexact, InvalidOperation, Rounded, localcontext
from random import Random
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.calendar import format_instant
from dsl.event import Event
from dsl.explain import Asked, explain
from dsl.explain.text import render
from dsl.fold import standings
from dsl.outcome import run
from dsl.ruleset import build
from dsl.values import canonical_number
from tests.property.test_late import arrive, shuffled
from tests.reference import evaluator
from tests.reference.draw_settings import thorough
from tests.reference.rule_text import read

if TYPE_CHECKING:
    from collections.abc import Generator

    from dsl.types import Number, Value

CONTRACT: Final = """
event a { n: int? >= 0, x: decimal? >= 0, m: int?, y: decimal?, s: string? }
event b {}
"""
MINUTE: Final = 60_000_000
MOST: Final = 10**38 - 1
"""The largest number that the language has."""
NUMBERS: Final[tuple[Number, ...]] = (
    MOST,
    MOST - 1,
    10**30,
    Decimal("0." + "9" * 38),
    Decimal("0." + "0" * 37 + "1"),
    Decimal("1." + "0" * 36 + "1"),
    Decimal("1." + "0" * 36 + "3"),
    Decimal("12345678901234567890123456789.5"),
    Decimal("0.5"),
    1,
    0,
)


@contextmanager
def nothing_rounds() -> Generator[None]:
    with localcontext(Context(prec=1, traps=[Inexact, Rounded, InvalidOperation])):
        yield


def test_a_rounding_would_be_noticed() -> None:
    with nothing_rounds(), pytest.raises(ArithmeticError):
        assert -Decimal("1.5")


def written(dice: Random, *, whole: bool = False) -> str:
    """Draw a number as a rule may have it, with an exponent where that is shorter."""
    number = dice.choice([each for each in NUMBERS if not whole or each == int(each)])
    return "1e30" if number == 10**30 else canonical_number(number)


def rules(dice: Random) -> str:
    """Draw achievements with long numbers in bounds and filters."""
    texts: list[str] = []
    for name in "vwxyz":
        span = dice.choice((")", ", within=1h)", ", within=10m)", ", per=hour)", ", per=day, within=1h)"))
        unless, op = dice.choice((")", ", unless=b)")), dice.choice((">", ">="))
        low, high = sorted((written(dice), written(dice)), key=Decimal)
        when = dice.choice(
            (
                f"sum(event=a, of=x, > {low}{span}",
                f"sum(event=a, of=x, > {low}, within=1h)",
                f"sum(event=a, of=n, > {low}{span}",
                f"sum(event=a, of=y, {op} {high}{unless}",
                f"sum(event=a, of=m, {op} {high}{unless}",
                f"max(event=a, of=n, > {low}{span}",
                f"min(event=a, of=y, < {high}{span}",
                f"count(event=a where x > {low} and x <= {high}, >= 1{span}",
                f"count(event=a where n >= {low} or y in [{high}, {low}], >= 2{span}",
                f"count(event=a, distinct=x, >= 3{span}",
                f"count(event=a, >= {written(dice, whole=True)})",
                f"streak(event=a, per=hour, > {written(dice, whole=True)})",
                f"all(sum(event=a, of=x, > {low}), sum(event=a, of=y, > {high}))",
            )
        )
        repeat = dice.choice(("", "", "repeat each", "repeat every hour"))
        signed = repeat == "repeat every hour" and (", of=y" in when or ", of=m" in when)
        texts.append(f'achievement {name} {{ title "T" {"" if signed else repeat} when {when} }}')
    return CONTRACT + "\n".join(texts)


def events(dice: Random) -> list[Event]:
    """Draw events with long numbers, close together."""
    drawn: list[Event] = []
    for number in range(dice.randint(2, 16)):
        fields: dict[str, Value] = {}
        for name in "nxmy":
            value = dice.choice([each for each in NUMBERS if name in "xy" or isinstance(each, int)])
            if name in "xy":
                value = Decimal(value)
            if name in "my" and dice.random() < 0.4:
                value = value.copy_negate() if isinstance(value, Decimal) else -value
            if dice.random() < 0.7:
                fields[name] = value
        kind = dice.choice("aaaab")
        at = dice.randint(-12, 12) * 7 * MINUTE + dice.choice((0, -1))
        drawn.append(Event("t", f"{dice.choice('mzA')}{number}", kind, "u", at, 0, fields if kind == "a" else {}))
    return drawn


@thorough(300)
@given(st.integers(0, 2**32))
def test_rules_and_events_with_the_longest_numbers(seed: int) -> None:
    dice = Random(seed)  # noqa: S311 - no secret
    text, stream = rules(dice), events(dice)
    with nothing_rounds():
        built = build([("drawn.ach", text.encode())])
        if built.program is None:  # a bound that always holds, or whatever else the checker refuses
            assert built.errors
            return
        outcome = run(built.program, stream)
        arrive(built.program, shuffled(dice, stream))
        now = max(event.at for event in stream)
        shown = {
            each.achievement: each.measure
            for subject, state in outcome.states.items()
            for each in standings(built.program.scopes[subject.scope], state, now)
        }
        for name in "vwxyz":
            assert list(render(explain(built.rules, Asked("t", "u", name, None, None, now), stream)))
    expected = evaluator.outcome(read(text), stream, now)
    ours = sorted((u.achievement, u.occurrence or "", u.earned_at) for u in outcome.unlocks)
    assert ours == sorted((u.achievement, u.occurrence or "", format_instant(u.earned_at)) for u in expected.unlocks)
    for goal, progress in expected.progress.items():
        measure = shown.get(goal.achievement)
        if measure is None:  # nothing that its rules hear has happened
            assert progress.fraction == 0
            continue
        assert (measure.fraction, measure.current, measure.target) == progress[:3]
