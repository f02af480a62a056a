"""Drawn events as producers write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dsl.calendar import format_instant
from tests.reference.strategies import SECOND

if TYPE_CHECKING:
    from dsl.event import Event


def body_of(event: Event) -> bytes:
    """Return an event as JSON text; decimals as strings, which the contract takes for the same."""
    payload = {
        name: format_instant(value) if name == "t" and isinstance(value, int) else value
        for name, value in event.fields.items()
    }
    return with_payload(event, payload)


def with_payload(event: Event, payload: object) -> bytes:
    """Return an event as JSON text, with another payload than its fields."""
    sign, minutes = "-" if event.offset < 0 else "+", abs(event.offset) // 60
    local = format_instant(event.at + event.offset * SECOND).removesuffix("Z")
    said = {
        "event_id": event.id,
        "event_type": event.type,
        "user_id": event.user,
        "tenant_id": event.tenant,
        "occurred_at": f"{local}{sign}{minutes // 60:02d}:{minutes % 60:02d}",
        "payload": payload,
    }
    return json.dumps(said, default=str).encode()
