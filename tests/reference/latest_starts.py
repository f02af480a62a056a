"""Latest starts: the table of conditions and the table of modifiers, from scratch at every prefix.

`_table` is the first, `_modified` the second. `View.memo` is only a cache; nothing carries over between prefixes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from dsl import syntax
from dsl.event import Position
from tests.reference import wall_clock
from tests.reference.filters import counted
from tests.reference.groups import Group, Key, asked_of_each, below, groups_by_fields, groups_by_unit, keys_named, zoned
from tests.reference.seen_unlocks import UNLOCKS
from tests.reference.timeline import Subject, Timeline, position
from tests.reference.unlock_events import values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dsl.event import Event
    from dsl.types import Value
    from tests.reference.filters import Found
    from tests.reference.ruleset import Ruleset
    from tests.reference.wall_clock import Clock

T = TypeVar("T")

BEGINNING = Position(-(2**63), "")
"""Before all events: the latest start of a signed sum, a total with no part that could be left out."""


class Unlock(NamedTuple):
    """One grant. `by` is the event that earned it."""

    subject: Subject
    achievement: str
    tier: str | None
    occurrence: str | None
    version: int
    by: Position
    prefix: Position | None = None
    """The end of the prefix at which it was earned, where that is an unlock behind the event."""

    @property
    def earned_at(self) -> int:
        """Return the instant of the event that earned it."""
        return self.by.at


@dataclass
class View:
    """What one version of an achievement sees of a subject, since it last started afresh."""

    rules: Ruleset
    timeline: Timeline
    earned: Sequence[Unlock]
    """Unlocks of this subject that `unlocked` may ask for."""
    first: int = 0
    """The first event of the timeline that is seen: what is seen is a stretch of it."""
    spent: tuple[Timeline, int] | None = None
    """The event of the last unlock under `repeat each`: the calendar units in which it lies are used up."""
    hidden: frozenset[str] = frozenset()
    """The units and zones whose used up events are not counted here."""
    unspent: dict[str, View] = field(default_factory=dict[str, "View"])
    grouped: dict[int, tuple[syntax.Condition, syntax.Condition, dict[Key, tuple[Group, View]]]] = field(
        default_factory=dict[int, "tuple[syntax.Condition, syntax.Condition, dict[Key, tuple[Group, View]]]"]
    )
    """By condition: what each group is asked, and the groups with what is seen of each."""
    memo: dict[tuple[int, Layer, int], Position | None] = field(
        default_factory=dict[tuple[int, "Layer", int], Position | None]
    )


class Prefix(NamedTuple):
    """The events seen up to event `last` of the timeline; that one is *e*, its instant *now*."""

    view: View
    last: int

    @property
    def position(self) -> Position:
        """Return the place of *e*."""
        return position(self.event(self.last))

    @property
    def now(self) -> int:
        """Return the instant of *e*."""
        return self.position.at

    def event(self, i: int) -> Event:
        """Return event i of the timeline."""
        return self.view.timeline.events[i]

    def moments(self) -> Iterator[Prefix]:
        """Yield every prefix of this one, itself included."""
        return (Prefix(self.view, i) for i in range(self.view.first, self.last + 1))

    def clock(self, tz: syntax.Zone | None) -> Clock:
        """Return the clock that `tz=` means at this moment."""
        return self.view.timeline.clock(tz, self.last)

    def matching(self, pattern: syntax.Pattern, tz: syntax.Zone | None) -> list[int]:
        """Return the indices of the pattern's events, in canonical order."""
        everywhere = self.view.timeline.matching(pattern, tz)
        return everywhere[bisect_left(everywhere, self.view.first) : bisect_right(everywhere, self.last)]

    def with_field(self, pattern: syntax.Pattern, tz: syntax.Zone | None, name: str) -> list[tuple[Position, Value]]:
        """Return places and values of the pattern's events that have the field."""
        events = [self.event(i) for i in self.matching(pattern, tz)]
        return [(position(event), event.fields[name]) for event in events if name in event.fields]

    def with_values(self, condition: syntax.Count) -> list[tuple[Position, tuple[Found, ...]]]:
        """Return places and values that `distinct=` counts of the events: several of one for a list."""
        names, tz = [name.text for name in condition.distinct], condition.mods.tz
        return [
            (position(self.event(i)), values)
            for i in self.matching(condition.event, tz)
            for values in counted(names, self.view.timeline.asked(tz, i))
        ]


# -- latest start --------------------------------------------------------------------------------------------

Layer = Literal["table", "bare", "within", "per", "unless"]
"""A condition without its modifiers (by the table; kept from moving back), and with one after the other."""


