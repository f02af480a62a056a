"""The unlocks of a subject: the paragraphs on earning, effective spans, moments, `repeat` and scopes.

A moment, at which a version begins, is judged as an event before all others of its instant that matches nothing. Such
an event stands in the timeline of an achievement where one of its versions begins, and where something was earned at a
moment that the achievement names. Conditions look back at it only where they name what was earned at it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from dsl import syntax
from dsl.event import Position
from tests.reference import wall_clock
from tests.reference.filters import Asked, is_true
from tests.reference.groups import counted_patterns, everything, keys_named
from tests.reference.latest_starts import (
    Prefix,
    Unlock,
    View,
    earned_by,
    group_starts,
    in_unit_of,
    latest_start,
    names_in,
)
from tests.reference.seen_unlocks import UNLOCKS
from tests.reference.timeline import position
from tests.reference.unlock_events import hears_unlock, is_plain, outright_in, with_unlocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.event import Event
    from tests.reference.ruleset import Ruleset
    from tests.reference.timeline import Subject, Timeline


def tiers(achievement: syntax.Achievement) -> dict[str | None, syntax.Condition]:
    """Return the conditions of an achievement by tier; without tiers, the one under None."""
    if achievement.when is not None:
        return {None: achievement.when}
    return {tier.name.text: tier.when for tier in achievement.tiers}


def scope_of(achievement: syntax.Achievement) -> str:
    """Return the scope: `user`, `tenant` or a field."""
    return achievement.scope.name if achievement.scope else "user"


Heard = tuple[str, str | None]
"""An event type, and the field that names the user, None for its actor."""


def named_events(condition: syntax.Condition) -> set[Heard]:
    """Return the event types that a condition names, each in its role, those of its `unless` too."""
    patterns = [pattern for pattern, _ in counted_patterns(condition)]
    patterns += [part.mods.unless for part in everything(condition) if part.mods.unless is not None]
    alternatives = [each for pattern in patterns for each in pattern.alternatives]
    return {(each.event.text, None if each.role is None else each.role.text) for each in alternatives}


def named_achievements(achievement: syntax.Achievement) -> set[str]:
    """Return the achievements that a version names in `after` and `unlocked`."""
    in_whens = {name for when in tiers(achievement).values() for name in names_in(when)}
    return in_whens | {target.achievement.text for target in achievement.after}


def heard(rules: Ruleset, achievement: syntax.Achievement) -> set[Heard]:
    """Return the event types at which a version can be earned, each in a role."""
    own = {name for when in tiers(achievement).values() for name in named_events(when)}
    traits = set(rules.trait_events) if achievement.where is not None else set[Heard]()
    named = [version for name in named_achievements(achievement) for version in rules.achievements[name]]
    return own | traits | {name for version in named for name in heard(rules, version)}


def is_heard(timeline: Timeline, i: int, hears: set[Heard]) -> bool:
    """Return whether event i is one of those that are heard, in the role that the subject has in it."""
    return any(timeline.events[i].type == kind and timeline.is_in(i, role) for kind, role in hears)


def in_effect(versions: Sequence[syntax.Achievement], now: int) -> syntax.Achievement | None:
    """Return the version whose effective span holds an instant."""
    begun = [version for version in versions if version.since is None or version.since.us <= now]
    return begun[-1] if begun else None


def sees(version: syntax.Achievement, event: Event) -> bool:
    """Return whether the event exists for the version, by its `active` and `fresh`."""
    active = version.active
    return (
        (active is None or active.start is None or active.start.us <= event.at)
        and (active is None or active.end is None or event.at < active.end.us)
        and (not version.fresh or version.since is None or version.since.us <= event.at)
    )


def dependencies_first(rules: Ruleset) -> list[str]:
    """Return the names of the achievements, each after those that it names; plain ones before those that are not."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for version in rules.achievements[name]:
                for named in sorted(named_achievements(version) | outright_in(version)):
                    visit(named)
            order.append(name)

    for name in sorted(rules.achievements, key=lambda name: not is_plain(rules, name)):
        visit(name)
    return order


