"""Traps of groups and units: an `unless` that resets all groups, `repeat each` beside `by`, events for days."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from dsl.notation import condition
from dsl.syntax import NO_MODIFIERS, Cmp, Count, CountGroups, Name, RepeatEach, Streak, StreakUnits
from dsl.trees import key_of, walk, whens
from dsl.types import Unit

if TYPE_CHECKING:
    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems, Report
    from dsl.syntax import Achievement, Condition, Pattern

_MOST_DAYS: Final = 7
"""Days of a week: a larger `min` is about events."""


def advise_on_groups(book: Rulebook, problems: Problems) -> None:
    """Report what reads as if it were about one group, or about days."""
    for source, version in book.versions():
        report = problems.of(source)
        for when in whens(version):
            for part in walk(when):
                _resets_all(book, part, report)
                if isinstance(part, Streak):
                    _events_for_days(part, report)
            _forgets_all(version, when, report)


def groups_of(node: Condition) -> tuple[Name, ...]:
    """Return the fields whose values make the groups of a condition."""
    return node.by if isinstance(node, CountGroups) else key_of(node)


def _resets_all(book: Rulebook, node: Condition, report: Report) -> None:
    """Report an `unless` with an event that has none of the fields that make groups."""
    fields, unless = groups_of(node), node.mods.unless
    if not fields or unless is None:
        return
    names = [field.text for field in fields if field.text != "actor"]
    for one in unless.alternatives:
        schema = book.rules.events.get(one.event.text)
        if schema is not None and names and not any(name in schema.fields for name in names):
            shown = ", ".join(f"`{name}`" for name in names)
            message = f"`{one.event.text}` has no {shown}, so it resets every group"
            hint = f"declare {shown} in `{one.event.text}`, and each one resets its own group alone"
            report.warn("ACH525", one.span, message, hint)


def _forgets_all(version: Achievement, when: Condition, report: Report) -> None:
    """Report `repeat each` on a condition of groups: one unlock forgets what all groups have reached."""
    fields = groups_of(when)
    if not isinstance(version.repeat, RepeatEach) or not fields or isinstance(when, CountGroups):
        return
    names = ", ".join(f"`{field.text}`" for field in fields)
    message = f"at each unlock `repeat each` forgets what every other {names} has reached"
    hint = "name one field in `by`, and repeat by it"
    if len(fields) == 1:
        hint = f"`repeat by` is once for each; write: repeat by {fields[0].text}"
    report.warn("ACH526", version.repeat.span, message, hint)


def _events_for_days(node: Streak, report: Report) -> None:
    """Report a streak of weeks whose `min` seems to be a number of days."""
    if node.unit.text != Unit.WEEK or not 1 < node.min <= _MOST_DAYS:
        return
    message = f"`min={node.min}` counts events: {node.min} on one day are enough for a week"
    text = condition(weeks_with_days(node, node.event, node.min, node.cmp))
    report.warn("ACH527", node.span, message, f"to count days, write: {text}")


def weeks_with_days(node: Streak, event: Pattern, days: int, cmp: Cmp) -> StreakUnits:
    """Return the streak of weeks that have so many days with an event."""
    counted = Count(
        event=event,
        distinct=(Name(text="at.date", span=node.span),),
        cmp=Cmp(op=">=", bound=days, span=node.span),
        mods=NO_MODIFIERS,
        span=node.span,
    )
    unit = Name(text=Unit.WEEK, span=node.span)
    return StreakUnits(unit=unit, inner=counted, cmp=cmp, grace=0, mods=replace(node.mods, unless=None), span=node.span)
