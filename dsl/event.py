"""What a rule sees of an event."""

from __future__ import annotations

import msgspec

from dsl.types import Value


class Position(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """A place in a subject's canonical order: instant in microseconds, then event id by code point.

    The id "" stands before all events of the instant.
    """

    at: int
    id: str


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event as rules see it.

    `at` is `occurred_at` in microseconds UTC, `offset` the offset as written in seconds east of UTC, `fields` the
    declared payload fields that are present (null is absent), already of their declared types. The value of a list is a
    tuple (`Listed`), at which only dsl/filters.py looks.
    """

    tenant: str
    id: str
    type: str
    user: str
    at: int
    offset: int
    fields: dict[str, Value]