def latest_start(condition: syntax.Condition, prefix: Prefix, layer: Layer = "unless") -> Position | None:
    """Return the latest position from which the condition holds to the end of the prefix, or None: never."""
    if layer == "unless":
        prefix = in_unspent_units(condition, prefix)
    key = (id(condition), layer, prefix.last)
    memo = prefix.view.memo
    if key not in memo and layer == "unless" and keys_named(condition):
        memo[key] = max(group_starts(condition, prefix).values(), default=None)
    if key not in memo:
        memo[key] = _table(condition, prefix) if layer == "table" else _modified(condition, prefix, layer)
    return memo[key]


def in_unspent_units(condition: syntax.Condition, prefix: Prefix) -> Prefix:
    """Return the prefix without the events that a condition per a unit does not count, their unit being used up."""
    view, unit = prefix.view, unit_of(condition)
    if view.spent is None or unit is None or keys_named(condition):
        return prefix
    key = f"{unit} {condition.mods.tz and (condition.mods.tz.kind, condition.mods.tz.name)}"
    if key in view.hidden:
        return prefix
    if key not in view.unspent:
        timeline, tz, (whole, last) = view.timeline, condition.mods.tz, view.spent
        used = wall_clock.unit_at(unit, whole.events[last].at, whole.clock(tz, last))
        spent = frozenset(
            i
            for i, event in enumerate(timeline.events)
            if wall_clock.unit_at(unit, event.at, timeline.clock(tz, i)) == used
        )
        left = Timeline(timeline.subject, timeline.events, 0, timeline.traits, foreign=timeline.foreign | spent)
        view.unspent[key] = View(view.rules, left, view.earned, view.first, view.spent, view.hidden | {key})
    return Prefix(view.unspent[key], prefix.last)


def unit_of(condition: syntax.Condition) -> str | None:
    """Return the calendar unit that a condition goes by."""
    match condition:
        case syntax.Streak() | syntax.StreakUnits() | syntax.CountUnits():
            return condition.unit.text
        case _:
            return None if condition.mods.per is None else condition.mods.per.text


def _modified(condition: syntax.Condition, prefix: Prefix, layer: Layer) -> Position | None:
    """The second half of the table: what a modifier makes of the latest starts of what it modifies."""
    mods = condition.mods
    match layer:
        case "table" | "bare":
            streak = isinstance(condition, syntax.Streak | syntax.StreakUnits)
            if streak and mods.tz is not None and mods.tz.kind == "user":
                # The begin of a unit is that in the user's zone now; not taken back when the zone changes.
                return _latest(condition, prefix, "table", lambda _start, _moment: True)
            return latest_start(condition, prefix, "table")
        case "within":
            within = mods.within
            if within is None:
                return latest_start(condition, prefix, "bare")
            return _latest(condition, prefix, "bare", lambda start, moment: moment.now - start.at < within.us)
        case "per":
            per = mods.per
            if per is None:
                return latest_start(condition, prefix, "within")
            return _latest(
                condition,
                prefix,
                "within",
                lambda start, moment: in_unit_of(moment, start, per.text, mods.tz),
            )
        case "unless":
            unless = mods.unless
            if unless is None:
                return latest_start(condition, prefix, "per")
            if isinstance(condition, syntax.Sum) and is_signed(prefix.view.rules, condition):
                since_breaks = (_total(condition, moment, unless) for moment in prefix.moments())
                return BEGINNING if any(reaches(total, condition.cmp) for total in since_breaks) else None
            return _latest(condition, prefix, "per", lambda start, moment: lies_after(moment, start, unless, mods.tz))


def _latest(
    condition: syntax.Condition, prefix: Prefix, layer: Layer, admits: Callable[[Position, Prefix], bool]
) -> Position | None:
    """Return the latest start that the layer below had at a moment that admits it."""
    moments = (moment for moment in prefix.moments() if _looks_at(condition, moment, prefix))
    pairs = ((latest_start(condition, moment, layer), moment) for moment in moments)
    return max((start for start, moment in pairs if start is not None and admits(start, moment)), default=None)


def _looks_at(condition: syntax.Condition, moment: Prefix, prefix: Prefix) -> bool:
    """Return whether a condition looks back at a moment: at the begin of a version only for what was earned there."""
    if moment.position.id or moment.last == prefix.last:
        return True
    earned = {unlock.achievement for unlock in prefix.view.earned if unlock.by == moment.position}
    return not earned.isdisjoint(names_in(condition))


def names_in(condition: syntax.Condition) -> set[str]:
    """Return the achievements that a condition names."""
    match condition:
        case syntax.Unlocked(achievement=name):
            return {name.text}
        case _:
            return {name for part in below(condition) for name in names_in(part)}


