"""Roles: what an event is in the history of each user that it names.

An event belongs to the history of its user, the *actor*, and of every user that a field of type `user` or `[user]`
names. What a user's plan dispatches on is a *view*: the event's type where the user is nothing but its actor (`like`),
otherwise the type with the roles of the user (`like as author`, `like as actor+author`). A pattern matches the views
with its role in them, so one event is once in a history; a type that no rule names in a role has no views.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Final

from dsl.built_ins import ACTOR
from dsl.event import Event

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence


AS: Final = " as "
"""Between the type and the roles of a view; no declared type has a space."""
MOST_ROLES: Final = 5
"""Fields that rules may name behind `as` for one event type: there is a view for every set of roles."""
PSEUDONYM: Final = "~erased~"
"""What a name begins with that stands for an erased user; no event is taken from or about a user called like that."""


def view_name(event_type: str, roles: Sequence[str]) -> str:
    """Return the view of an event type in some roles, the actor first."""
    return event_type if tuple(roles) == (ACTOR,) else f"{event_type}{AS}{'+'.join(roles)}"


def base_of(name: str) -> str:
    """Return the event type of a view."""
    return name.partition(AS)[0]


def roles_in(name: str) -> tuple[str, ...]:
    """Return the roles of a view."""
    _, _, roles = name.partition(AS)
    return tuple(roles.split("+")) if roles else (ACTOR,)


def has_actor(name: str) -> bool:
    """Tell whether the user of a view is the actor."""
    return ACTOR in roles_in(name)


def bases(names: Iterable[str]) -> frozenset[str]:
    """Return the event types of views."""
    return frozenset(map(base_of, names))


def views(event_type: str, fields: Sequence[str]) -> Iterator[str]:
    """Yield every view of a type whose rules name some fields in roles."""
    roles = (ACTOR, *fields)
    for size in range(1, len(roles) + 1):
        for chosen in combinations(roles, size):
            yield view_name(event_type, chosen)


def seen(event_type: str, role: str, fields: Sequence[str]) -> tuple[str, ...]:
    """Return the views of a type that have a role in them."""
    return tuple(view for view in views(event_type, fields) if role in roles_in(view))


def is_pseudonym(user: str) -> bool:
    """Tell whether a name stands for an erased user, who has no history."""
    return user.startswith(PSEUDONYM)


class Roles:
    """The users that events name: per event type, fields that are declared to, and those that rules name in roles."""

    def __init__(self, declared: Mapping[str, Sequence[str]], used: Mapping[str, Sequence[str]]) -> None:
        self._used = {name: tuple(fields) for name, fields in used.items()}
        self._fields = {name: tuple(fields) for name, fields in declared.items() if fields}
        self._bits = {name: self._bits_of(name) for name in self._fields}
        self._views = {name: _views_by_bits(name, self._used.get(name, ())) for name in self._fields}
        self.types = frozenset(self._used)
        """Event types with fields that rules name in roles."""
        self.naming = frozenset(self._fields)
        """Event types that name users beside the actor, whether or not a rule asks for them."""
        self.fields = frozenset(field for fields in self._fields.values() for field in fields)
        """The fields that name them, in whatever event."""

    def _bits_of(self, event_type: str) -> tuple[tuple[str, int], ...]:
        used = self._used.get(event_type, ())
        return tuple((field, 2 << used.index(field) if field in used else 0) for field in self._fields[event_type])

    def parts(self, event: Event) -> dict[str, int]:
        """Return the roles of each user in an event that names users, its actor first; roles are bits of a number."""
        found, fields = {event.user: 1}, event.fields
        for field, bit in self._bits[event.type]:
            value: object = fields.get(field)
            if value is None:
                continue
            if isinstance(value, str):
                found[value] = found.get(value, 0) | bit
            else:
                for user in users_in(event, field):
                    found[user] = found.get(user, 0) | bit
        return found

    def views_of(self, event_type: str) -> Sequence[str]:
        """Return the views of a type by the number that its roles make."""
        return self._views[event_type]

    def named(self, event: Event) -> tuple[str, ...]:
        """Return the users beside the actor that an event names, once each, in order."""
        fields = self._fields.get(event.type)
        if fields is None:
            return ()
        found = {user for field in fields for user in users_in(event, field)}
        found.discard(event.user)
        return tuple(sorted(found))

    def reserved(self, event: Event) -> str | None:
        """Return the first field that names a pseudonym, which only the engine may."""
        fields = self._fields.get(event.type, ())
        return next((field for field in fields if any(map(is_pseudonym, users_in(event, field)))), None)

    def fields_of(self, event_type: str) -> tuple[str, ...]:
        """Return the fields of a type that name users."""
        return self._fields.get(event_type, ())

    def seen_by(self, event: Event, user: str) -> Event:
        """Return an event as it is in the history of a user; in a view of no role where rules ask for none."""
        used = self._used.get(event.type)
        if is_pseudonym(user):
            return _viewed(event, ())
        if used is None:
            return event if event.user == user else _viewed(event, ())
        roles = [field for field in used if user in users_in(event, field)]
        if event.user == user:
            if not roles:
                return event
            roles.insert(0, ACTOR)
        return _viewed(event, roles)


def _views_by_bits(event_type: str, used: Sequence[str]) -> tuple[str, ...]:
    roles = (ACTOR, *used)
    return tuple(
        view_name(event_type, [role for at, role in enumerate(roles) if bits >> at & 1])
        for bits in range(1 << len(roles))
    )


def seen_as(event: Event, view: str) -> Event:
    """Return an event as it is in a view."""
    if event.type == view:
        return event
    return Event(event.tenant, event.id, view, event.user, event.at, event.offset, event.fields)


def _viewed(event: Event, roles: Sequence[str]) -> Event:
    name = view_name(event.type, roles)
    return Event(event.tenant, event.id, name, event.user, event.at, event.offset, event.fields)


def users_in(event: Event, field: str) -> Collection[str]:
    """Return the users that a field of an event names."""
    value = event.fields.get(field)
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value if isinstance(value, tuple | list) else ()
