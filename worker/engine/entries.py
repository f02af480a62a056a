"""What the rules in force say of every achievement and tier: words, reward, when it may be seen, for which users. Pure.

A catalogue is made once an epoch and asked many times.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.compile import scope_of
from dsl.outcome import full_name
from dsl.references import tier_conditions
from dsl.syntax import (
    Combine,
    Count,
    CountGroups,
    CountUnits,
    Extreme,
    RepeatEvery,
    Reveal,
    Sequence,
    Streak,
    StreakUnits,
    Sum,
    Unlocked,
)
from dsl.trees import walk
from dsl.types import FieldType
from worker.engine.announcement import PLAIN
from worker.engine.eligible import eligibility

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dsl.syntax import Achievement, Condition, Tier, Title
    from worker.engine.eligible import Eligible
    from worker.engine.rule_set import Deployed

Key = tuple[str, str | None]
"""An achievement and its tier, None where it has none."""
NOTHING_GIVEN: Final = "{}"
"""The reward where the rules promise none."""
_ALWAYS: Final = Reveal(kind="always")


class Entry(NamedTuple):
    """One version of an achievement and tier, in words."""

    achievement: str
    tier: str | None
    version: int
    scope: str
    family: str | None
    titles: Mapping[str, str]
    """By language, in the order written; `und` for one without. A tier without a title has the achievement's."""
    about: str | None
    reward: str
    """A JSON object, as text."""
    final: bool
    reveal: Reveal
    next_tier: str | None
    """The tier behind it, in the order written."""
    unit: str | None
    """What progress counts: a calendar unit for streaks, `event`, `step`, or the name of a field; None where
    nothing is counted."""
    eligible: Eligible
    repeats: bool

    @property
    def id(self) -> str:
        """`achievement`, or `achievement.tier`."""
        return full_name(self.achievement, self.tier)


class Catalogue:
    """What one epoch of rules says, ready to be asked."""

    def __init__(self, rules: Deployed) -> None:
        self.rules = rules
        self._entries: dict[Key, dict[int, Entry]] = {}
        self._timed: defaultdict[str, bool] = defaultdict(bool)
        for entry in _entries(rules):
            self._entries.setdefault((entry.achievement, entry.tier), {})[entry.version] = entry
        for versions in rules.rules.achievements.values():
            self._timed[scope_of(versions[0])] |= any(_is_timed(version) for version in versions)

    def entry(self, achievement: str, tier: str | None, version: int) -> Entry | None:
        """Return what is said of a version; of one that is not deployed what the latest says; None where none is."""
        versions = self._entries.get((achievement, tier))
        if versions is None:
            return None
        return versions.get(version) or versions[max(versions)]

    def in_effect(self, scope: str, now: int) -> list[Entry]:
        """Return what can be earned in a scope at `now` (microseconds), in the order of its standing."""
        plan = self.rules.program.scopes.get(scope)
        found: list[Entry] = []
        for ruling in () if plan is None else plan.rulings:
            judge = ruling.in_effect(now)
            if judge is not None:
                found.append(self._entries[ruling.achievement, ruling.tier][judge.version.version])
        return found

    @property
    def scopes(self) -> list[str]:
        """The scopes that any achievement is of, in order."""
        return sorted(self.rules.program.scopes)

    def is_timed(self, scope: str) -> bool:
        """Tell whether standing in a scope moves with time alone: by spans, calendar units, or versions to come."""
        return self._timed.get(scope, False)


def _entries(rules: Deployed) -> Iterator[Entry]:
    decimals = frozenset(name for name, kind in rules.rules.traits.items() if kind is FieldType.DECIMAL)
    for versions in rules.rules.achievements.values():
        for version in versions:
            tiers = {tier.name.text: tier for tier in version.tiers}
            names = [name for name, _ in tier_conditions(version)]
            for place, (name, when) in enumerate(tier_conditions(version)):
                tier = tiers.get(name or "")
                terms = rules.terms_of(version.name.text, version.version, name)
                yield Entry(
                    achievement=version.name.text,
                    tier=name,
                    version=version.version,
                    scope=scope_of(version),
                    family=None if version.family is None else version.family.text,
                    titles=_titles((None if tier is None else tier.title) or version.title),
                    about=None if version.about is None else str(version.about.value),
                    reward=NOTHING_GIVEN if terms is None else terms.reward,
                    final=terms is not None and terms.final,
                    reveal=_reveal(version, tier),
                    next_tier=names[place + 1] if place + 1 < len(names) else None,
                    unit=_unit(when),
                    eligible=eligibility(version.where, decimals),
                    repeats=version.repeat is not None,
                )


def _titles(title: Title | None) -> dict[str, str]:
    return {} if title is None else {language or PLAIN: text for language, text in title.texts}


def _reveal(version: Achievement, tier: Tier | None) -> Reveal:
    own = None if tier is None else tier.reveal
    return own or version.reveal or _ALWAYS


def _unit(when: Condition) -> str | None:
    match when:
        case Streak(unit=unit) | StreakUnits(unit=unit) | CountUnits(unit=unit):
            return unit.text
        case CountGroups(by=by):
            return by[0].text if len(by) == 1 else None
        case Count(distinct=distinct):
            if not distinct:
                return "event"
            return distinct[0].text if len(distinct) == 1 else None
        case Sum(of=of) | Extreme(kind="max", of=of):
            return of.text
        case Sequence():
            return "step"
        case Extreme() | Unlocked() | Combine():
            return None


def _is_timed(version: Achievement) -> bool:
    if version.since is not None or version.active is not None or isinstance(version.repeat, RepeatEvery):
        return True
    return any(_ticks(when) for _, when in tier_conditions(version))


def _ticks(when: Condition) -> bool:
    return any(
        part.mods.within is not None or part.mods.per is not None or isinstance(part, Streak | StreakUnits)
        for part in walk(when)
    )
