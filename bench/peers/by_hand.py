"""The five rules by hand, for exactly these events: the tables, a user's state, and the fold, for both peers by hand.

Events are taken in the order in which they arrive, as most such code does: a late one is counted, but it neither
mends a streak nor moves an earned_at.
"""

# The numbers are those of the rules, each in its one place.
# ruff: noqa: PLR2004

from __future__ import annotations

import os
from datetime import date, datetime, timedelta
from typing import Final

import msgspec

TABLES: Final = """
CREATE TABLE event (
    event_id uuid PRIMARY KEY, user_id text NOT NULL, event_type text NOT NULL, occurred_at timestamptz NOT NULL,
    payload jsonb NOT NULL
);
CREATE TABLE progress (user_id text PRIMARY KEY, state jsonb NOT NULL) WITH (fillfactor = 60);
CREATE TABLE unlock (
    user_id text, achievement text, earned_at timestamptz NOT NULL, PRIMARY KEY (user_id, achievement)
);
"""
WEEK: Final = timedelta(days=7)
DAY: Final = timedelta(days=1)


class Payload(msgspec.Struct, gc=False):
    """What the rules read of a payload."""

    lesson_id: str = ""
    amount: int = 0


class Event(msgspec.Struct, gc=False):
    """An event."""

    event_id: str
    event_type: str
    user_id: str
    occurred_at: datetime
    payload: msgspec.Raw


class State(msgspec.Struct, omit_defaults=True):
    """How far a user is."""

    lessons: int = 0
    different: set[str] = set()
    total: int = 0
    day: date = date.min
    run: int = 0
    tutorial: datetime | None = None
    project: datetime | None = None
    earned: set[str] = set()


_one = msgspec.json.Decoder(Event)
_many = msgspec.json.Decoder(list[Event])
_payload = msgspec.json.Decoder(Payload)
read_state: Final = msgspec.json.Decoder(State).decode
write_state: Final = msgspec.json.Encoder().encode


def read(body: bytes) -> list[Event]:
    """Return the events of a message: one, or an array."""
    return _many.decode(body) if body.startswith(b"[") else [_one.decode(body)]


def fold(state: State, event: Event) -> list[str]:
    """Change a state by one more event, and return what it earns."""
    at = event.occurred_at
    if event.event_type == "tutorial.finished":
        state.tutorial = at
    elif event.event_type == "project.created":
        state.project = state.tutorial
    if event.event_type != "lesson.completed":
        return []
    payload = _payload.decode(event.payload)
    state.lessons += 1
    state.different.add(payload.lesson_id)
    state.total += payload.amount
    if at.date() > state.day:
        state.run = state.run + 1 if at.date() - state.day == DAY else 1
        state.day = at.date()
    now = {
        "hundred": state.lessons >= 100,
        "ten_different": len(state.different) >= 10,
        "big": state.total >= 1000,
        "week": state.run >= 7,
        "path": state.project is not None and at - state.project < WEEK,
    }
    earned = [name for name, holds in now.items() if holds and name not in state.earned]
    state.earned.update(earned)
    return earned


def announcement(user: str, achievement: str) -> tuple[str, bytes, dict[str, str]]:
    """Return the subject, body and headers by which an unlock is announced."""
    body = msgspec.json.encode({"user_id": user, "achievement": achievement})
    return f"unlocks.acme.{user}.{achievement}", body, {"Nats-Msg-Id": f"{user}:{achievement}"}


def servers() -> tuple[str, str]:
    """Return the addresses of the broker and of the database."""
    return os.environ["NATS_URL"], os.environ["DATABASE_URL"]
