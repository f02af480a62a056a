"""Conditions: does one follow from another, on all events?

What is proven is stronger than "one holds, so the other holds": at every moment at which the first has a latest start,
the second has one that is as late or later. So what is proven of two parts is proven of them under a window too. Where
only the weaker is asked for (`strong` is false), facts such as `unlocked`, and sums that may fall, have their say.
"""

from __future__ import annotations

from decimal import Decimal
from math import floor
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from dsl.built_ins import ZONED
from dsl.filters import pattern_types
from dsl.prove.clocks import steady
from dsl.prove.patterns import filter_of, zone_key
from dsl.roles import bases
from dsl.syntax import (
    NO_MODIFIERS,
    Combine,
    Compare,
    Count,
    CountGroups,
    CountUnits,
    Extreme,
    Literal,
    Modifiers,
    Nested,
    Ref,
    Sequence,
    Streak,
    StreakUnits,
    Sum,
    Unlocked,
)
from dsl.trees import in_group, key_names, key_of
from dsl.types import DAY, HOUR, MINUTE, FieldType, Unit

if TYPE_CHECKING:
    from dsl.prove.patterns import Patterns
    from dsl.syntax import Cmp, Condition, Pattern, Predicate

LONGEST: Final = {
    Unit.MINUTE: MINUTE + DAY,
    Unit.HOUR: HOUR + DAY,
    Unit.DAY: 2 * DAY,
    Unit.WEEK: 8 * DAY,
    Unit.MONTH: 32 * DAY,
    Unit.YEAR: 367 * DAY,
}
"""Longer than the longest such unit on any clock, an hour that is repeated included."""

COARSER: Final = {
    Unit.MINUTE: (Unit.MINUTE, Unit.HOUR, Unit.DAY, Unit.WEEK, Unit.MONTH, Unit.YEAR),
    Unit.HOUR: (Unit.HOUR, Unit.DAY, Unit.WEEK, Unit.MONTH, Unit.YEAR),
    Unit.DAY: (Unit.DAY, Unit.WEEK, Unit.MONTH, Unit.YEAR),
    Unit.WEEK: (Unit.WEEK,),
    Unit.MONTH: (Unit.MONTH, Unit.YEAR),
    Unit.YEAR: (Unit.YEAR,),
}
"""The units that every such unit lies in as a whole."""


