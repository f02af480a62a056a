"""Traps of groups and units: an `unless` that resets all groups, `repeat each` beside `by`, events for days."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from dsl.built_ins import ACTOR
from dsl.notation import condition
from dsl.syntax import NO_MODIFIERS, Cmp, Count, CountGroups, Name, RepeatBy, RepeatEach, Streak, StreakUnits
from dsl.trees import below, key_names, key_of, walk, whens
from dsl.types import Unit

if TYPE_CHECKING:
    from collections.abc import Container

    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems, Report
    from dsl.syntax import Achievement, Condition, Pattern

_MOST_DAYS: Final = 7
"""Days of a week: a larger `min` is about events."""
_SHOWN: Final = 80
"""Characters of a condition that a hint shows."""


def advise_on_groups(book: Rulebook, problems: Problems) -> None:
    """Report what reads as if it were about one group, or about days."""
    for source, version in book.versions():
        report = problems.of(source)
        for when in whens(version):
            _resets_all(book, when, _repeated(version), report)
            for part in walk(when):
                if isinstance(part, Streak):
                    _events_for_days(part, report)
            _forgets_all(version, when, report)


def _repeated(version: Achievement) -> tuple[str, ...]:
    """Return the field of `repeat by`, which makes the groups of the whole condition."""
    return (version.repeat.field.text,) if isinstance(version.repeat, RepeatBy) else ()


def groups_of(node: Condition) -> tuple[Name, ...]:
    """Return the fields whose values make the groups of a condition."""
    return node.by if isinstance(node, CountGroups) else key_of(node)


def _resets_all(book: Rulebook, node: Condition, around: tuple[str, ...], report: Report) -> None:
    """Report each `unless` with an event that has none of the fields that make the groups around it."""
    inside = around if isinstance(node, CountGroups) else (*around, *key_names(node))
    whole = tuple(name.text for name in node.by) if isinstance(node, CountGroups) else ()
    for one in () if node.mods.unless is None else node.mods.unless.alternatives:
        schema = book.rules.events.get(one.event.text)
        if schema is None:
            continue
        if whole and any(name in schema.fields for name in whole):
            message = f"`{one.event.text}` resets the whole count, whichever {_listed(whole)} it has"
            report.warn("ACH525", one.span, message, f"to reset one group alone, write `unless=` in {_inner(node)}")
        elif not _names_group((*inside, *whole), schema.fields):
            shown = _listed((*inside, *whole))
            message = f"`{one.event.text}` has no {shown}, so it resets every group"
            there = f" and write `unless=` in {_inner(node)}: " if whole else ", and "
            hint = f"declare {shown} in `{one.event.text}`{there}each one resets its own group alone"
            report.warn("ACH525", one.span, message, hint)
    for part in below(node):
        _resets_all(book, part, (*inside, *whole), report)


def _names_group(names: tuple[str, ...], fields: Container[str]) -> bool:
    """Return whether an event says which groups it is about; `actor` every event has."""
    return not names or ACTOR in names or any(name in fields for name in names)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names))


def _inner(node: Condition) -> str:
    """Return what is asked of each group, short enough for a hint."""
    text = condition(below(node)[0])
    return text if len(text) <= _SHOWN else "what is asked of each"


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
