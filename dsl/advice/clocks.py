"""Clocks that differ where one is meant: `tz=` of a whole is not that of its parts, and one that nothing reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.analyze import patterns
from dsl.built_ins import ZONED
from dsl.filters import uses_builtin
from dsl.notation import zone
from dsl.syntax import Count, CountUnits, RepeatEvery, Streak, StreakUnits
from dsl.trees import below, whens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems, Report
    from dsl.syntax import Condition, Pattern, Predicate, Zone


def advise_on_clocks(book: Rulebook, problems: Problems) -> None:
    """Report parts that go by UTC inside of what goes by another clock, and clocks that nothing reads."""
    for source, version in book.versions():
        report = problems.of(source)
        around = version.repeat.tz if isinstance(version.repeat, RepeatEvery) else None
        for when in whens(version):
            _check(when, around, report)


def _check(node: Condition, around: Zone | None, report: Report) -> None:
    """Check a condition; `around` is the clock of a calendar unit around it."""
    tz, reads = node.mods.tz, _reads(node)
    if tz is None and reads is not None and around is not None and not _is_utc(around):
        message = f"{reads} goes by UTC here, and what is around it by tz={zone(around)}"
        report.warn("ACH529", node.span, message, f"each operator has its own clock; write tz={zone(around)} here too")
    if tz is not None and reads is None:
        _idle(node, tz, report)
    if isinstance(node, CountUnits | StreakUnits):
        return  # what is inside goes by the clock of the unit
    outer = tz if tz is not None and node.mods.per is not None else around
    for part in below(node):
        _check(part, outer, report)


def _idle(node: Condition, tz: Zone, report: Report) -> None:
    """Report a clock that nothing reads."""
    hint = "leave it out"
    if any(each.mods.tz is None and _reads(each) is not None for each in _inside(node)):
        hint = f"it is not that of its parts: write tz={zone(tz)} in each of them"
    elif node.mods.within is not None:
        hint = f"`within={node.mods.within.text}` is an exact span; for a calendar unit write `per=day`"
    report.warn("ACH530", tz.span, f"nothing here reads the clock of `tz={zone(tz)}`", hint)


def _inside(node: Condition) -> Iterator[Condition]:
    for part in below(node):
        yield part
        yield from _inside(part)


def _reads(node: Condition) -> str | None:
    """Return what of an operator's own reads its clock, as it is written; None where nothing does."""
    if node.mods.per is not None:
        return f"`per={node.mods.per.text}`"
    if isinstance(node, Streak | CountUnits | StreakUnits):
        return f"`per={node.unit.text}`"
    if isinstance(node, Count):
        name = next((each.text for each in node.distinct if each.text in ZONED), None)
        if name is not None:
            return f"`distinct={name}`"
    if any(uses_builtin(test) for pattern in patterns(node) for test in _filters(pattern)):
        return "the filter on `at`"
    return None


def _filters(pattern: Pattern) -> Iterator[Predicate]:
    for test in (pattern.where, *(one.where for one in pattern.alternatives)):
        if test is not None:
            yield test


def _is_utc(tz: Zone) -> bool:
    return tz.kind == "iana" and tz.name == "UTC"
