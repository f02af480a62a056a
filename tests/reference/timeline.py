"""The subjects of a stream and the history of each, in canonical order (§2, §4)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from dsl.event import Event, Position
from tests.reference.filters import Asked, is_true
from tests.reference.seen_unlocks import is_seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsl import syntax
    from dsl.types import Value
    from tests.reference.ruleset import Ruleset
    from tests.reference.wall_clock import Clock


class Subject(NamedTuple):
    """Whose achievements they are: a user, a tenant, or the value of a field, within a tenant."""

    tenant: str
    scope: str
    name: str


def position(event: Event) -> Position:
    """Return the event's place in canonical order."""
    return Position(event.at, event.id)


def named_by(rules: Ruleset, event: Event) -> set[str]:
    """Return the users whose history has an event: its actor, and all that fields of type `user` or `[user]` name."""
    contract = rules.events.get(event.type)
    fields = {} if contract is None else contract.fields
    roles = [name for name, field in fields.items() if field.type in {"user", "[user]"}]
    return {event.user}.union(*(in_role(event, role) for role in roles))


def in_role(event: Event, role: str | None) -> set[str]:
    """Return the users that an event has in a role: a field, or None for the actor."""
    if role is None:
        return {event.user}
    value = event.fields.get(role)
    return {value} if isinstance(value, str) else set(value) if isinstance(value, tuple) else set()


def name_in(scope: str, event: Event) -> str | None:
    """Return the name of the subject that an event belongs to in a scope; None where there is none."""
    if scope == "user":
        return event.user
    if scope == "tenant":
        return event.tenant
    match event.fields.get(scope):
        case None | "":
            return None
        case bool(value):
            return "true" if value else "false"
        case Decimal() as value:
            return f"{value.normalize():f}"
        case value:
            return str(value)


def fingerprint(rules: Ruleset, event: Event) -> tuple[object, ...] | None:
    """Return what makes two events copies of each other; None where the type has no `once per`."""
    contract = rules.events.get(event.type)
    if contract is None or contract.once is None:
        return None
    names, _ = contract.once
    return event.user, event.type, *(event.fields.get(name) for name in names)


def without_copies(rules: Ruleset, events: Iterable[Event]) -> list[Event]:
    """Return the events that count, of events in canonical order."""
    counted: list[Event] = []
    last: dict[tuple[object, ...], Event] = {}
    for event in events:
        print_ = fingerprint(rules, event)
        if print_ is not None:
            if print_ in last and not _far_enough(rules, last[print_], event):
                continue
            last[print_] = event
        counted.append(event)
    return counted


def _far_enough(rules: Ruleset, earlier: Event, later: Event) -> bool:
    once = rules.events[later.type].once
    return once is not None and once[1] is not None and later.at - earlier.at >= once[1]


