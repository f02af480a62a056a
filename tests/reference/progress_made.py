"""The progress of a subject: the paragraph on progress.

Between events, it is the progress at an event that matches nothing. If a condition holds then, with its latest start
in every window around it, its progress is full. Otherwise the condition counts the positions in those windows, which
could be part of that start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from dsl import syntax
from dsl.event import Event, Position
from tests.reference import wall_clock
from tests.reference.groups import asked_of_each, keys_named
from tests.reference.latest_starts import (
    BEGINNING,
    Prefix,
    View,
    as_number,
    begin_of,
    best_of_steps,
    earned_by,
    group_starts,
    groups_at,
    in_unit_of,
    in_unspent_units,
    latest_start,
    least_number,
    least_parts,
    lies_after,
    reaches,
    runs_of,
)
from tests.reference.timeline import Subject, Timeline, position
from tests.reference.unlocks import (
    afresh,
    by_value,
    has_occurrence,
    in_effect,
    scope_of,
    sees,
    tiers,
    with_moments,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dsl.types import Number, Value
    from tests.reference.latest_starts import Unlock
    from tests.reference.ruleset import Ruleset
    from tests.reference.wall_clock import Clock


class Progress(NamedTuple):
    """How far: a fraction from 0 to 1, and for an atomic condition the two numbers."""

    fraction: Fraction
    current: Fraction | None = None
    target: Fraction | None = None


class Goal(NamedTuple):
    """What progress is made towards."""

    subject: Subject
    achievement: str
    tier: str | None


Window = Callable[[Position], bool]
Span = tuple[Window, ...]
"""The windows around a condition; each ends now, and a position lies in it or not."""


class Asked(NamedTuple):
    """A question for progress: on what, within which windows, at which instant."""

    prefix: Prefix
    span: Span
    now: int

    def holds(self, place: Position | None) -> bool:
        """Return whether a place lies in all windows."""
        return place is not None and all(window(place) for window in self.span)


def progress_of(rules: Ruleset, timeline: Timeline, unlocks: Sequence[Unlock], now: int) -> dict[Goal, Progress]:
    """Return the progress of one subject, as of an instant no earlier than its last event."""
    found: dict[Goal, Progress] = {}
    for name, versions in rules.achievements.items():
        version = in_effect(versions, now)
        if version is None or scope_of(version) != timeline.subject.scope:
            continue
        for tier, when in tiers(version).items():
            own = [unlock for unlock in unlocks if unlock.achievement == name and unlock.tier == tier]
            goal = Goal(timeline.subject, name, tier)
            found[goal] = _progress_of_tier(rules, timeline, (version, when), (unlocks, own), now)
    return found


def _progress_of_tier(
    rules: Ruleset,
    timeline: Timeline,
    judged: tuple[syntax.Achievement, syntax.Condition],
    unlocks: tuple[Sequence[Unlock], Sequence[Unlock]],
    now: int,
) -> Progress:
    version, when = judged
    earned, own = unlocks
    timeline = with_moments(rules, timeline, earned, version.name.text, now)
    since = max((unlock.by for unlock in own), default=BEGINNING)
    each = isinstance(version.repeat, syntax.RepeatEach)
    after = sum(position(event) <= since for event in timeline.events) if each else 0
    view = afresh(rules, timeline, earned, [version], after)[version.version]
    last = max((i for i, event in enumerate(timeline.events) if sees(version, event)), default=-1)
    prefix = _and_now(view, last, now)
    span: Span = ()
    done = bool(own) and not each
    if isinstance(version.repeat, syntax.RepeatEvery):
        unit, tz = version.repeat.unit.text, version.repeat.tz
        done = wall_clock.label(unit, now, prefix.clock(tz)) in {unlock.occurrence for unlock in own}
        start = latest_start(when, prefix)
        done = done or (start is not None and in_unit_of(prefix, start, unit, tz))
        span = (_in_unit(unit, now, prefix.clock(tz)),)
    asked = Asked(prefix, span, now)
    if isinstance(version.repeat, syntax.RepeatBy):
        return _of_groups(by_value(version, when), asked, {unlock.occurrence or "" for unlock in own} | {""})
    return _full(_so_far(asked_of_each(when), asked)) if done else _progress(when, asked)


def _and_now(view: View, last: int, now: int) -> Prefix:
    """Return what is seen up to event `last`, and behind it an event now that matches nothing, in the zone of now."""
    timeline, first = view.timeline, view.first
    tenant, scope, name = timeline.subject
    nothing = Event(tenant=tenant, id="\U0010ffff", type="", user=name, at=now, offset=0, fields={})
    traits: Mapping[str, Value] = timeline.traits[-1] if scope == "user" else {}
    events, known = timeline.events[first : last + 1], timeline.traits[first : last + 1]
    seen = Timeline(timeline.subject, [*events, nothing], 0, [*known, traits])
    return Prefix(View(view.rules, seen, view.earned, spent=view.spent), len(events))


def _full(progress: Progress) -> Progress:
    return Progress(Fraction(1), progress.target, progress.target)


def _in_unit(unit: str, now: int, clock: Clock) -> Window:
    """Return the window of a calendar unit: the clock shows the label of now there, and all the way up to now."""
    return lambda place: wall_clock.shows_one(unit, min(place.at, now), max(place.at, now), clock)


def _narrowed(mods: syntax.Modifiers, asked: Asked) -> Asked:
    """Add the windows of a condition's own modifiers."""
    prefix, span, now = asked
    within, unless = mods.within, mods.unless
    windows: list[Window] = []
    if within is not None:
        windows.append(lambda place: now - place.at < within.us)
    if mods.per is not None:
        windows.append(_in_unit(mods.per.text, now, prefix.clock(mods.tz)))
    if unless is not None:
        windows.append(lambda place: lies_after(prefix, place, unless, mods.tz))
    return Asked(prefix, (*span, *windows), now)