def in_unit_of(moment: Prefix, start: Position, unit: str, tz: syntax.Zone | None) -> bool:
    clock = moment.clock(tz)
    return wall_clock.unit_at(unit, start.at, clock) == wall_clock.unit_at(unit, moment.now, clock)


def lies_after(moment: Prefix, start: Position, unless: syntax.Pattern, tz: syntax.Zone | None) -> bool:
    timeline = moment.view.timeline
    breaks = [i for i in range(moment.view.first, moment.last + 1) if timeline.resets(unless, tz, i)]
    return not breaks or position(moment.event(breaks[-1])) < start


def _table(condition: syntax.Condition, prefix: Prefix) -> Position | None:
    """The first half of the table: the latest start of each operator by itself."""
    match condition:
        case syntax.Count():
            return _count(condition, prefix)
        case syntax.Sum():
            return _sum(condition, prefix)
        case syntax.Extreme():
            values = prefix.with_field(condition.event, condition.mods.tz, condition.of.text)
            return max((place for place, value in values if reaches(as_number(value), condition.cmp)), default=None)
        case syntax.Streak() | syntax.StreakUnits():
            return _streak(condition, prefix)
        case syntax.CountGroups() | syntax.CountUnits():
            return _nth_latest(sorted(group_starts(condition, prefix).values()), least_number(condition.cmp))
        case syntax.Sequence():
            return best_of_steps(condition, prefix)[-1]
        case syntax.Combine():
            starts = [latest_start(part, prefix) for part in condition.parts]
            return _nth_latest(sorted(start for start in starts if start is not None), least_parts(condition))
        case syntax.Unlocked(achievement=name, tier=tier):
            earned = earned_by(prefix.view.earned, name, tier)
            return min((place for place in earned if place <= prefix.position), default=None)


def groups_at(condition: syntax.Condition, prefix: Prefix) -> Iterator[tuple[Key, syntax.Condition, Prefix]]:
    """Yield each group that there is by now, what it is asked, and what it has lived through."""
    view = prefix.view
    if id(condition) not in view.grouped:
        asked, groups = _grouped(condition, view)
        views = {
            key: (group, View(view.rules, group.timeline, view.earned, 0, view.spent, view.hidden))
            for key, group in groups.items()
        }
        view.grouped[id(condition)] = condition, asked, views
    _, asked, views = view.grouped[id(condition)]
    for key, (group, seen) in views.items():
        last = bisect_right(group.places, prefix.last) - 1
        if last >= 0:
            yield key, asked, Prefix(seen, last)


def group_starts(condition: syntax.Condition, prefix: Prefix) -> dict[Key, Position]:
    """Return the latest start of each group in which the condition holds."""
    starts = {key: latest_start(asked, moment) for key, asked, moment in groups_at(condition, prefix)}
    return {key: start for key, start in starts.items() if start is not None}


def _grouped(condition: syntax.Condition, view: View) -> tuple[syntax.Condition, dict[Key, Group]]:
    stretch = view.timeline, view.first, view.earned
    names = keys_named(condition)
    if names:
        asked = asked_of_each(condition)
        return asked, groups_by_fields(asked, names, *stretch)
    match condition:
        case syntax.CountGroups(by=by, inner=inner):
            return inner, groups_by_fields(inner, [name.text for name in by], *stretch)
        case (
            syntax.CountUnits(unit=unit, inner=inner, mods=mods) | syntax.StreakUnits(unit=unit, inner=inner, mods=mods)
        ):
            asked = zoned(inner, mods.tz)
            return asked, groups_by_unit(asked, unit.text, mods.tz, *stretch)
        case _:
            raise TypeError(condition)


def _count(condition: syntax.Count, prefix: Prefix) -> Position | None:
    n = least_number(condition.cmp)
    if not condition.distinct:
        i = _nth_latest(prefix.matching(condition.event, condition.mods.tz), n)
        return None if i is None else position(prefix.event(i))
    values = prefix.with_values(condition)
    most_recent = {value: place for place, value in values}
    return _nth_latest(sorted(most_recent.values()), n)


def _nth_latest(ascending: list[T], n: int) -> T | None:
    return ascending[-n] if len(ascending) >= n else None


def least_number(cmp: syntax.Cmp) -> int:
    """Return the least whole number that satisfies a bound from below."""
    least = floor(cmp.bound)
    return least if cmp.op == ">=" and least == cmp.bound else least + 1


def least_parts(condition: syntax.Combine) -> int:
    match condition.kind:
        case "all":
            return len(condition.parts)
        case "any":
            return 1
        case "at_least":
            return condition.k


