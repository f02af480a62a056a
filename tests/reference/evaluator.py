"""The slow reference: `.ach` evaluated by the definitions of the language, from scratch at every prefix.

The code is simple on purpose. Tests compare the engine with these modules, and a reader compares these modules with
the language: `timeline` is its §2 and the filters of §3, `latest_starts` its two tables of latest starts, `unlocks` and
`progress_made` the rest of §4.

    outcome(ruleset(declarations), events) -> Outcome(unlocks, progress, copies)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.reference.progress_made import progress_of
from tests.reference.timeline import Subject, Timeline, timelines
from tests.reference.unlocks import heard, is_heard, scope_of, unlocks_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dsl.event import Event
    from tests.reference.latest_starts import Unlock
    from tests.reference.progress_made import Goal, Progress
    from tests.reference.ruleset import Ruleset


@dataclass(frozen=True)
class Outcome:
    """What follows from a rule set and a stream: sorted unlocks, progress, suppressed copies by subject."""

    unlocks: list[Unlock]
    progress: dict[Goal, Progress]
    copies: dict[Subject, int]


def outcome(rules: Ruleset, events: Iterable[Event], now: int | None = None, until: int | None = None) -> Outcome:
    """Evaluate a stream of events, each id once.

    Progress is as of `now`, from the events up to then; without it, as of the last event that a subject's
    achievements hear. The clock of moments and of `settle` is the latest event of the whole stream, or `until`.
    """
    known = list(events)
    return Outcome(supported_unlocks(rules, known, until), progress(rules, known, now), copies(rules, known))


def supported_unlocks(rules: Ruleset, events: list[Event], until: int | None = None) -> list[Unlock]:
    """Return the unlocks of all subjects, those that still wait for their `settle` left out."""
    clock = max((event.at for event in events), default=0) if until is None else until
    unlocks = [unlock for timeline in _subjects(rules, events) for unlock in unlocks_of(rules, timeline, clock)]
    return sorted((unlock for unlock in unlocks if _has_settled(rules, unlock, clock)), key=sort_key)


def progress(rules: Ruleset, events: list[Event], now: int | None = None) -> dict[Goal, Progress]:
    """Return the progress of all subjects."""
    found: dict[Goal, Progress] = {}
    latest = max((event.at for event in events), default=0)
    for timeline in _subjects(rules, [event for event in events if now is None or event.at <= now]):
        unlocks = unlocks_of(rules, timeline, latest if now is None else now)
        if now is None:
            found |= _progress_at_last(rules, timeline, unlocks)
        else:
            found |= progress_of(rules, timeline, unlocks, now)
    return found


def copies(rules: Ruleset, events: list[Event]) -> dict[Subject, int]:
    """Return how many events of each subject `once per` leaves out."""
    return {timeline.subject: timeline.copies for timeline in _subjects(rules, events)}


def _subjects(rules: Ruleset, events: list[Event]) -> Iterator[Timeline]:
    for scope in sorted({scope_of(versions[0]) for versions in rules.achievements.values()}):
        yield from timelines(rules, events, scope).values()


def _progress_at_last(rules: Ruleset, timeline: Timeline, unlocks: list[Unlock]) -> dict[Goal, Progress]:
    """Return a subject's progress as of the last event that an achievement of its scope hears."""
    versions = [version for each in rules.achievements.values() for version in each]
    hears = {
        name for version in versions if scope_of(version) == timeline.subject.scope for name in heard(rules, version)
    }
    last = max((i for i in range(len(timeline.events)) if is_heard(timeline, i, hears)), default=None)
    if last is None:
        return {}
    return progress_of(rules, timeline.up_to(last), unlocks, timeline.events[last].at)


def sort_key(unlock: Unlock) -> tuple[str, ...]:
    """Order unlocks by tenant, scope, subject, achievement, tier and occurrence."""
    return (*unlock.subject, unlock.achievement, unlock.tier or "", unlock.occurrence or "")


def _has_settled(rules: Ruleset, unlock: Unlock, clock: int) -> bool:
    version = next(each for each in rules.achievements[unlock.achievement] if each.version == unlock.version)
    return version.settle is None or unlock.earned_at + version.settle.us <= clock
