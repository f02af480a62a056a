"""Impossible rules: filters that no event passes, conditions that no events satisfy, versions never in effect.

Every report here is proven. The checker looks at one achievement at a time, and only if it has no other errors,
because unknown names prove nothing. All reports are warnings. Such rules have a meaning (no user earns them), and a
past season or a temporarily disabled filter must not make a rule set invalid.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from dsl.built_ins import ACTOR
from dsl.check.bounds import count_of, streak_least
from dsl.filters import pattern_types
from dsl.prove.conditions import LONGEST, at_least, signed
from dsl.prove.patterns import MAX_ALTERNATIVES, filter_of, zone_key
from dsl.prove.predicates import OPAQUE, comparisons, conjuncts
from dsl.prove.values import candidates
from dsl.syntax import (
    Combine,
    Compare,
    Count,
    Extreme,
    Literal,
    Member,
    Ref,
    RepeatEvery,
    Sequence,
    Streak,
    Sum,
)
from dsl.trees import below, counted, whens
from dsl.types import FieldType, Unit
from dsl.values import minus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dsl.check.problems import Report
    from dsl.prove import Patterns
    from dsl.source import Span
    from dsl.syntax import Achievement, Condition, Modifiers, Operand, Pattern, Predicate
    from dsl.types import Value


MAX_VALUES: Final = 100
"""Values of a sequence's `by` that are tried on its steps."""


def check_possible(node: Achievement, patterns: Patterns, report: Report) -> None:
    """Report the impossible parts of an achievement."""
    possible = _Possible(patterns, report)
    if node.where is not None and patterns.find_user([node.where]).found is False:
        hint = possible.why(None, [node.where])
        report.warn("ACH418", node.where.span, "no user satisfies this", hint)
    window = None
    if isinstance(node.repeat, RepeatEvery) and node.repeat.unit.text in set(Unit):
        unit = Unit(node.repeat.unit.text)
        window = (LONGEST[unit], f"one {unit}")
    for when in whens(node):
        possible.check(when)
        possible.fits(when, window)
        possible.fits_active(node, when)