def earned_by(unlocks: Iterable[Unlock], achievement: syntax.Name, tier: syntax.Name | None) -> list[Position]:
    """Return the events that earned an achievement, or one tier of it."""
    return [
        unlock.by
        for unlock in unlocks
        if unlock.achievement == achievement.text and (tier is None or unlock.tier == tier.text)
    ]


def as_number(value: Value) -> Fraction:
    if isinstance(value, str):
        raise TypeError(value)
    return Fraction(value)


def reaches(value: Fraction, cmp: syntax.Cmp) -> bool:
    bound = Fraction(cmp.bound)
    match cmp.op:
        case ">=":
            return value >= bound
        case ">":
            return value > bound
        case "<=":
            return value <= bound
        case "<":
            return value < bound


def _sum(condition: syntax.Sum, prefix: Prefix) -> Position | None:
    """Add up backwards; over a field that may be negative it is the total, from the beginning."""
    values = prefix.with_field(condition.event, condition.mods.tz, condition.of.text)
    if is_signed(prefix.view.rules, condition):
        return BEGINNING if reaches(_total(condition, prefix, None), condition.cmp) else None
    total = Fraction(0)
    for place, value in reversed(values):
        total += as_number(value)
        if reaches(total, condition.cmp):
            return place
    return None


def _total(condition: syntax.Sum, moment: Prefix, unless: syntax.Pattern | None) -> Fraction:
    """Return the total of all events, or of those after the last E."""
    tz = condition.mods.tz
    values = moment.with_field(condition.event, tz, condition.of.text)
    counted = [value for place, value in values if unless is None or lies_after(moment, place, unless, tz)]
    return sum((as_number(value) for value in counted), Fraction(0))


def is_signed(rules: Ruleset, condition: syntax.Sum) -> bool:
    """Return whether the summed field may be negative in one of the events."""
    name, alternatives = condition.of.text, condition.event.alternatives
    lows = [rules.events[one.event.text].fields[name].low for one in alternatives if one.event.text != UNLOCKS]
    given = [values_of(rules, condition.event, one, name) for one in alternatives if one.event.text == UNLOCKS]
    return any(low is None or low < 0 for low in lows) or any(
        as_number(each) < 0 for values in given for each in values
    )


def best_of_steps(condition: syntax.Sequence, prefix: Prefix) -> list[Position | None]:
    """Return best[1..k] of a sequence."""
    timeline, tz = prefix.view.timeline, condition.mods.tz
    best: list[Position | None] = [None] * len(condition.steps)
    for i in range(prefix.view.first, prefix.last + 1):
        for k in reversed(range(len(condition.steps))):
            if timeline.matches(condition.steps[k], tz, i):
                starts = [best[k], position(prefix.event(i)) if k == 0 else best[k - 1]]
                best[k] = max((start for start in starts if start is not None), default=None)
    return best


def _streak(condition: syntax.Streak | syntax.StreakUnits, prefix: Prefix) -> Position | None:
    """Of the latest run that is long enough: the start of the unit that is n-th from its end."""
    needed = least_number(condition.cmp)
    long_enough = [run for run in runs_of(condition, prefix) if len(run) >= needed]
    clock = prefix.view.timeline.clock_of_all(condition.mods.tz, prefix.last)
    return begin_of(condition, long_enough[-1][-needed], clock) if long_enough else None


def active_units(condition: syntax.Streak | syntax.StreakUnits, prefix: Prefix) -> set[int]:
    """Return the units with enough events, or on whose events the condition inside holds."""
    if isinstance(condition, syntax.StreakUnits):
        return {int(unit) for (unit,) in group_starts(condition, prefix)}
    timeline, tz = prefix.view.timeline, condition.mods.tz
    counts: dict[int, int] = {}
    for i in prefix.matching(condition.event, tz):
        unit = wall_clock.unit_at(condition.unit.text, prefix.event(i).at, timeline.clock(tz, i))
        counts[unit] = counts.get(unit, 0) + 1
    return {unit for unit, count in counts.items() if count >= condition.min}


def runs_of(condition: syntax.Streak | syntax.StreakUnits, prefix: Prefix) -> list[list[int]]:
    """Return the runs of active units, in order; a run bridges at most `grace` inactive units at a time."""
    runs: list[list[int]] = []
    for unit in sorted(active_units(condition, prefix)):
        if runs and unit - runs[-1][-1] - 1 <= condition.grace:
            runs[-1].append(unit)
        else:
            runs.append([unit])
    return runs


def begin_of(condition: syntax.Streak | syntax.StreakUnits, unit: int, clock: Clock) -> Position:
    """Return the place before all events of a unit."""
    return Position(wall_clock.begin(condition.unit.text, unit, clock), "")