def unlocks_of(rules: Ruleset, timeline: Timeline, clock: int) -> list[Unlock]:
    """Return all that one subject earns by a clock, `settle` left aside."""
    unlocks: list[Unlock] = []
    for name in dependencies_first(rules):
        versions = rules.achievements[name]
        if scope_of(versions[0]) == timeline.subject.scope:
            names = dict.fromkeys(tier for version in versions for tier in tiers(version))
            own = looked_at(rules, timeline, unlocks, name, clock)
            unlocks += [each for tier in names for each in _unlocks_of_tier(rules, own, unlocks, name, tier)]
    return unlocks


def looked_at(rules: Ruleset, timeline: Timeline, earned: Sequence[Unlock], name: str, clock: int) -> Timeline:
    """Return what an achievement looks at: events, the unlocks that it hears, and moments up to a clock."""
    return with_moments(rules, with_unlocks(rules, timeline, earned, name), earned, name, clock)


def with_moments(rules: Ruleset, timeline: Timeline, earned: Sequence[Unlock], name: str, clock: int) -> Timeline:
    """Return what an achievement looks at: the events of a subject, and the moments up to a clock."""
    versions = rules.achievements[name]
    instants = {version.since.us for version in versions if version.since is not None and not version.fresh}
    named = {other for version in versions for other in named_achievements(version)}
    instants |= {unlock.earned_at for unlock in earned if unlock.achievement in named and is_moment(unlock.by)}
    return timeline.with_moments(sorted(instant for instant in instants if instant <= clock))


def is_moment(place: Position) -> bool:
    """Return whether a place is a moment, and that of no event."""
    return place.id == ""


def _unlocks_of_tier(
    rules: Ruleset, timeline: Timeline, earned: Sequence[Unlock], name: str, tier: str | None
) -> list[Unlock]:
    """Walk the prefixes; at each, ask the version in effect."""
    versions = rules.achievements[name]
    hears = {version.version: heard(rules, version) for version in versions}
    views = afresh(rules, timeline, earned, versions, 0)
    granted: dict[str | None, Unlock] = {}
    for i, event in enumerate(timeline.events):
        version = in_effect(versions, event.at)
        if version is None or tier not in tiers(version) or not sees(version, event):
            continue
        prefix = Prefix(views[version.version], i)
        if not _is_asked(version, prefix, hears[version.version]):
            continue
        if isinstance(version.repeat, syntax.RepeatBy):
            values = values_in_which_it_holds(version, tiers(version)[tier], prefix)
            for value in sorted(values - granted.keys()):
                granted[value] = _unlock(timeline.subject, version, tier, value, event)
            continue
        start = latest_start(tiers(version)[tier], prefix)
        if start is None or not _may_earn(version, prefix):
            continue
        occurrence = _occurrence(version, prefix, start, len(granted))
        if occurrence == OUTSIDE or occurrence in granted:
            continue
        granted[occurrence] = _unlock(timeline.subject, version, tier, occurrence, event)
        if version.repeat is None:
            break
        if isinstance(version.repeat, syntax.RepeatEach):
            views = afresh(rules, timeline, earned, versions, i + 1)
    return list(granted.values())


def _unlock(
    subject: Subject, version: syntax.Achievement, tier: str | None, occurrence: str | None, event: Event
) -> Unlock:
    number = version.version
    return Unlock(subject, version.name.text, tier, occurrence, number, earned_at(event), position(event))


def earned_at(event: Event) -> Position:
    """Return the place of an event, or of the event that has earned an unlock."""
    return Position(event.at, event.id.partition("\0")[0])


MOST_BYTES = 512
"""Of a value that has an occurrence, as of one that is a subject."""