class _Possible:
    def __init__(self, patterns: Patterns, report: Report) -> None:
        self._patterns = patterns
        self._report = report

    def check(self, node: Condition) -> None:
        """Check a condition and its parts."""
        before = self._report.errors
        for pattern in _patterns_of(node):
            self._passes(pattern)
        if node.mods.unless is not None:
            self._undone(node, node.mods.unless)
        if self._report.errors > before:
            return
        match node:
            case Count():
                self._distinct(node)
            case Sum():
                self._sum(node)
            case Extreme():
                self._extreme(node)
            case Sequence():
                self._by(node)
            case _:
                for part in below(node):
                    self.check(part)

    # -- filters --

    def _passes(self, pattern: Pattern) -> None:
        """Report filters that no event passes: each alternative with its own filter and the filter of the list."""
        for one in pattern.alternatives:
            if self._patterns.find(one.event.text, (one.where, pattern.where)).found is False:
                own = one.where is not None and self._patterns.find(one.event.text, (one.where,)).found is False
                span = _span(one.where if own or pattern.where is None else pattern.where)
                filters = [each for each in (one.where, pattern.where) if each is not None]
                self._report.warn(
                    "ACH418", span, f"no `{one.event.text}` passes this", self.why(one.event.text, filters)
                )
                if not own:
                    return

    def why(self, event: str | None, filters: Iterable[Predicate]) -> str | None:
        """Name the field that can have no value, where it is a single one."""
        times = Counter(
            (ref.name, ref.builtin)
            for part in (part for each in filters for part in conjuncts(each))
            for ref in dict.fromkeys(ref for ref, _ in comparisons(part))
        )
        asked = [key for key, number in times.items() if number > 1] or list(times)
        if len(asked) != 1 or asked[0][0].startswith(OPAQUE):
            return None
        (name, builtin), number = asked[0], times[asked[0]]
        domain = None if event is None else self._patterns.domain(event, Ref(name=name, builtin=builtin))
        if number == 1 and domain is not None and domain.low is not None:
            return f"`{name}` is declared >= {domain.low}"
        meant = "; did you mean `or`?" if builtin and number == 2 else ""  # noqa: PLR2004 - from 22 on, or before 4
        return f"no value of `{name}` passes every part of the filter{meant}"

    # -- bounds that a filter keeps out of reach --

    def _distinct(self, node: Count) -> None:
        values: set[Value] = set()
        if len(node.distinct) != 1 or len(node.event.alternatives) > MAX_ALTERNATIVES:
            return
        field = node.distinct[0].text
        for event in pattern_types(node.event):
            found = self._values(event, node.event, field)
            if found is None:
                return
            values |= found
        if len(values) < at_least(node.cmp):
            message = f"the filter lets {count_of(len(values), 'value')} of `{field}` pass"
            self._report.warn("ACH412", node.cmp.span, f"{message}; this bound can never hold")

    def _values(self, event: str, pattern: Pattern, field: str) -> set[Value] | None:
        """Return the values that a field can have behind a filter; None where they are not a few that it names."""
        test, ref = filter_of(pattern, event), Ref(name=field)
        if test is None:
            return None
        named = {value for each, values in comparisons(test) if each.name == field for value in values}
        if not named or self._patterns.find(event, (test, _member(ref, named, negated=True))).found is not False:
            return None
        return {value for value in named if self._patterns.find(event, (test, _equals(ref, value))).found is not False}

    def _sum(self, node: Sum) -> None:
        bound = node.cmp.bound
        if bound < 0 or (bound == 0 and node.cmp.op == ">="):
            return
        more = Compare(left=Ref(name=node.of.text), op=">", right=Literal(value=0))
        if self._none(node.event, more):
            message = f"no event that passes the filter adds anything: `{node.of.text}` is never more than 0"
            self._report.warn("ACH412", node.cmp.span, message)

    def _extreme(self, node: Extreme) -> None:
        reached = Compare(left=Ref(name=node.of.text), op=node.cmp.op, right=Literal(value=node.cmp.bound))
        if self._none(node.event, reached):
            message = "no event that passes the filter reaches this bound"
            self._report.warn("ACH412", node.cmp.span, message)

    def _none(self, pattern: Pattern, more: Predicate) -> bool:
        """Return whether no event matches a pattern and passes one more filter."""
        if len(pattern.alternatives) > MAX_ALTERNATIVES:
            return False
        types = pattern_types(pattern)
        return all(self._patterns.find(event, (filter_of(pattern, event), more)).found is False for event in types)

    def _by(self, node: Sequence) -> None:
        """Report a sequence whose steps can never have the same value of the field."""
        if node.by is None or node.by.text == ACTOR:
            return
        ref = Ref(name=node.by.text)
        constants: set[Value] = set()
        for step in node.steps:
            for event in pattern_types(step):
                test = filter_of(step, event)
                pairs = () if test is None else comparisons(test)
                constants |= {value for each, values in pairs if each.name == ref.name for value in values}
        domain = self._patterns.domain(next(iter(pattern_types(node.steps[0]))), ref)
        if not 0 < len(constants) <= MAX_VALUES or domain is None or domain.kind is FieldType.DECIMAL:
            return
        for value in candidates(domain, constants):
            if value is not None and all(self._can_be(step, ref, value) for step in node.steps):
                return
        message = f"no value of `{node.by.text}` fits every step, so the sequence can never complete"
        self._report.warn("ACH412", node.by.span, message)

    def _can_be(self, step: Pattern, ref: Ref, value: Value) -> bool:
        return not self._none(step, _equals(ref, value))

    # -- unless --

    def _undone(self, node: Condition, unless: Pattern) -> None:
        if self._never_left(node, node.mods, unless):
            message = "every event that counts here also resets the condition, so it never holds"
            hint = "an event that matches both does not count; filter one of the two"
            self._report.warn("ACH419", unless.span, message, hint)

    def _never_left(self, node: Condition, mods: Modifiers, unless: Pattern) -> bool:
        """Return whether every event that could make a condition hold is one that `unless` names."""
        match node:
            case Combine(parts=parts, k=k):
                return sum(self._never_left(part, mods, unless) for part in parts) > len(parts) - k
            case Sequence(steps=steps):
                return any(self._same(step, node.mods, unless, mods) for step in steps)
            case Sum() if signed(self._patterns, node) and node.cmp.bound <= 0:
                return False  # a total of nothing may be enough
            case Count() | Sum() | Extreme() | Streak():
                return self._same(node.event, node.mods, unless, mods)
            case _:
                return False

    def _same(self, one: Pattern, mods: Modifiers, two: Pattern, others: Modifiers) -> bool:
        return self._patterns.covers(one, two, same_clock=zone_key(mods.tz) == zone_key(others.tz))

    # -- spans that are too short --

    def fits(self, node: Condition, window: tuple[int, str] | None) -> None:
        """Report a condition that needs more time than its window allows."""
        for part in below(node):
            self.fits(part, None)
        for length, words, span in _windows(node, window):
            least = _least(node)
            if least and least >= length and not _reported(node):
                self._report.warn("ACH412", span or node.span, f"this needs more time than {words} allows")
                return

    def fits_active(self, node: Achievement, when: Condition) -> None:
        """Report a condition that needs more time than `active` allows."""
        active = node.active
        if active is None or active.start is None or active.end is None or active.end.us <= active.start.us:
            return
        least = _least(when, beyond_first=True)
        if least and least >= active.end.us - active.start.us:
            self._report.error("ACH412", when.span, "this needs more time than `active` allows")