@dataclass(frozen=True)
class Timeline:
    """One subject's events that count, in canonical order, and what was so after each of them."""

    subject: Subject
    events: list[Event]
    copies: int
    """Of users, those of their own events."""
    traits: list[Mapping[str, Value]]
    """After event i: the traits of the user of event i."""
    matched: dict[tuple[int, str, str], list[int]] = field(default_factory=dict[tuple[int, str, str], list[int]])
    foreign: frozenset[int] = frozenset()
    """In the history of a group: events that are not its own, and do nothing but reset it."""

    def clock(self, tz: syntax.Zone | None, i: int) -> Clock:
        """Return the clock that `tz=` means at event i."""
        if tz is None:
            return "UTC"
        if tz.kind == "event":
            return self.events[i].offset
        if tz.kind == "iana":
            return tz.name
        name = self.traits[i].get("timezone", "UTC")
        return name if isinstance(name, str) else "UTC"

    def clock_of_all(self, tz: syntax.Zone | None, i: int) -> Clock:
        """Return the clock that `tz=` means at event i for more than that event: UTC where each has its own."""
        each = tz is not None and (tz.kind == "event" or (tz.kind == "user" and self.subject.scope != "user"))
        return "UTC" if each else self.clock(tz, i)

    def clock_now(self, tz: syntax.Zone | None) -> Clock:
        """Return the clock that `tz=` means after the last event."""
        return self.clock_of_all(tz, len(self.events) - 1)

    def with_moments(self, instants: Sequence[int]) -> Timeline:
        """Return the same with an event at each instant, before all others there: it has no type and no user."""
        nothing = [Event(self.subject.tenant, "", "", "", at, 0, {}) for at in instants]
        events = sorted([*self.events, *nothing], key=position)
        after = iter(self.traits)
        traits: list[Mapping[str, Value]] = []
        for event in events:
            last: Mapping[str, Value] = traits[-1] if traits and self.subject.scope == "user" else {}
            traits.append(next(after) if event.id else last)
        return Timeline(self.subject, events, self.copies, traits)

    def with_events(self, more: Iterable[Event]) -> Timeline:
        """Return the same with further events, each right behind one of these, or behind a moment."""
        known = list(zip(self.events, self.traits, strict=True))
        for event in more:
            before = [(each, traits) for each, traits in known if position(each) < position(event)]
            after: Mapping[str, Value] = {}
            if before:
                last, traits = before[-1]
                same = (last.at, last.id) == (event.at, event.id.partition("\0")[0])
                after = traits if same or self.subject.scope == "user" else after
            known.append((event, after))
        known.sort(key=lambda pair: position(pair[0]))
        return Timeline(self.subject, [event for event, _ in known], self.copies, [traits for _, traits in known])

    def without(self, left_out: set[int]) -> Timeline:
        """Return the same without some events."""
        kept = [i for i in range(len(self.events)) if i not in left_out]
        events, traits = [self.events[i] for i in kept], [self.traits[i] for i in kept]
        return Timeline(self.subject, events, self.copies, traits)

    def up_to(self, i: int) -> Timeline:
        """Return what was lived through up to event i."""
        return Timeline(self.subject, self.events[: i + 1], self.copies, self.traits[: i + 1])

    def is_in(self, i: int, role: str | None) -> bool:
        """Return whether the subject has a role in event i; in a scope without roles it has the one there is."""
        return self.subject.scope != "user" or self.subject.name in in_role(self.events[i], role)

    def matching(self, pattern: syntax.Pattern, tz: syntax.Zone | None) -> list[int]:
        """Return the indices of the pattern's events."""
        key = (id(pattern), tz.kind if tz else "", tz.name if tz else "")
        if key not in self.matched:
            self.matched[key] = [i for i in range(len(self.events)) if self.matches(pattern, tz, i)]
        return self.matched[key]

    def matches(self, pattern: syntax.Pattern, tz: syntax.Zone | None, i: int) -> bool:
        """Return whether event i is one of the pattern's, and counts for it."""
        return i not in self.foreign and self.resets(pattern, tz, i)

    def resets(self, pattern: syntax.Pattern, tz: syntax.Zone | None, i: int) -> bool:
        """Return whether event i is one of the pattern's, and resets what that resets."""
        event, asked = self.events[i], self.asked(tz, i)
        return any(
            alternative.event.text == event.type
            and is_seen(pattern, alternative, event)
            and self.is_in(i, None if alternative.role is None else alternative.role.text)
            and (alternative.where is None or is_true(alternative.where, asked))
            for alternative in pattern.alternatives
        ) and (pattern.where is None or is_true(pattern.where, asked))

    def asked(self, tz: syntax.Zone | None, i: int) -> Asked:
        """Return what a filter is asked of at event i."""
        event = self.events[i]
        return Asked(event.fields, event.at, self.clock(tz, i), event.user)


def timelines(rules: Ruleset, events: Iterable[Event], scope: str) -> dict[Subject, Timeline]:
    """Return the timeline of every subject of a scope."""
    by_subject: defaultdict[Subject, list[Event]] = defaultdict(list)
    for event in sorted(events, key=position):
        names = named_by(rules, event) if scope == "user" else {name_in(scope, event)}
        for name in names if event.type in rules.events else ():
            if name is not None:
                by_subject[Subject(event.tenant, scope, name)].append(event)
    return {subject: timeline(rules, subject, own) for subject, own in by_subject.items()}


def timeline(rules: Ruleset, subject: Subject, events: list[Event]) -> Timeline:
    """Return the timeline of a subject from its events in canonical order."""
    counted = without_copies(rules, events)
    of_users: defaultdict[str, dict[str, Value]] = defaultdict(dict)
    after: list[Mapping[str, Value]] = []
    for event in counted:
        user = subject.name if subject.scope == "user" else event.user
        here = {
            name
            for (kind, role), names in rules.trait_events.items()
            if kind == event.type and user in in_role(event, role)
            for name in names
        }
        carried = {name: event.fields[name] for name in here if name in event.fields}
        if carried:
            of_users[user] = of_users[user] | carried
        after.append(of_users[user])
    copies = [event for event in events if subject.scope != "user" or event.user == subject.name]
    kept = [event for event in counted if subject.scope != "user" or event.user == subject.name]
    return Timeline(subject, counted, len(copies) - len(kept), after)