class Conditions:
    """Answers whether a condition implies another; `patterns` answers for their events."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns

    def implies(self, one: Condition, two: Condition, *, strong: bool) -> bool:
        """Return whether it is proven that `one` implies `two`."""
        return _Proof(self._patterns).implies(one, two, strong=strong)

    def signed(self, node: Sum) -> bool:
        """Return whether a sum may fall."""
        return signed(self._patterns, node)


def signed(patterns: Patterns, node: Sum) -> bool:
    """Return whether one of the fields that are summed up may be negative."""
    fields = [patterns.events[name].fields.get(node.of.text) for name in bases(pattern_types(node.event))]
    return any(field is None or field.low is None or field.low < 0 for field in fields)


class _Proof:
    """One question; what was asked on the way is not asked again."""

    def __init__(self, patterns: Patterns) -> None:
        self.patterns = patterns
        self.known: dict[tuple[int, int, bool], bool] = {}
        self.kept: list[Condition] = []

    def implies(self, one: Condition, two: Condition, *, strong: bool) -> bool:
        key = (id(one), id(two), strong)
        if key not in self.known:
            self.kept += (one, two)  # so that no other gets their ids
            self.known[key] = self._implies(one, two, strong=strong)
        return self.known[key]

    def _implies(self, one: Condition, two: Condition, *, strong: bool) -> bool:
        if _grouped(one) or _grouped(two):
            return self._groups(one, two, strong=strong)
        two = self._without_idle_spans(two)
        if isinstance(two, Combine) and two.mods == NO_MODIFIERS:
            held = sum(self.implies(one, part, strong=strong) for part in two.parts)
            if held >= two.k:
                return True
        if isinstance(one, Combine) and one.mods == NO_MODIFIERS:
            held = sum(self.implies(part, two, strong=strong) for part in one.parts)
            if held > len(one.parts) - one.k:
                return True
        outer, other = _outermost(one), _outermost(two)
        if outer is None:
            return other is None and self._atom(one, two, strong=strong)
        if other is not None and self._span(one, outer, two, other):
            return self.implies(_inside(one, outer), _inside(two, other), strong=True)
        # What held within a span holds; but a sum that may fall need not hold any more.
        return not self._falls(one) and self.implies(_inside(one, outer), two, strong=strong)

    def _groups(self, one: Condition, two: Condition, *, strong: bool) -> bool:
        """Return whether a condition of groups implies another: of the same groups, one after the other.

        What a group holds, all events hold as well, but for sums that may fall and an `unless` that resets its group.
        """
        if one == two:
            return True
        if key_of(one) or key_of(two):
            same = key_names(one) == key_names(two)
            return same and self.implies(in_group(one), in_group(two), strong=strong)
        if one.mods != NO_MODIFIERS or two.mods != NO_MODIFIERS:
            return False
        match one, two:
            case CountGroups(), CountGroups():
                alike = [name.text for name in one.by] == [name.text for name in two.by]
            case CountUnits(), CountUnits():
                alike = one.unit.text == two.unit.text
            case StreakUnits(), StreakUnits():
                alike = one.unit.text == two.unit.text and one.grace <= two.grace
            case _:
                return False
        more = at_least(one.cmp) >= at_least(two.cmp)
        return alike and more and self.implies(one.inner, two.inner, strong=strong)

    def _without_idle_spans(self, node: Condition) -> Condition:
        """Leave out windows around a single event: it always fits."""
        idle = isinstance(node, Extreme) or (isinstance(node, Count) and at_least(node.cmp) == 1)
        if not idle or (node.mods.within is None and node.mods.per is None):
            return node
        return replace(node, mods=Modifiers(unless=node.mods.unless, tz=node.mods.tz))

    def _falls(self, node: Condition) -> bool:
        return isinstance(node, Sum) and signed(self.patterns, node)

    # -- spans --

    def _span(self, one: Condition, outer: str, two: Condition, other: str) -> bool:
        """Return whether being held by the outermost span of one implies being held by that of the other."""
        a, b = one.mods, two.mods
        if outer == "within" and other == "within" and a.within is not None and b.within is not None:
            return a.within.us <= b.within.us
        if outer == "per" and a.per is not None:
            if other == "within" and b.within is not None:
                return _fixed(a) and LONGEST[Unit(a.per.text)] <= b.within.us
            return other == "per" and b.per is not None and _nests(a, b)
        if outer == "unless" and other == "unless" and a.unless is not None and b.unless is not None:
            return self._covers(b.unless, b, a.unless, a)
        return False

    def _covers(
        self, one: Pattern, mods: Modifiers, two: Pattern, others: Modifiers, narrowed: Predicate | None = None
    ) -> bool:
        same = zone_key(mods.tz) == zone_key(others.tz)
        return self.patterns.covers(one, two, same_clock=same, narrowed=narrowed)

    # -- atoms, without spans --

    def _atom(self, one: Condition, two: Condition, *, strong: bool) -> bool:
        match one, two:
            case Unlocked(), Unlocked():
                same = one.achievement.text == two.achievement.text
                alike = None if one.tier is None else one.tier.text, None if two.tier is None else two.tier.text
                return same and (alike[0] == alike[1] or (alike[1] is None and not strong))
            case Streak(), Streak():
                return self._streaks(one, two)
            case Sequence(), Sequence():
                return self._sequences(one, two)
            case Sum(), Sum():
                return self._sums(one, two, strong=strong)
            case Extreme(), Sum():
                return self._extreme_in_sum(one, two)
            case _, Count() | Extreme():
                return self._counted(one, two, strong=strong)
            case _:
                return False

    def _counted(self, one: Condition, two: Count | Extreme, *, strong: bool) -> bool:
        """Return whether every set of events that makes `one` hold has enough events that `two` counts."""
        if isinstance(two, Count) and two.distinct:
            names = {name.text for name in two.distinct}
            return (
                isinstance(one, Count)
                and {name.text for name in one.distinct} == names
                and (names.isdisjoint(ZONED) or zone_key(one.mods.tz) == zone_key(two.mods.tz))
                and at_least(one.cmp) >= at_least(two.cmp)
                and self._covers(one.event, one.mods, two.event, two.mods)
            )
        need = at_least(two.cmp) if isinstance(two, Count) else 1
        if isinstance(one, Streak) and strong and not _fixed(one.mods):
            return False  # by the clock of an event, a unit may begin after the events that lie in it
        return self._number(one, two) >= need

    def _number(self, one: Condition, two: Count | Extreme) -> int:
        """Return the number of events that `two` counts in every set of events that makes `one` hold."""
        match one:
            case Count():
                number = 1 if self._several(one) else at_least(one.cmp)
                return number if self._matches(one.event, one, two) else 0
            case Extreme():
                return 1 if self._matches(one.event, one, two, _reaches(one)) else 0
            case Streak():
                return at_least(one.cmp) * one.min if self._matches(one.event, one, two) else 0
            case Sum():
                positive = not signed(self.patterns, one) and (one.cmp.bound > 0 or one.cmp.op == ">")
                return 1 if positive and self._matches(one.event, one, two) else 0
            case Sequence():
                return sum(self._matches(step, one, two) for step in one.steps)
            case _:
                return 0

    def _several(self, node: Count) -> bool:
        """Return whether one event may bring several of the values that are counted."""
        types = bases(pattern_types(node.event))
        fields = (self.patterns.events[name].fields.get(each.text) for name in types for each in node.distinct)
        return any(field is not None and field.type.element is not None for field in fields)

    def _matches(self, event: Pattern, one: Condition, two: Count | Extreme, narrowed: Predicate | None = None) -> bool:
        """Return whether every event of a pattern is one that `two` counts."""
        target = two.event
        if isinstance(two, Extreme):
            types = pattern_types(event)
            lacking = any(two.of.text not in self.patterns.events[name].fields for name in bases(types))
            if lacking or not all(
                self.patterns.follows(name, (filter_of(event, name), narrowed), _reaches(two)) for name in types
            ):
                return False
        return self._covers(event, one.mods, target, two.mods, narrowed)

    def _streaks(self, one: Streak, two: Streak) -> bool:
        return (
            one.unit.text == two.unit.text
            and zone_key(one.mods.tz) == zone_key(two.mods.tz)
            and at_least(one.cmp) >= at_least(two.cmp)
            and one.min >= two.min
            and one.grace <= two.grace
            and self._covers(one.event, one.mods, two.event, two.mods)
        )

    def _sequences(self, one: Sequence, two: Sequence) -> bool:
        """Return whether the steps of `two` are found among those of `one`, in order."""
        if two.by is not None and (one.by is None or one.by.text != two.by.text):
            return False
        wanted = list(two.steps)
        for step in one.steps:
            if wanted and self._covers(step, one.mods, wanted[0], two.mods):
                del wanted[0]
        return not wanted

    def _sums(self, one: Sum, two: Sum, *, strong: bool) -> bool:
        if one.of.text != two.of.text or not self._reaches_more(one, two):
            return False
        if signed(self.patterns, one) or signed(self.patterns, two):
            return (
                not strong
                and self._covers(one.event, one.mods, two.event, two.mods)
                and self._covers(two.event, two.mods, one.event, one.mods)
            )
        return self._covers(one.event, one.mods, two.event, two.mods)

    def _extreme_in_sum(self, one: Extreme, two: Sum) -> bool:
        """Return whether the one value that `max` asks for is enough for a sum."""
        if one.kind != "max" or one.of.text != two.of.text or signed(self.patterns, two):
            return False
        return self._reaches_more(one, two) and self._covers(one.event, one.mods, two.event, two.mods)

    def _reaches_more(self, one: Sum | Extreme, two: Sum) -> bool:
        """Return whether a total that satisfies the bound of `one` satisfies that of `two`."""
        low, high = two.cmp, one.cmp
        if low.bound < high.bound or (low.bound == high.bound and not (low.op == ">" and high.op == ">=")):
            return True
        whole = all(
            self.patterns.events[name].fields[two.of.text].type is FieldType.INT
            for name in bases(pattern_types(one.event) | pattern_types(two.event))
            if two.of.text in self.patterns.events[name].fields
        )
        return whole and at_least(high) >= at_least(low)


def at_least(cmp: Cmp) -> int:
    """Return the smallest whole number that satisfies a lower bound."""
    least = floor(cmp.bound)
    return least if cmp.op == ">=" and least == cmp.bound else least + 1


def _grouped(node: Condition) -> bool:
    """Return whether groups decide: of a sequence by a field, they do where something resets them apart."""
    if isinstance(node, Sequence) and node.mods.unless is None and not node.mods.by:
        return False
    return bool(key_of(node)) or isinstance(node, Nested)


def _outermost(node: Condition) -> str | None:
    """Return which span is applied last: `unless`, before it `per`, before it `within`."""
    return next((name for name in ("unless", "per", "within") if getattr(node.mods, name) is not None), None)


def _inside(node: Condition, span: str) -> Condition:
    """Return a condition without one of its spans; the zone stays, for its filters."""
    return replace(node, mods=replace(node.mods, **{span: None}))


def _fixed(mods: Modifiers) -> bool:
    return mods.tz is None or mods.tz.kind == "iana"


def _nests(one: Modifiers, two: Modifiers) -> bool:
    """Return whether two moments in one unit of the first are in one unit of the second."""
    if one.per is None or two.per is None or zone_key(one.tz) != zone_key(two.tz):
        return False
    if not steady(two.tz, Unit(two.per.text)):
        return False
    return Unit(two.per.text) in COARSER[Unit(one.per.text)]


def _reaches(node: Extreme) -> Predicate:
    """Return the bound of `max` or `min` as a filter on one event."""
    bound = node.cmp.bound
    literal = Literal(value=bound if isinstance(bound, int) else Decimal(bound))
    return Compare(left=Ref(name=node.of.text), op=node.cmp.op, right=literal)