def _windows(node: Condition, window: tuple[int, str] | None) -> Iterator[tuple[int, str, Span | None]]:
    """Yield the windows of a condition: how long they are, in words, and where."""
    if node.mods.within is not None:
        yield node.mods.within.us, node.mods.within.text, node.mods.within.span
    if node.mods.per is not None and node.mods.per.text in set(Unit):
        unit = Unit(node.mods.per.text)
        yield LONGEST[unit], f"one {unit}", node.mods.per.span
    if window is not None:
        yield *window, None


def _reported(node: Condition) -> bool:
    """Return whether `check_streak` has already compared the bounds of a streak with its own window."""
    return isinstance(node, Streak) and node.mods.within is not None and _least(node) >= node.mods.within.us


def _least(node: Condition, *, beyond_first: bool = False) -> int:
    """Return a time that certainly passes between the latest start of a condition and the moment it holds.

    With `beyond_first`, between its first event and that moment: a streak starts with its first unit, before the event.
    """
    match node:
        case Streak() if beyond_first:
            return streak_least(
                replace(node, cmp=replace(node.cmp, bound=minus(node.cmp.bound, 1))), Unit(node.unit.text)
            )
        case Streak():
            return streak_least(node, Unit(node.unit.text))
        case Combine(parts=parts, k=k):
            leasts = sorted(_least(part, beyond_first=beyond_first) for part in parts)
            return leasts[k - 1] if 1 <= k <= len(parts) else 0
        case _:
            return 0


# -- versions ---------------------------------------------------------------------------------------------------------


def check_spans(versions: tuple[Achievement, ...], reports: Iterable[Report]) -> None:
    """Report versions that are never active while they are in effect."""
    for node, after, report in zip(versions, [*versions[1:], None], reports, strict=True):
        active = node.active
        if active is None or (active.start and active.end and active.end.us <= active.start.us):
            continue
        until = None if after is None else after.since
        if node.since is not None and active.end is not None and active.end.us <= node.since.us:
            message = f"`active` ends before version {node.version} takes effect ({node.since.text})"
            report.warn("ACH420", active.end.span, message)
        elif until is not None and active.start is not None and active.start.us >= until.us and after is not None:
            message = f"`active` starts after version {after.version} has taken over ({until.text})"
            report.warn("ACH420", active.start.span, message)


# -- small things -----------------------------------------------------------------------------------------------------


def _patterns_of(node: Condition) -> Iterator[Pattern]:
    yield from counted(node)
    if node.mods.unless is not None:
        yield node.mods.unless


def _span(predicate: Predicate | None) -> Span:
    if predicate is None:
        raise AssertionError("a filter that is not there lets everything pass")
    return predicate.span


def _operand(value: Value) -> Operand:
    return Literal(value=value)


def _equals(ref: Ref, value: Value) -> Predicate:
    return Member(left=ref, negated=False, values=(_operand(value),))


def _member(ref: Ref, values: Iterable[Value], *, negated: bool) -> Predicate:
    return Member(left=ref, negated=negated, values=tuple(_operand(value) for value in sorted(values, key=repr)))