def _progress(condition: syntax.Condition, outer: Asked) -> Progress:
    """What holds is full, if it does on what lies in the windows above it; or else how much lies in its own."""
    outer = outer._replace(prefix=in_unspent_units(condition, outer.prefix))
    if keys_named(condition):
        return _of_groups(condition, outer, ())
    so_far = _so_far(condition, _narrowed(condition.mods, outer))
    return _full(so_far) if outer.holds(latest_start(condition, outer.prefix)) else so_far


def _of_groups(condition: syntax.Condition, outer: Asked, done: Collection[str]) -> Progress:
    """Return the progress of the group that is furthest, those left out that are done."""
    found = [
        _progress(asked, Asked(prefix, outer.span, outer.now))
        for key, asked, prefix in groups_at(condition, outer.prefix)
        if key[0] not in done and (not done or has_occurrence(key[0]))
    ]
    bare = asked_of_each(condition)
    target = _so_far(bare, Asked(outer.prefix, (_nowhere,), outer.now)).target
    return max(found, key=lambda each: each.fraction, default=Progress(Fraction(0), target and Fraction(0), target))


def _nowhere(place: Position) -> bool:
    del place
    return False


def _so_far(condition: syntax.Condition, asked: Asked) -> Progress:
    prefix = asked.prefix
    match condition:
        case syntax.Count():
            return _of_number(_counted(condition, asked), least_number(condition.cmp))
        case syntax.Sum():
            values = _numbers(condition, asked)
            target = _target(condition, prefix.view.rules)
            return _towards(sum(values, Fraction(0)), target, reached=reaches(sum(values, Fraction(0)), condition.cmp))
        case syntax.Extreme():
            return _extreme_progress(condition, _numbers(condition, asked), prefix.view.rules)
        case syntax.CountGroups() | syntax.CountUnits():
            starts = group_starts(condition, prefix).values()
            return _of_number(sum(map(asked.holds, starts)), least_number(condition.cmp))
        case syntax.Streak() | syntax.StreakUnits():
            return _of_number(_current_run(condition, asked), least_number(condition.cmp))
        case syntax.Sequence(steps=steps):
            best = best_of_steps(condition, prefix)
            matched = [k + 1 for k in range(len(steps)) if asked.holds(best[k])]
            return _of_number(max(matched, default=0), len(steps))
        case syntax.Combine():
            if asked.holds(latest_start(condition, prefix, "bare")):
                return Progress(Fraction(1))
            # A start behind now, out of a window, is later than all others: it takes its place among the k largest.
            parts = [(_is_ahead(part, asked), _progress(part, asked).fraction) for part in condition.parts]
            needed = least_parts(condition)
            return Progress(
                sum((fraction for _, fraction in sorted(parts, reverse=True)[:needed]), Fraction(0)) / needed
            )
        case syntax.Unlocked(achievement=name, tier=tier):
            earned = min(earned_by(prefix.view.earned, name, tier), default=None)
            return _of_number(int(asked.holds(earned)), 1)


