"""Subjects folded one by one, each over its own events: what they have earned, and what a digest says. Pure."""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate
from operator import attrgetter, lt
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.compile import USER
from dsl.fold import fold
from dsl.outcome import Subject, canonical_order, progress_lines, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsl.compile import Program
    from dsl.event import Event
    from dsl.outcome import Unlock


_at: Final = attrgetter("at")


class Folded(NamedTuple):
    """What came of some subjects."""

    unlocks: list[tuple[int, Unlock]]
    """Each behind the instant in microseconds from which it is granted."""
    lines: list[bytes]
    """What a digest says of their progress."""
    suppressed: int
    """Copies by `once per`, each counted once though several scopes hear it."""

    def unlocks_at(self, clock: int) -> list[Unlock]:
        """Return what is granted at an instant in microseconds."""
        return [unlock for due, unlock in self.unlocks if due <= clock]


def events_of_users(events: Iterable[Event]) -> dict[Subject, list[Event]]:
    """Return what each user did, in the order given, whether a plan hears it or not."""
    users: defaultdict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        users[event.tenant, event.user].append(event)
    return {Subject(tenant, USER, user): done for (tenant, user), done in users.items()}


def hears_own_events(program: Program) -> bool:
    """Tell whether users are the only subjects, and hear nothing but what they did themselves."""
    return len(program.scopes) == 1 and not program.roles.naming


def put_in_order(subjects: dict[Subject, list[Event]]) -> int:
    """Put the events of each subject in canonical order; return how many came after a later one of theirs."""
    late = 0
    for subject, events in subjects.items():
        instants = [event.at for event in events]
        if all(map(lt, instants, instants[1:])):
            continue
        if len({*instants}) == len(instants):  # then no id decides
            late += sum(map(lt, instants, accumulate(instants, max)))
            subjects[subject] = sorted(events, key=_at)
        else:
            places = [*map(canonical_order, events)]
            late += sum(map(lt, places, accumulate(places, max)))
            subjects[subject] = sorted(events, key=canonical_order)
    return late


def fold_subjects(program: Program, subjects: Mapping[Subject, list[Event]], clock: int) -> Folded:
    """Fold the events of each subject, given once each in canonical order; its plan may not hear some of them.

    Moments up to a clock (microseconds) are judged.
    """
    unlocks: list[tuple[int, Unlock]] = []
    lines: list[bytes] = []
    suppressed = 0
    for subject, events in subjects.items():
        plan = program.scopes[subject.scope]
        state, grants = fold(plan, events, clock)
        unlocks += [(grant.earned_at + grant.settle, shown(subject, grant)) for grant in grants]
        lines += progress_lines(plan, subject, state)
        suppressed += state.suppressed if subject.scope == USER else 0
    return Folded(unlocks, lines, suppressed)
