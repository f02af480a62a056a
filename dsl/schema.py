"""The rules of all files together, once every name in them is known to mean something.

`check` makes them from the trees of the files; `analyze` and `compile` start from here. Where `check` reported no
error, every event, field, trait, achievement and tier that a tree names can be looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dsl.built_ins import UNLOCKS
from dsl.roles import base_of, bases
from dsl.syntax import Achievement, Example
from dsl.types import FieldType, Number
from dsl.values import canonical_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsl.syntax import Pattern


class Field(msgspec.Struct, frozen=True):
    """A declared field of a payload; `low` is its lower bound."""

    name: str
    type: FieldType
    optional: bool = False
    low: Number | None = None

    @property
    def contract(self) -> str:
        """What a value must be, as it is declared: `int? >= 0`."""
        return f"{self.type}{'?' if self.optional else ''}{self.bound}"

    @property
    def bound(self) -> str:
        """The lower bound as it is declared, in its one form: ` >= 0`; empty where there is none."""
        return "" if self.low is None else f" >= {canonical_number(self.low)}"


class EventSchema(msgspec.Struct, frozen=True):
    """What is declared of one event type.

    A type that stands in `traits from` alone counts as declared, with the traits as optional fields: `traits_only`.
    `once` holds the fields of the fingerprint and the span in microseconds, None for ever.
    """

    name: str
    fields: dict[str, Field]
    once: tuple[tuple[str, ...], int | None] | None = None
    traits_only: bool = False

    @property
    def users(self) -> tuple[str, ...]:
        """The fields that name users."""
        return tuple(field.name for field in self.fields.values() if field.type.names_users)


class Rules(msgspec.Struct, frozen=True):
    """A rule set: declared events and traits, achievements with their versions ascending, examples as written.

    `unlocks` is what unlocks say, where rules count them; they are no event that is declared, or comes from outside.
    `trait_events` says which traits an event type carries, or a view of one (dsl/roles.py); `roles` which of its fields
    rules name behind `as`.
    """

    events: dict[str, EventSchema]
    traits: dict[str, FieldType]
    trait_events: dict[str, tuple[str, ...]]
    achievements: dict[str, tuple[Achievement, ...]]
    examples: tuple[Example, ...] = ()
    roles: dict[str, tuple[str, ...]] = {}
    unlocks: EventSchema | None = None

    @property
    def schemas(self) -> dict[str, EventSchema]:
        """Return what is known of the payloads of all events, with what unlocks say where they are counted."""
        return self.events if self.unlocks is None else {**self.events, self.unlocks.name: self.unlocks}

    def schema(self, event: str) -> EventSchema | None:
        """Return what is known of the payload of an event type, or a view of one."""
        name = base_of(event)
        return self.unlocks if name == UNLOCKS and self.unlocks is not None else self.events.get(name)


def is_listed(rules: Rules, types: Iterable[str], name: str) -> bool:
    """Return whether a field of some event types is a list; wherever it is declared, it is one, or nowhere."""
    fields = (fields_of(rules, event_type).get(name) for event_type in bases(types))
    return any(field is not None and field.type.element is not None for field in fields)


def fields_of(rules: Rules, event: str) -> Mapping[str, Field]:
    """Return the fields of an event type, or a view of one."""
    schema = rules.schema(event)
    return {} if schema is None else schema.fields


def fields_in(rules: Rules, pattern: Pattern, name: str) -> list[Field | None]:
    """Return what a field may be in the events of a pattern, None for a type without it."""
    types = sorted(bases(each for one in pattern.alternatives if one.counts is None for each in one.types))
    found = [fields_of(rules, event).get(name) for event in types]
    for one in pattern.alternatives:
        if one.counts is not None:
            known = one.counts.fields.get(name)
            found.append(None if known is None else Field(name, known.type, optional=True, low=known.low))
    return found
