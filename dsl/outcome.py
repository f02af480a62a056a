"""What comes out of a stream: unlocks, progress, and a digest of both in canonical form.

The outcome is a pure function of the set of events and the rules: subjects are folded one by one, each over its own
events in canonical order.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dsl.calendar import format_instant
from dsl.compile import USER
from dsl.fold import fold, standings
from dsl.roles import is_pseudonym
from dsl.values import canonical_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dsl.compile import Plan, Program
    from dsl.event import Event
    from dsl.progress import Amount, Grant, State


class Subject(NamedTuple):
    """Whose achievements: a tenant, a scope (`user`, `tenant` or a field) and a user id, tenant id or field value."""

    tenant_id: str
    scope: str
    subject: str


def full_name(achievement: str, tier: str | None, occurrence: str | None = None) -> str:
    """Return `NAME` or `NAME.TIER`, with ` [OCCURRENCE]` behind it where there is one; None and "" stand for none."""
    name = f"{achievement}.{tier}" if tier else achievement
    return f"{name} [{occurrence}]" if occurrence else name


def subject_name(scope: str, subject: str) -> str:
    """Return a user, or `SCOPE=SUBJECT` of another scope."""
    return subject if scope == USER else f"{scope}={subject}"


class Unlock(msgspec.Struct, frozen=True):
    """One unlock as it is shown; `earned_at` in UTC with microseconds, `tier` and `occurrence` None where none."""

    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str | None
    occurrence: str | None
    version: int
    earned_at: str

    @property
    def order(self) -> tuple[object, ...]:
        """Sort key: the fields as they stand, none before any."""
        tier, occurrence = self.tier or "", self.occurrence or ""
        where = (self.tenant_id, self.scope, self.subject, self.achievement)
        return (*where, tier, occurrence, self.version, self.earned_at)


class Outcome(NamedTuple):
    """Unlocks in order, the state of every subject, and how many copies `once per` suppressed."""

    unlocks: list[Unlock]
    states: dict[Subject, State]
    suppressed: int


def shown(subject: Subject, grant: Grant) -> Unlock:
    """Return a grant as an unlock of a subject."""
    return Unlock(
        *subject, grant.achievement, grant.tier, grant.occurrence, grant.version, format_instant(grant.earned_at)
    )


canonical_order: Callable[[Event], tuple[int, str]] = attrgetter("at", "id")
"""Sort key of canonical order: instant in UTC, then event id by code point."""


def by_subject(program: Program, events: Iterable[Event]) -> dict[Subject, list[Event]]:
    """Return the events of every subject that hears them, as it sees them, in the order given."""
    subjects: defaultdict[Subject, list[Event]] = defaultdict(list)
    users: defaultdict[tuple[str, str], list[Event]] = defaultdict(list)
    for_users = program.for_users
    for event in events:
        if event.type in for_users:  # most are, and need no call
            users[event.tenant, event.user].append(event)
            continue
        for scope, name, seen in program.hearing(event):
            if scope == USER:
                users[event.tenant, name].append(seen)
            else:
                subjects[Subject(event.tenant, scope, name)].append(seen)
    found = ((Subject(tenant, USER, user), heard) for (tenant, user), heard in users.items())
    subjects.update({user: heard for user, heard in found if not is_pseudonym(user.subject)})
    return dict(subjects)


def run(program: Program, events: Iterable[Event], until: int | None = None) -> Outcome:
    """Fold events that are given once each, in any order.

    The clock of moments and of `settle` is the latest instant among them, or `until` (microseconds).
    """
    events = list(events)
    clock = clock_of(events, until)
    unlocks: list[Unlock] = []
    states: dict[Subject, State] = {}
    for subject, heard in by_subject(program, events).items():
        state, grants = fold(program.scopes[subject.scope], sorted(heard, key=canonical_order), clock)
        states[subject] = state
        unlocks.extend(shown(subject, grant) for grant in grants if grant.earned_at + grant.settle <= clock)
    unlocks.sort(key=lambda unlock: unlock.order)
    return Outcome(unlocks, states, suppressed(states))


def clock_of(events: Iterable[Event], until: int | None = None) -> int:
    """Return what the clock shows behind events, in microseconds: the latest instant among them, or `until`."""
    return max((event.at for event in events), default=0) if until is None else until


def suppressed(states: Mapping[Subject, State]) -> int:
    """Return how many events `once per` took for copies, each counted once though several scopes hear it."""
    return sum(state.suppressed for subject, state in states.items() if subject.scope == "user")


# -- digest -----------------------------------------------------------------------------------------------------------


def digest(program: Program, unlocks: Iterable[Unlock], states: Mapping[Subject, State]) -> str:
    """Return a hash (hexadecimal) of supported unlocks and of progress, each subject's as of its own last event."""
    lines = [unlock_line(unlock) for unlock in unlocks]
    for subject, state in states.items():
        lines.extend(progress_lines(program.scopes[subject.scope], subject, state))
    return hash_of(sorted(lines))


def hash_of(lines: Iterable[bytes]) -> str:
    """Return the hash of a digest's lines, which are sorted."""
    hashed = blake2b(digest_size=32)
    for line in lines:
        hashed.update(line + b"\n")
    return hashed.hexdigest()


def unlock_line(unlock: Unlock) -> bytes:
    """Return what a digest says of an unlock; it has no line break."""
    return msgspec.json.encode(unlock)


def progress_lines(plan: Plan, subject: Subject, state: State) -> Iterator[bytes]:
    """Yield what a digest says of a subject's progress, as of its last event; no line has a line break."""
    if state.mark is None:
        return
    begin = msgspec.json.encode(subject)[:-1]
    for standing in standings(plan, state, state.mark.at):
        measure = standing.measure
        if measure.fraction:
            named = (standing.achievement, standing.tier, standing.version)
            yield begin + _rest_of_line(named, str(measure.fraction), _text(measure.current), _text(measure.target))


def _text(number: Amount | None) -> str | None:
    return None if number is None else canonical_number(number)


@lru_cache(maxsize=4096)
def _rest_of_line(named: tuple[str, str | None, int], fraction: str, current: str | None, target: str | None) -> bytes:
    """Return a line of progress behind its subject. Many subjects stand at the same place."""
    return b"," + msgspec.json.encode([*named, fraction, current, target])[1:]
