"""Unlocks as events: the paragraph on `unlocks`.

An achievement that uses `unlocks` looks at the events of its subject and, right behind the event that earned each, at
the unlocks that one of its patterns sees. Such an unlock is an event here, whose place is that of the event with its
achievement, tier and occurrence behind the id; no id has the character 0 in it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from dsl import syntax
from dsl.event import Event
from tests.reference.filters import Asked, is_true
from tests.reference.groups import below, everything, zoned
from tests.reference.seen_unlocks import PLAIN, UNLOCKS, named_outright

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dsl.types import Json, Value
    from tests.reference.latest_starts import Unlock
    from tests.reference.ruleset import Ruleset
    from tests.reference.timeline import Timeline


def whens_of(version: syntax.Achievement) -> list[syntax.Condition]:
    """Return the conditions of a version."""
    return [version.when] if version.when is not None else [tier.when for tier in version.tiers]


def zoned_patterns(condition: syntax.Condition) -> Iterator[tuple[syntax.Pattern, syntax.Zone | None]]:
    """Yield all patterns of a condition, those of `unless` too, with the zones by which their filters go."""
    tz = condition.mods.tz
    match condition:
        case syntax.Count() | syntax.Sum() | syntax.Extreme() | syntax.Streak():
            yield condition.event, tz
        case syntax.Sequence(steps=steps):
            yield from ((step, tz) for step in steps)
        case _:
            pass
    if condition.mods.unless is not None:
        yield condition.mods.unless, tz
    per_unit = isinstance(condition, syntax.CountUnits | syntax.StreakUnits)
    for part in below(condition):
        yield from zoned_patterns(zoned(part, tz) if per_unit else part)


def uses_unlocks(version: syntax.Achievement) -> bool:
    """Return whether a version has `unlocks` in a pattern."""
    found = (pattern for when in whens_of(version) for pattern, _ in zoned_patterns(when))
    return any(one.event.text == UNLOCKS for pattern in found for one in pattern.alternatives)


def named_in(version: syntax.Achievement) -> set[str]:
    """Return what a version names in `after` and `unlocked`."""
    parts = (part for when in whens_of(version) for part in everything(when))
    names = {part.achievement.text for part in parts if isinstance(part, syntax.Unlocked)}
    return names | {target.achievement.text for target in version.after}


def is_plain(rules: Ruleset, name: str) -> bool:
    """Return whether an achievement in no version uses `unlocks`, directly or through what it names."""
    versions = rules.achievements[name]
    if any(uses_unlocks(version) for version in versions):
        return False
    return all(is_plain(rules, other) for version in versions for other in named_in(version))


def outright_in(version: syntax.Achievement) -> set[str]:
    """Return the achievements that filters over `unlocks` name outright in a version."""
    patterns = (pattern for when in whens_of(version) for pattern, _ in zoned_patterns(when))
    found = ((pattern, one) for pattern in patterns for one in pattern.alternatives if one.event.text == UNLOCKS)
    return set[str]().union(*(named_outright(one.where) | named_outright(pattern.where) for pattern, one in found))


def reward_of(version: syntax.Achievement, tier: str | None) -> Mapping[str, Json]:
    """Return what a version gives: the reward of its tier, or else its own."""
    own = next((each.reward for each in version.tiers if each.name.text == tier), None)
    reward = own or version.reward
    return {} if reward is None else reward.values


def said(version: syntax.Achievement, tier: str | None) -> dict[str, Value]:
    """Return what an unlock says that a version grants, but for its occurrence."""
    fields: dict[str, Value] = {"achievement": version.name.text}
    if tier is not None:
        fields["tier"] = tier
    if version.family is not None:
        fields["family"] = version.family.text
    for key, value in reward_of(version, tier).items():
        if isinstance(value, str | bool | int | Decimal):
            fields[f"reward.{key}"] = value
    return fields


def as_event(rules: Ruleset, unlock: Unlock, timeline: Timeline) -> Event:
    """Return an unlock as an event right behind the one that earned it."""
    version = next(each for each in rules.achievements[unlock.achievement] if each.version == unlock.version)
    fields = said(version, unlock.tier)
    if unlock.occurrence is not None:
        fields["occurrence"] = unlock.occurrence
    if is_plain(rules, unlock.achievement):
        fields[PLAIN] = True
    by = next((each for each in timeline.events if (each.at, each.id) == (unlock.by.at, unlock.by.id)), None)
    tenant, scope, name = timeline.subject
    user = name if scope == "user" else "" if by is None else by.user
    place = "\0".join((unlock.by.id, unlock.achievement, unlock.tier or "", unlock.occurrence or ""))
    return Event(tenant, place, UNLOCKS, user, unlock.by.at, 0 if by is None else by.offset, fields)


def hears_unlock(rules: Ruleset, version: syntax.Achievement, timeline: Timeline, i: int) -> bool:
    """Return whether a version hears an unlock: if a pattern of it matches, or what it names hears it."""
    patterns = (each for when in whens_of(version) for each in zoned_patterns(when))
    if any(timeline.resets(pattern, tz, i) for pattern, tz in patterns):
        return True
    others = (other for name in named_in(version) for other in rules.achievements[name])
    return any(hears_unlock(rules, other, timeline, i) for other in others)


def with_unlocks(rules: Ruleset, timeline: Timeline, earned: Sequence[Unlock], name: str) -> Timeline:
    """Return what an achievement looks at: the events of a subject, and the unlocks that one of its versions hears."""
    if is_plain(rules, name):
        return timeline
    whole = timeline.with_events(as_event(rules, unlock, timeline) for unlock in earned)
    versions = rules.achievements[name]
    deaf = {
        i
        for i, event in enumerate(whole.events)
        if event.type == UNLOCKS and not any(hears_unlock(rules, version, whole, i) for version in versions)
    }
    return whole.without(deaf)


def values_of(rules: Ruleset, pattern: syntax.Pattern, one: syntax.Alternative, field: str) -> list[Value]:
    """Return the values that a field has in everything that an alternative over `unlocks` may match."""
    found: list[Value] = []
    for name, versions in rules.achievements.items():
        outright = named_outright(one.where) | named_outright(pattern.where)
        if not is_plain(rules, name) and name not in outright:
            continue
        for version in versions:
            for tier in [each.name.text for each in version.tiers] or [None]:
                fields = said(version, tier)
                asked = Asked(fields)
                passes = all(where is None or is_true(where, asked) for where in (one.where, pattern.where))
                if passes and field in fields:
                    found.append(fields[field])
    return found