def by_value(version: syntax.Achievement, when: syntax.Condition) -> syntax.Condition:
    """Return the condition under `repeat by F`: with `by=F`."""
    if not isinstance(version.repeat, syntax.RepeatBy):
        return when
    if keys_named(when) == (version.repeat.field.text,):
        return when
    by = (version.repeat.field,)
    key = id(when), version.repeat.field.text
    if key not in _WRAPPED:
        inside = syntax.Combine(kind="all", k=1, parts=(when,), mods=syntax.Modifiers(by=by))
        _WRAPPED[key] = when, inside if keys_named(when) else replace(when, mods=replace(when.mods, by=by))
    return _WRAPPED[key][1]


_WRAPPED: dict[tuple[int, str], tuple[syntax.Condition, syntax.Condition]] = {}
"""One condition for each `when`, so that what is known of its groups is found again."""


def values_in_which_it_holds(version: syntax.Achievement, when: syntax.Condition, prefix: Prefix) -> set[str]:
    """Return the values for which the condition of a `repeat by` holds."""
    if not _may_earn(version, prefix):
        return set()
    starts = group_starts(by_value(version, when), prefix)
    return {value for (value,) in starts if has_occurrence(value)}


def has_occurrence(value: str) -> bool:
    """Return whether a value has an occurrence: not the empty string, and none that is too long for a subject."""
    return 0 < len(value.encode()) <= MOST_BYTES


def _is_asked(version: syntax.Achievement, prefix: Prefix, hears: set[Heard]) -> bool:
    """Return whether a version is judged at the end of a prefix: at an event that it hears, or at its begin."""
    last = prefix.last
    if is_moment(position(prefix.event(last))):
        return _is_judged_at(version, prefix, hears)
    return hears_event(prefix.view.rules, version, prefix.view.timeline, last, hears)


def _is_judged_at(version: syntax.Achievement, moment: Prefix, hears: set[Heard]) -> bool:
    """Return whether a version is judged at a moment: it begins there, and has heard something before."""
    if version.since is None or version.since.us != moment.now or version.fresh:
        return False
    before = range(moment.view.first, moment.last)
    rules, timeline = moment.view.rules, moment.view.timeline
    return any(hears_event(rules, version, timeline, i, hears) and sees(version, moment.event(i)) for i in before)


def hears_event(rules: Ruleset, version: syntax.Achievement, timeline: Timeline, i: int, hears: set[Heard]) -> bool:
    """Return whether a version hears an event, or an unlock."""
    if timeline.events[i].type == UNLOCKS:
        return hears_unlock(rules, version, timeline, i)
    return is_heard(timeline, i, hears)


def afresh(
    rules: Ruleset,
    timeline: Timeline,
    earned: Sequence[Unlock],
    versions: Sequence[syntax.Achievement],
    after: int,
) -> dict[int, View]:
    """Return for each version a view of what it sees of the timeline from event `after` on."""

    def first(version: syntax.Achievement) -> int:
        indices = range(after, len(timeline.events))
        return next((i for i in indices if sees(version, timeline.events[i])), len(timeline.events))

    spent = (timeline, after - 1) if after else None
    return {version.version: View(rules, timeline, earned, first(version), spent) for version in versions}


def _may_earn(version: syntax.Achievement, prefix: Prefix) -> bool:
    """Return whether `for` is true of the traits and every `after` is earned."""
    view = prefix.view
    if version.where is not None and not is_true(version.where, Asked(view.timeline.traits[prefix.last])):
        return False
    return all(
        any(place <= prefix.position for place in earned_by(view.earned, target.achievement, target.tier))
        for target in version.after
    )


OUTSIDE = "outside"
"""No occurrence: the condition does not hold within the unit of now."""


def _occurrence(version: syntax.Achievement, prefix: Prefix, start: Position, so_far: int) -> str | None:
    match version.repeat:
        case None:
            return None
        case syntax.RepeatEach():
            return str(so_far + 1)
        case syntax.RepeatEvery(unit=unit, tz=tz):
            if not in_unit_of(prefix, start, unit.text, tz):
                return OUTSIDE
            return wall_clock.label(unit.text, prefix.now, prefix.clock(tz))
        case syntax.RepeatBy():
            raise TypeError(version.repeat)
