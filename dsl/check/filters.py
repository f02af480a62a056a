"""Filters: do the fields exist, and do their types match the values?"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Final

from dsl.calendar import WEEKDAYS
from dsl.check.problems import a_type
from dsl.syntax import And, Compare, Instant, Member, Not, Or, Present, Truth
from dsl.types import FieldType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dsl.check.problems import Report
    from dsl.syntax import Operand, Predicate, Ref

    Lookup = Callable[[Ref], FieldType | None]

_HOURS: Final = 24
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NUMBERS: Final = (FieldType.INT, FieldType.DECIMAL)


def check_filter(predicate: Predicate, lookup: Lookup, report: Report) -> None:
    """Check one predicate; `lookup` returns the type of a field, or None if it has reported it as unknown."""
    match predicate:
        case Not(part=part):
            check_filter(part, lookup, report)
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                check_filter(part, lookup, report)
        case Compare():
            _compare(predicate, lookup, report)
        case Member(left=left, values=values):
            _check_values(left, values, lookup, report)
        case Present(left=left):
            _present(left, lookup)
        case Truth(left=left):
            _truth(left, lookup, report)


def _compare(node: Compare, lookup: Lookup, report: Report) -> None:
    ordered = node.op not in ("=", "!=")
    if ordered and node.left.name == "at.weekday":
        hint = 'write at.weekday in ["sat", "sun"]'
        report.warn("ACH503", node.span, "weekday names compare in alphabetical order", hint)
    kind = _check_values(node.left, (node.right,), lookup, report)
    if ordered and kind is FieldType.BOOL:
        report.error("ACH302", node.span, f"`{node.left.name}` is a bool; `{node.op}` needs values with an order")


def _check_values(left: Ref, values: tuple[Operand, ...], lookup: Lookup, report: Report) -> FieldType | None:
    """Check what a field is compared with; return its type."""
    if left.builtin:
        for value in values:
            _builtin(left, value, report)
        return None
    kind = lookup(left)
    for value in values:
        if kind is not None and not _fits(kind, value):
            report.error(
                "ACH301",
                value.span,
                f"`{left.name}` is {a_type(kind)}, this is {_shown(value)}",
                _wanted(kind, left.name),
            )
    return kind


def _present(left: Ref, lookup: Lookup) -> None:
    if not left.builtin:
        lookup(left)


def _truth(left: Ref, lookup: Lookup, report: Report) -> None:
    kind = None if left.builtin else lookup(left)
    if left.builtin or kind not in (FieldType.BOOL, None):
        message = f"`{left.name}` alone is not a condition: only a bool is true or false"
        report.error("ACH303", left.span, message, f"compare it, or write `{left.name} is present`")


def _fits(kind: FieldType, value: Operand) -> bool:
    if isinstance(value, Instant):
        return kind is FieldType.TIMESTAMP
    if isinstance(value.value, bool):
        return kind is FieldType.BOOL
    if isinstance(value.value, str):
        return kind is FieldType.STRING
    return kind in _NUMBERS


def _shown(value: Operand) -> str:
    if isinstance(value, Instant):
        return "an instant"
    if isinstance(value.value, bool):
        return "a bool"
    return "a string" if isinstance(value.value, str) else "a number"


def _wanted(kind: FieldType, name: str) -> str:
    return {
        FieldType.STRING: 'write strings in quotes: "pro"',
        FieldType.BOOL: "write true or false",
        FieldType.TIMESTAMP: "write instants without quotes: 2026-05-01T00:00:00Z",
        FieldType.USER: "a user compares with another user field or `actor`, and with nothing else",
        FieldType.USERS: f"write `actor in {name}`, or `{name} is present`",
        FieldType.STRINGS: f'write `"x" in {name}`, or `{name} is present`',
        FieldType.INTS: f"write `5 in {name}`, or `{name} is present`",
        FieldType.DECIMALS: f"write `5 in {name}`, or `{name} is present`",
    }.get(kind, "write numbers without quotes")


def _builtin(left: Ref, value: Operand, report: Report) -> None:
    found = None if isinstance(value, Instant) else value.value
    if left.name == "at.hour":
        right = isinstance(found, int) and not isinstance(found, bool) and 0 <= found < _HOURS
        wanted = "a whole number from 0 to 23"
    elif left.name == "at.weekday":
        right, wanted = found in WEEKDAYS, "one of " + ", ".join(f'"{day}"' for day in WEEKDAYS)
    else:
        right, wanted = isinstance(found, str) and _is_date(found), 'a date such as "2026-04-13"'
    if not right:
        report.error("ACH306", value.span, f"`{left.name}` must be {wanted}")


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def refs(predicate: Predicate) -> Iterator[Ref]:
    """Yield every field, trait or built-in that a predicate asks for."""
    match predicate:
        case Not(part=part):
            yield from refs(part)
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from refs(part)
        case _:
            yield predicate.left
