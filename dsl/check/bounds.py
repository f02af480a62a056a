"""Bounds that never hold or always hold."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Final

from dsl.built_ins import RANGES
from dsl.types import DAY, HOUR, MINUTE, FieldType, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.check.problems import Report
    from dsl.schema import Field
    from dsl.syntax import Cmp, Combine, Count, Extreme, Name, Streak, Sum
    from dsl.types import Number

SHORTEST: Final = {
    Unit.MINUTE: MINUTE,
    Unit.HOUR: HOUR,
    Unit.DAY: 20 * HOUR,
    Unit.WEEK: 6 * DAY,
    Unit.MONTH: 27 * DAY,
    Unit.YEAR: 364 * DAY,
}
"""Shorter than the shortest such unit on any clock."""

MAX_DRIFT: Final = 2 * DAY
"""More than the maximum difference of two events' clocks: a day with a later label may not be later at all."""


MAX_REMEMBERED: Final = 100_000
"""Maximum number of events or values that a subject's state stores individually for a bound."""


def check_whole(cmp: Cmp, what: str, report: Report) -> bool:
    """Check a bound on a count; return whether it is sensible."""
    bound = cmp.bound
    if bound != int(bound):
        hint = f"write {cmp.op} {int(bound)} or {cmp.op} {int(bound) + 1}"
        report.error("ACH413", cmp.span, f"{what} are counted in whole numbers", hint)
        return False
    if _smallest(cmp) < 1:
        report.error("ACH411", cmp.span, "this bound always holds, even before the first event", "write >= 1 or more")
        return False
    return True


def _smallest(cmp: Cmp) -> int:
    """Return the smallest whole number that reaches the bound."""
    return int(cmp.bound) + (cmp.op == ">")


def check_distinct(node: Count, fields: Sequence[Sequence[Field]], report: Report) -> None:
    """Check that there are enough different values, or combinations of them: two bools, seven weekdays."""
    most = [_most(name, each) for name, each in zip(node.distinct, fields, strict=True)]
    known = [number for number in most if number is not None]
    number = prod(known)
    if not most or len(known) < len(most) or _smallest(node.cmp) <= number:
        return
    names = " and ".join(f"`{name.text}`" for name in node.distinct)
    what = f"{names} has {number} values" if len(most) == 1 else f"{names} have {number} combinations"
    if len(most) == 1 and fields[0]:
        what = "a bool has two values"
    report.error("ACH412", node.cmp.span, f"{what}; this bound can never hold")


def _most(name: Name, fields: Sequence[Field]) -> int | None:
    """Return how many values a field or a part of the event's own time can have, None where nothing limits them."""
    if fields:
        return 2 if all(field.type is FieldType.BOOL for field in fields) else None
    return _PARTS.get(name.text)


def check_lists(names: Sequence[Name], fields: Sequence[Sequence[Field]], report: Report) -> None:
    """Check that at most one of several fields is a list: the combinations of one event are as many as its elements."""
    lists = {field.name for each in fields for field in each if field.type.element is not None}
    if len(lists) > 1:
        last = next(name for name in reversed(names) if name.text in lists)
        hint = "name one of the lists, or let your product send an event for each of the elements"
        report.error("ACH315", last.span, "only one of these fields can be a list", hint)


_PARTS: Final = {"at.weekday": 7, **{name: high - low + 1 for name, (low, high) in RANGES.items() if name != "at.year"}}


def check_remembered(node: Count, window: str | None, report: Report) -> None:
    """Check that the state for a bound stays small: it holds each value, or in a window each event."""
    if _smallest(node.cmp) <= MAX_REMEMBERED or (not node.distinct and window is None):
        return
    what = "values" if node.distinct else f"events under {window}"
    message = f"at most {MAX_REMEMBERED:,} {what} can be stored for a bound"
    report.error("ACH414", node.cmp.span, message)


def check_sum(node: Sum, fields: Sequence[Field], report: Report) -> None:
    """Check the bound of a sum over fields that cannot be negative."""
    if is_signed(fields):
        return
    if node.cmp.bound < 0 or (node.cmp.bound == 0 and node.cmp.op == ">="):
        hint = f"`{node.of.text}` is never negative, and neither is its sum"
        report.error("ACH411", node.cmp.span, "this bound always holds, even before the first event", hint)


def is_signed(fields: Sequence[Field]) -> bool:
    """Return whether one of the fields may be negative."""
    return any(field.low is None or field.low < 0 for field in fields)


def check_extreme(node: Extreme, fields: Sequence[Field], report: Report) -> None:
    """Check the bound of `max` or `min` against the declared lower bounds."""
    lows = [field.low for field in fields if field.low is not None]
    if not fields or len(lows) < len(fields):
        return
    low, bound = min(lows), node.cmp.bound
    if node.kind == "max" and (bound < low or (bound == low and node.cmp.op == ">=")):
        message = f"every event reaches this bound: `{node.of.text}` is declared >= {low}"
        report.error("ACH411", node.cmp.span, message, f"to count events write count(event=..., {node.cmp.op} 1)")
    if node.kind == "min" and (bound < low or (bound == low and node.cmp.op == "<")):
        message = f"no event reaches this bound: `{node.of.text}` is declared >= {low}"
        report.error("ACH412", node.cmp.span, message)


def check_streak(node: Streak, unit: Unit | None, report: Report) -> None:
    """Check a streak's bound, its `min` and `grace`, and that the run fits into its window."""
    if node.min < 1:
        report.error("ACH414", node.span, f"min={node.min}: a unit is active with one event or more", "write min=1")
    if node.grace < 0:
        report.error("ACH414", node.span, f"grace={node.grace}: `grace` must be 0 or more")
    if not check_whole(node.cmp, "units of a streak", report) or unit is None:
        return
    within, tz = node.mods.within, node.mods.tz
    # With a zone that moves, two labels may lie much closer together than their units are long.
    if tz is not None and tz.kind != "iana":
        return
    if within is not None and within.us and (_smallest(node.cmp) - 1) * SHORTEST[unit] >= within.us:
        message = f"{_smallest(node.cmp)} {unit}s never fit into {within.text}"
        report.warn("ACH412", node.cmp.span, message)


def streak_least(node: Streak, unit: Unit) -> int:
    """Return a time (microseconds) shorter than any such streak, from the start of its first unit to its last event."""
    fixed = node.mods.tz is None or node.mods.tz.kind == "iana"
    length = (_smallest(node.cmp) - 1) * SHORTEST[unit]
    return max(0, length if fixed else length - MAX_DRIFT)


def check_combine(node: Combine, report: Report) -> None:
    """Check the K of `at_least`."""
    if node.kind != "at_least":
        return
    if node.k < 1:
        report.error("ACH411", node.span, f"at_least({node.k}, ...) always holds", "write 1 or more")
    elif node.k > len(node.parts):
        message = f"at_least({node.k}, ...) of {count_of(len(node.parts), 'condition')} can never hold"
        report.error("ACH412", node.span, message)


def count_of(number: Number, noun: str) -> str:
    """Return "1 condition", "2 conditions"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
