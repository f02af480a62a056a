"""The kinds of values that a filter compares, and the kind of an expression.

An `int` and a `decimal` are one kind. A difference of two instants is a span, and is compared with durations.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from dsl.built_ins import TYPES
from dsl.notation import expression
from dsl.syntax import Arithmetic, Call, Duration, Instant, Literal, Ref
from dsl.types import FieldType

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.check.problems import Report
    from dsl.syntax import Expression

    Lookup = Callable[[Ref, str | None], FieldType | None]


class Kind(StrEnum):
    """What a value is, in words."""

    TEXT = "a string"
    NUMBER = "a number"
    BOOL = "a bool"
    MOMENT = "an instant"
    SPAN = "a span of time"
    USER = "a user"
    TEXTS = "a list of strings"
    NUMBERS = "a list of numbers"
    USERS = "a list of users"


OF_FIELDS: Final = {
    FieldType.STRING: Kind.TEXT,
    FieldType.INT: Kind.NUMBER,
    FieldType.DECIMAL: Kind.NUMBER,
    FieldType.BOOL: Kind.BOOL,
    FieldType.TIMESTAMP: Kind.MOMENT,
    FieldType.USER: Kind.USER,
    FieldType.STRINGS: Kind.TEXTS,
    FieldType.INTS: Kind.NUMBERS,
    FieldType.DECIMALS: Kind.NUMBERS,
    FieldType.USERS: Kind.USERS,
}
ELEMENTS: Final = {Kind.TEXTS: Kind.TEXT, Kind.NUMBERS: Kind.NUMBER, Kind.USERS: Kind.USER}
"""The kind of the elements of a list."""
ORDERED: Final = (Kind.TEXT, Kind.NUMBER, Kind.MOMENT, Kind.SPAN)
_RESULTS: Final = {
    ("+", Kind.NUMBER, Kind.NUMBER): Kind.NUMBER,
    ("-", Kind.NUMBER, Kind.NUMBER): Kind.NUMBER,
    ("*", Kind.NUMBER, Kind.NUMBER): Kind.NUMBER,
    ("-", Kind.MOMENT, Kind.MOMENT): Kind.SPAN,
    ("+", Kind.MOMENT, Kind.SPAN): Kind.MOMENT,
    ("+", Kind.SPAN, Kind.MOMENT): Kind.MOMENT,
    ("-", Kind.MOMENT, Kind.SPAN): Kind.MOMENT,
    ("+", Kind.SPAN, Kind.SPAN): Kind.SPAN,
    ("-", Kind.SPAN, Kind.SPAN): Kind.SPAN,
    ("*", Kind.NUMBER, Kind.SPAN): Kind.SPAN,
    ("*", Kind.SPAN, Kind.NUMBER): Kind.SPAN,
}
_TAKES: Final = {"length": (Kind.TEXT,), "lower": (Kind.TEXT,), "size": tuple(ELEMENTS)}
_WANTS: Final = {"length": "a string", "lower": "a string", "size": "a list"}


def kind_of(node: Expression, lookup: Lookup, report: Report, hint: str | None = None) -> Kind | None:
    """Return the kind of an expression, None where a problem of it is reported.

    `lookup` returns the type of a field, or None if it has reported it as unknown, with the hint if nothing is near.
    """
    match node:
        case Ref(builtin=True):
            return OF_FIELDS[TYPES[node.name]]
        case Ref():
            found = lookup(node, hint)
            return None if found is None else OF_FIELDS[found]
        case Arithmetic():
            return _arithmetic(node, lookup, report)
        case Call():
            return _call(node, lookup, report)
        case _:
            return kind_of_constant(node)


def kind_of_constant(node: Literal | Instant | Duration) -> Kind:
    """Return the kind of a constant."""
    match node:
        case Instant():
            return Kind.MOMENT
        case Duration():
            return Kind.SPAN
        case Literal(value=bool()):
            return Kind.BOOL
        case Literal(value=str()):
            return Kind.TEXT
        case _:
            return Kind.NUMBER


def _arithmetic(node: Arithmetic, lookup: Lookup, report: Report) -> Kind | None:
    left, right = kind_of(node.left, lookup, report), kind_of(node.right, lookup, report)
    if left is None or right is None:
        return None
    found = _RESULTS.get((node.op, left, right))
    if found is None:
        hint = None
        if {left, right} == {Kind.MOMENT, Kind.NUMBER}:
            hint = "write a duration, such as 5m"
        report.error("ACH316", node.span, f"`{node.op}` does not work on {left} and {right}", hint)
    return found


def _call(node: Call, lookup: Lookup, report: Report) -> Kind | None:
    of = kind_of(node.of, lookup, report)
    if of is None:
        return None
    if of not in _TAKES[node.function]:
        other = next((name for name, kinds in _TAKES.items() if of in kinds and name != "lower"), None)
        hint = None if other is None or node.function == "lower" else f"did you mean `{other}`?"
        message = f"`{node.function}` takes {_WANTS[node.function]}; `{expression(node.of)}` is {of}"
        report.error("ACH316", node.span, message, hint)
        return None
    return Kind.TEXT if node.function == "lower" else Kind.NUMBER
