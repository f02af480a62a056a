"""The rules of all files together, once every name in them is known to mean something.

`check` makes them from the trees of the files; `analyze` and `compile` start from here. Where `check` reported no
error, every event, field, trait, achievement and tier that a tree names can be looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dsl.roles import bases
from dsl.syntax import Achievement, Example
from dsl.types import FieldType, Number
from dsl.values import canonical_number

if TYPE_CHECKING:
    from collections.abc import Iterable


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

    `trait_events` says which traits an event type carries, or a view of one (dsl/roles.py); `roles` which of its fields
    rules name behind `as`.
    """

    events: dict[str, EventSchema]
    traits: dict[str, FieldType]
    trait_events: dict[str, tuple[str, ...]]
    achievements: dict[str, tuple[Achievement, ...]]
    examples: tuple[Example, ...] = ()
    roles: dict[str, tuple[str, ...]] = {}


def is_listed(rules: Rules, types: Iterable[str], name: str) -> bool:
    """Return whether a field of some event types is a list; wherever it is declared, it is one, or nowhere."""
    fields = (rules.events[event_type].fields.get(name) for event_type in bases(types))
    return any(field is not None and field.type.element is not None for field in fields)
