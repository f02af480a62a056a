"""Keyed conditions and conditions per calendar unit: bounds that never hold, spans that reach beyond a unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.check.bounds import check_whole
from dsl.prove.conditions import COARSER, LONGEST, at_least
from dsl.syntax import Count, CountUnits, Nested, Streak, StreakUnits
from dsl.trees import below, key_of, walk
from dsl.types import Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.check.problems import Report
    from dsl.syntax import Condition, Modifiers, Name

MOST_NESTED: Final = 3
"""Groups inside groups, at most: each level is written down as text inside the text of the one above."""


def most_groups(node: Condition) -> int:
    """Return how deep groups lie in groups in a condition."""
    own = bool(key_of(node)) + isinstance(node, Nested)
    return own + max((most_groups(part) for part in below(node)), default=0)


def check_one_value(node: Condition, names: Sequence[Name], report: Report) -> None:
    """Check that no group is asked for several values of the field that makes it; a list may bring others with it."""
    for part in walk(node):
        if isinstance(part, Count) and part.distinct and at_least(part.cmp) > 1:
            field = part.distinct[0].text
            if {each.text for each in part.distinct} <= {name.text for name in names}:
                message = f"with by={field}, all events have one `{field}`; this bound can never hold"
                hint = f"leave out by={field}, or count something else in each `{field}`"
                report.error("ACH412", part.cmp.span, message, hint)


def check_units(node: CountUnits | StreakUnits, unit: Unit | None, report: Report) -> None:
    """Check the bound of what is asked of each calendar unit, and that nothing in it reaches beyond the unit."""
    check_whole(node.cmp, "units" if isinstance(node, CountUnits) else "units of a streak", report)
    if isinstance(node, StreakUnits) and node.grace < 0:
        report.error("ACH414", node.span, f"grace={node.grace}: `grace` must be 0 or more")
    if unit is None:
        return
    for part in walk(node.inner):
        _span(part.mods, unit, report)
        if isinstance(part, Streak | CountUnits | StreakUnits):
            _unit(part.unit, unit, report)
        if part.mods.tz is not None:
            message = f"the zone inside a {unit} is that of the {unit}"
            report.error("ACH430", part.mods.tz.span, message, "write `tz=` once, beside `per=`")


def _span(mods: Modifiers, unit: Unit, report: Report) -> None:
    if mods.within is not None and mods.within.us > LONGEST[unit]:
        message = f"{mods.within.text} is longer than the {unit} around it"
        report.error("ACH430", mods.within.span, message, "leave out `within=`: all events lie in one unit")
    if mods.per is not None:
        _unit(mods.per, unit, report)


def _unit(name: Name, unit: Unit, report: Report) -> None:
    inner = name.text
    if inner in set(Unit) and unit not in COARSER[Unit(inner)]:
        message = f"a {inner} does not lie in one {unit}"
        report.error("ACH430", name.span, message, f"write a unit that lies within a {unit}")