def _is_ahead(condition: syntax.Condition, asked: Asked) -> bool:
    start = latest_start(condition, asked.prefix)
    return start is not None and start.at > asked.now and not asked.holds(start)


def _counted(condition: syntax.Count, asked: Asked) -> int:
    prefix, tz = asked.prefix, condition.mods.tz
    if not condition.distinct:
        events = [prefix.event(i) for i in prefix.matching(condition.event, tz)]
        return sum(asked.holds(position(event)) for event in events)
    values = prefix.with_values(condition)
    return len({value for place, value in values if asked.holds(place)})


def _numbers(condition: syntax.Sum | syntax.Extreme, asked: Asked) -> list[Fraction]:
    values = asked.prefix.with_field(condition.event, condition.mods.tz, condition.of.text)
    return [as_number(value) for place, value in values if asked.holds(place)]


def _extreme_progress(condition: syntax.Extreme, values: list[Fraction], rules: Ruleset) -> Progress:
    reached = any(reaches(value, condition.cmp) for value in values)
    if condition.kind == "min":
        return _of_number(int(reached), 1)
    return _towards(max(values, default=Fraction(0)), _target(condition, rules), reached=reached)


def _target(condition: syntax.Sum | syntax.Extreme, rules: Ruleset) -> Number:
    """Return the number to be reached: the bound, or for `> n` over a whole-number field n + 1."""
    types = {rules.events[each.event.text].fields[condition.of.text].type for each in condition.event.alternatives}
    return least_number(condition.cmp) if condition.cmp.op == ">" and types == {"int"} else condition.cmp.bound


def _of_number(current: int, target: int) -> Progress:
    return _towards(current, target, reached=current >= target)


def _towards(current: Number | Fraction, target: Number, *, reached: bool = False) -> Progress:
    """Return current/target, clamped; towards a bound that is not positive there is only 0 or 1.

    What is on a bound that it has to exceed lacks the least decimal there is.
    """
    if target <= 0:
        return _towards(int(reached), 1, reached=reached)
    goal = Fraction(target)
    clamped = min(max(Fraction(current), Fraction(0)), goal)
    whole = goal if reached or clamped < goal else goal + Fraction(1, 10**38)
    return Progress(clamped / whole, clamped, goal)


def _current_run(condition: syntax.Streak | syntax.StreakUnits, asked: Asked) -> int:
    """Count the active units of the run that is not broken yet: as many as a lower bound could ask for.

    That is the most for which the unit that is so many-th from the end begins in the windows. The bound itself, and
    more, are not reached, or nothing would be counted.
    """
    runs = runs_of(condition, asked.prefix)
    clock = asked.prefix.view.timeline.clock_now(condition.mods.tz)
    present = wall_clock.unit_at(condition.unit.text, asked.now, clock)
    if not runs or present - runs[-1][-1] - 1 > condition.grace:
        return 0
    near = list(reversed(runs[-1]))[: least_number(condition.cmp) - 1]
    inside = [n for n, unit in enumerate(near, 1) if asked.holds(begin_of(condition, unit, clock))]
    return max(inside, default=0)
