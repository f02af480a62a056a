"""An event as an application makes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeAlias

import msgspec

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fact about a user, in the fields of the envelope that producers publish.

    `event_id` is unique within the tenant and the same at every attempt to send the event. `occurred_at` is an aware
    `datetime`, or text as in RFC 3339. Numbers in the payload are `int`, `Decimal` or `float`.
    """

    event_id: str
    tenant_id: str
    user_id: str
    event_type: str
    occurred_at: datetime | str
    source: str | None = None
    payload: Mapping[str, object] = {}

    def encode(self) -> bytes:
        """Return the envelope as JSON: what is published for the worker, byte for byte."""
        return encoded(self)


AnyEvent: TypeAlias = Event | Mapping[str, object] | bytes | str
"""An event: typed, as a mapping with the same fields, or as the JSON text of the envelope."""


def encoded(event: AnyEvent) -> bytes:
    """Return an event as JSON.

    Raises:
        TypeError: a value in it has no form in JSON.
    """
    if isinstance(event, bytes):
        return event
    return event.encode() if isinstance(event, str) else _encode(event)
