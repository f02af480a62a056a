"""The slow reference: `.ach` evaluated by the definitions of the language, from scratch at every prefix.

Nothing here is clever on purpose. The engine is compared with these pages, and these pages with the language,
by eye: `timeline` is its §2 and the filters of §3, `latest` its two tables of latest starts, `earning` and
`nearness` the rest of §4.

    outcome(ruleset(declarations), events) -> Outcome(unlocks, progress, copies)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.property.earning import scope_of, unlocks_of
from tests.property.nearness import progress_of
from tests.property.timeline import Subject, timelines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.event import Event
    from tests.property.latest import Unlock
    from tests.property.nearness import Goal, Progress
    from tests.property.ruleset import Ruleset


@dataclass(frozen=True)
class Outcome:
    """What follows from a rule set and a stream: sorted unlocks, progress, suppressed copies by subject."""

    unlocks: list[Unlock]
    progress: dict[Goal, Progress]
    copies: dict[Subject, int]


def outcome(rules: Ruleset, events: Iterable[Event], now: int | None = None) -> Outcome:
    """Evaluate a stream of events, each id once.

    Progress is as of `now`, from the events up to then; without it, as of each subject's own last event. The
    clock of `settle` is the latest event of the whole stream.
    """
    known = list(events)
    clock = max((event.at for event in known), default=0)
    result = Outcome([], {}, {})
    for scope in {scope_of(versions[0]) for versions in rules.achievements.values()}:
        for subject, timeline in timelines(rules, known, scope).items():
            unlocks = unlocks_of(rules, timeline)
            result.unlocks.extend(unlock for unlock in unlocks if _has_settled(rules, unlock, clock))
            result.copies[subject] = timeline.copies
            if now is None:
                result.progress.update(progress_of(rules, timeline, unlocks, timeline.events[-1].at))
        if now is not None:
            past = timelines(rules, (event for event in known if event.at <= now), scope)
            for timeline in past.values():
                result.progress.update(progress_of(rules, timeline, unlocks_of(rules, timeline), now))
    result.unlocks.sort(key=sort_key)
    return result


def sort_key(unlock: Unlock) -> tuple[str, ...]:
    """Order unlocks by tenant, scope, subject, achievement, tier and occurrence."""
    return (*unlock.subject, unlock.achievement, unlock.tier or "", unlock.occurrence or "")


def _has_settled(rules: Ruleset, unlock: Unlock, clock: int) -> bool:
    version = next(each for each in rules.achievements[unlock.achievement] if each.version == unlock.version)
    return version.settle is None or unlock.earned_at + version.settle.us <= clock
