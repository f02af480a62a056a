"""Filters by the definitions of the language: fields, expressions, and the event's own time.

Numbers are fractions, so that no arithmetic rounds. Instants and spans are whole microseconds.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, NamedTuple, cast

from dsl import syntax
from tests.reference import wall_clock
from tests.reference.wall_clock import wall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.types import Listed, Value
    from tests.reference.wall_clock import Clock

    Found = str | bool | int | Fraction | tuple[object, ...] | None


class Asked(NamedTuple):
    """What a filter is asked of: the fields of an event, its instant, its user, and the clock of the operator."""

    fields: Mapping[str, Value]
    at: int = 0
    clock: Clock = "UTC"
    user: str = ""


def is_true(what: syntax.Predicate, asked: Asked) -> bool:
    """Evaluate a filter on an event, or a `for` on traits."""
    match what:
        case syntax.Compare(left=left, op=op, right=right):
            return _compares(value_of(left, asked), op, value_of(right, asked))
        case syntax.Member(left=left, negated=negated, values=values):
            value = value_of(left, asked)
            return value is not None and (value in [value_of(each, asked) for each in values]) is not negated
        case syntax.Contains(left=left, negated=negated, list=listed):
            value, elements = value_of(left, asked), value_of(listed, asked)
            return value is not None and isinstance(elements, tuple) and (value in elements) is not negated
        case syntax.Present(left=left, negated=negated):
            return (value_of(left, asked) is None) is negated
        case syntax.Truth(left=left):
            return value_of(left, asked) is True
        case syntax.Not(part=part):
            return not is_true(part, asked)
        case syntax.And(parts=parts):
            return all(is_true(part, asked) for part in parts)
        case syntax.Or(parts=parts):
            return any(is_true(part, asked) for part in parts)


def value_of(node: syntax.Expression, asked: Asked) -> Found:
    """Return the value of an expression; None where something in it is absent."""
    match node:
        case syntax.Literal(value=value):
            return _exact(value)
        case syntax.Instant(us=us) | syntax.Duration(us=us):
            return Fraction(us)
        case syntax.Ref():
            return _named(node.name, asked)
        case syntax.Call(function=function, of=of):
            return _called(function, value_of(of, asked))
        case syntax.Arithmetic(op=op, left=left, right=right):
            one, two = value_of(left, asked), value_of(right, asked)
            if one is None or two is None:
                return None
            assert isinstance(one, Fraction)
            assert isinstance(two, Fraction)
            return one + two if op == "+" else one - two if op == "-" else one * two


def _exact(value: Value | Listed) -> Found:
    if isinstance(value, tuple):
        return tuple(_exact(each) for each in value)
    return value if isinstance(value, str | bool) else Fraction(value)


def _called(function: str, value: Found) -> Found:
    if value is None:
        return None
    if function == "lower":
        return cast("str", value).lower()
    return Fraction(sum(1 for _ in cast("str", value)))


def _named(name: str, asked: Asked) -> Found:
    shown = wall(asked.at, asked.clock)
    match name:
        case "actor":
            return asked.user
        case "at.minute" | "at.hour" | "at.day" | "at.month" | "at.year":
            return Fraction(getattr(shown, name.removeprefix("at.")))
        case "at.weekday":
            return ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[shown.weekday()]
        case "at.week":
            return wall_clock.label("week", asked.at, asked.clock)
        case "at.date":
            return shown.date().isoformat()
        case "at" if "at" not in asked.fields:
            return Fraction(asked.at)
        case _:
            found = asked.fields.get(name)
            return None if found is None else _exact(found)


def _compares(one: Found, op: str, two: Found) -> bool:
    if one is None or two is None:
        return False
    match op:
        case "=":
            return one == two
        case "!=":
            return one != two
        case "starts with" | "ends with" | "contains":
            return _texts(cast("str", one), op, cast("str", two))
        case _:
            return _ordered(one, op, two)


def _texts(one: str, op: str, two: str) -> bool:
    places = range(len(one) - len(two) + 1)
    found = [place for place in places if one[place : place + len(two)] == two]
    if op == "contains":
        return bool(found)
    return (0 if op == "starts with" else len(one) - len(two)) in found


def _ordered(one: Found, op: str, two: Found) -> bool:
    if isinstance(one, str) != isinstance(two, str):
        return False
    first, second = cast("Fraction", one), cast("Fraction", two)
    match op:
        case "<":
            return first < second
        case "<=":
            return first <= second
        case ">":
            return first > second
        case _:
            return first >= second


def counted(names: Sequence[str], asked: Asked) -> list[tuple[Found, ...]]:
    """Return what `distinct=` counts of an event: combinations of a value of each name, of a list of each element."""
    return list(product(*(_values(_named(name, asked)) for name in names)))


def _values(value: Found) -> tuple[Found, ...]:
    if isinstance(value, tuple):
        return cast("tuple[Found, ...]", value)
    return () if value is None else (value,)
