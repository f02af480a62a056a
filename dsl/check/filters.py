"""Filters: do the fields exist, and do their types match the values?"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Final, cast

from dsl.built_ins import RANGES, ZONED
from dsl.calendar import WEEKDAYS
from dsl.check.kinds import ELEMENTS, ORDERED, Kind, kind_of, kind_of_constant
from dsl.check.problems import a_type
from dsl.expressions import is_constant, refs
from dsl.notation import expression
from dsl.parse.bounds import in_the_unit_of
from dsl.syntax import And, Compare, Contains, Duration, Literal, Member, Not, Or, Present, Ref, Truth
from dsl.types import FieldType

if TYPE_CHECKING:
    from dsl.check.kinds import Lookup
    from dsl.check.problems import Report
    from dsl.source import Span
    from dsl.syntax import Expression, Operand, Predicate

    Constant = Operand | Duration

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_WEEK: Final = re.compile(r"(\d{4})-W(\d\d)", re.ASCII)
_TEXTUAL: Final = ("starts with", "ends with", "contains")


def check_filter(predicate: Predicate, lookup: Lookup, report: Report) -> None:
    """Check one predicate; `lookup` is that of `kind_of`."""
    match predicate:
        case Not(part=part):
            check_filter(part, lookup, report)
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                check_filter(part, lookup, report)
        case Compare():
            _compare(predicate, lookup, report)
        case Member():
            _member(predicate, lookup, report)
        case Contains():
            _contains(predicate, lookup, report)
        case Present(left=left):
            kind_of(left, lookup, report)
        case Truth(left=left):
            _truth(left, lookup, report)


# -- comparisons ------------------------------------------------------------------------------------------------------


def _compare(node: Compare, lookup: Lookup, report: Report) -> None:
    if next(refs(node), None) is None:
        report.error("ACH303", node.span, "this compares constants, and asks nothing of the event")
        return
    if node.op in _TEXTUAL:
        _compare_texts(node, lookup, report)
        return
    ordered = node.op not in ("=", "!=")
    if ordered and isinstance(node.left, Ref) and node.left.name == "at.weekday":
        hint = 'write at.weekday in ["sat", "sun"]'
        report.warn("ACH503", node.span, "weekday names compare in alphabetical order", hint)
    if is_constant(node.right):
        kind = _against(node.left, (cast("Constant", node.right),), lookup, report)
    else:
        kind = _sides(node, lookup, report)
    if ordered and kind is not None and kind not in ORDERED:
        message = f"`{expression(node.left)}` is {kind}; `{node.op}` needs values with an order"
        report.error("ACH302", node.span, message)


def _sides(node: Compare, lookup: Lookup, report: Report) -> Kind | None:
    """Check that both sides are of one kind, which is returned."""
    left = kind_of(node.left, lookup, report)
    meant = None
    if left is Kind.TEXT and isinstance(node.right, Ref):
        meant = f'write a string in quotes: "{node.right.name}"'
    right = kind_of(node.right, lookup, report, meant)
    if left is None or right is None:
        return None
    if left is right and left not in ELEMENTS:
        return left
    both = f"`{expression(node.left)}` is {left}, `{expression(node.right)}` is {right}"
    if left is right:
        report.error("ACH301", node.span, f"lists are not compared: {both}", "ask for elements: actor in attendees")
    else:
        report.error("ACH301", node.span, f"{both}: they are never equal", _mixed(left, right))
    return None


def _mixed(left: Kind, right: Kind) -> str | None:
    if Kind.USER in (left, right):
        return "a user compares with another user field or `actor`, and with nothing else"
    if left in ELEMENTS or right in ELEMENTS:
        return "write `in` to ask for an element: owner in members"
    return None


def _against(left: Expression, values: tuple[Constant, ...], lookup: Lookup, report: Report) -> Kind | None:
    """Check what an expression is compared with; return its kind."""
    if isinstance(left, Ref) and left.builtin and left.name in ZONED:
        for value in values:
            _built_in(left, value, report)
        return None
    if isinstance(left, Ref) and not left.builtin:
        return _field_against(left, values, lookup, report)
    kind = kind_of(left, lookup, report)
    for value in values:
        found = kind_of_constant(value)
        if kind is not None and (found is not kind or kind is Kind.USER):
            hint = "write a duration, such as 5m" if kind is Kind.SPAN else None
            message = f"`{expression(left)}` is {kind}, this is {found}"
            report.error("ACH301", value.span, message, _USERS if kind is Kind.USER else hint)
    return kind


def _field_against(left: Ref, values: tuple[Constant, ...], lookup: Lookup, report: Report) -> Kind | None:
    found = lookup(left, None)
    kind = None if found is None else kind_of(left, lambda _ref, _hint: found, report)
    wrong: Span | None = None
    for value in values:
        if value.span == wrong:
            continue  # another element of a list that has a name
        if found is not None and (kind_of_constant(value) is not kind or kind is Kind.USER):
            wrong = value.span
            message = f"`{left.name}` is {a_type(found)}, this is {kind_of_constant(value)}"
            hint = _of_a_span(left.name, value, kind) if isinstance(value, Duration) else None
            report.error("ACH301", value.span, message, hint or _wanted(found, left.name))
    return None if wrong is not None else kind


_USERS: Final = "a user compares with another user field or `actor`, and with nothing else"


def _of_a_span(name: str, value: Duration, kind: Kind | None) -> str | None:
    """Return what `seconds > 1m` may mean: so many of the unit that the field counts, or how long ago it was."""
    if kind is Kind.MOMENT:
        return f"a span is a difference of two instants: at - {name} < {value.text}"
    if kind is not Kind.NUMBER:
        return None
    number = in_the_unit_of(name, value.us)
    return f"`{name}` is a plain number: write {'one' if number is None else number}"


def _wanted(kind: FieldType, name: str) -> str:
    return {
        FieldType.STRING: 'write strings in quotes: "pro"',
        FieldType.BOOL: "write true or false",
        FieldType.TIMESTAMP: "write instants without quotes: 2026-05-01T00:00:00Z",
        FieldType.USER: _USERS,
        FieldType.USERS: f"write `actor in {name}`, or `size({name}) > 1`",
        FieldType.STRINGS: f'write `"x" in {name}`, or `size({name}) > 1`',
        FieldType.INTS: f"write `5 in {name}`, or `size({name}) > 1`",
        FieldType.DECIMALS: f"write `5 in {name}`, or `size({name}) > 1`",
    }.get(kind, "write numbers without quotes")


def _compare_texts(node: Compare, lookup: Lookup, report: Report) -> None:
    for side in (node.left, node.right):
        kind = kind_of(side, lookup, report, None if side is node.left else "write a string in quotes")
        if kind is not None and kind is not Kind.TEXT:
            hint = f"write `... in {expression(side)}`" if kind in ELEMENTS and node.op == "contains" else None
            message = f"`{node.op}` compares strings; `{expression(side)}` is {kind}"
            report.error("ACH316", side.span, message, hint)


# -- lists ------------------------------------------------------------------------------------------------------------


def _member(node: Member, lookup: Lookup, report: Report) -> None:
    if next(refs(node), None) is None:
        report.error("ACH303", node.span, "this compares constants, and asks nothing of the event")
        return
    _against(node.left, node.values, lookup, report)


def _contains(node: Contains, lookup: Lookup, report: Report) -> None:
    left = kind_of(node.left, lookup, report)
    listed = kind_of(node.list, lookup, report)
    if listed is None or left is None:
        return
    element = ELEMENTS.get(listed)
    if element is None:
        hint = f"write `{expression(node.left)} = {node.list.name}`, or `in [...]` for one of several values"
        report.error("ACH301", node.list.span, f"`in` takes a list; `{node.list.name}` is {listed}", hint)
    elif element is not left:
        message = f"`{expression(node.left)}` is {left}, and `{node.list.name}` is {listed}"
        report.error("ACH301", node.span, message, _USERS if Kind.USER in (element, left) else None)


# -- bools and the event's own time -----------------------------------------------------------------------------------


def _truth(left: Ref, lookup: Lookup, report: Report) -> None:
    kind = None if left.builtin else lookup(left, None)
    if left.builtin or kind not in (FieldType.BOOL, None):
        message = f"`{left.name}` alone is not a condition: only a bool is true or false"
        report.error("ACH303", left.span, message, f"compare it, or write `{left.name} is present`")


def _built_in(left: Ref, value: Constant, report: Report) -> None:
    found = value.value if isinstance(value, Literal) else None
    if left.name in RANGES:
        low, high = RANGES[left.name]
        right = isinstance(found, int) and not isinstance(found, bool) and low <= found <= high
        wanted = f"a whole number from {low} to {high}"
    elif left.name == "at.weekday":
        right, wanted = found in WEEKDAYS, "one of " + ", ".join(f'"{day}"' for day in WEEKDAYS)
    elif left.name == "at.week":
        right, wanted = isinstance(found, str) and _is_week(found), 'an ISO week such as "2026-W15"'
    else:
        right, wanted = isinstance(found, str) and _is_date(found), 'a date such as "2026-04-13"'
    if not right:
        report.error("ACH306", value.span, f"`{left.name}` must be {wanted}", _short(left.name, found))


def _short(name: str, found: object) -> str | None:
    """Return what to write for the name of a weekday or a month."""
    word = found[:3].lower() if isinstance(found, str) else ""
    if name == "at.weekday" and word in WEEKDAYS:
        return f'write "{word}"'
    if name == "at.month" and word in _MONTHS:
        return f"write {_MONTHS.index(word) + 1}"
    return None


_MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905 - a list of words


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_week(text: str) -> bool:
    found = _WEEK.fullmatch(text)
    if found is None:
        return False
    try:
        date.fromisocalendar(int(found[1]), int(found[2]), 1)
    except ValueError:
        return False
    return True
