"""The events of the benchmark: seeded, some 245 bytes of JSON each, in the order in which they are published. Pure.

People come for a while and do several things, then others come: events lie in sessions. Some users do most of the work,
as everywhere: a user's weight is one by their rank, to the power of `Shape.skew`. Late events arrive up to twelve hours
after they happened, so that busy users have done something else in between.
"""

from __future__ import annotations

import json
from bisect import bisect
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.contract.partition import partition_of, shared_subject

if TYPE_CHECKING:
    from collections.abc import Sequence

SEED: Final = 1
TENANT: Final = "acme"
BEGINNING: Final = 1_767_225_600_000_000
"""1 January 2026, microseconds since the epoch."""
DAY: Final = 86_400_000_000
"""Microseconds."""
LATE_BY: Final = DAY // 2
"""Microseconds by which a late event arrives late at the most."""
PAUSE: Final = 40_000_000
"""Microseconds between two events of a session, in the mean."""
COPY_AFTER: Final = 2000
"""Places behind its original at which a duplicate is published at the most."""

LESSON: Final = "lesson.completed"
TUTORIAL: Final = "tutorial.finished"
PROJECT: Final = "project.created"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_AMOUNT: Final = 40


class Event(NamedTuple):
    """One event: its bytes, and what they mean. `at` is in microseconds since the epoch."""

    id: str
    user: str
    type: str
    at: int
    lesson: str
    """Empty, as `amount` is 0, where it is no lesson."""
    amount: int
    body: bytes


class Shape(NamedTuple):
    """What a load is like."""

    events: int
    users: int = 0
    """0: one for 100 events, which is a session a day, and 500 at least."""
    days: int = 20
    """In which all of it happens, so that streaks are possible."""
    late: float = 0.02
    """Share of the events that arrive late."""
    duplicates: float = 0.0
    """Share of the events that are published twice."""
    skew: float = 0.6
    """0: all users do the same."""
    lessons: int = 50
    session: int = 5
    """Events of a session in the mean; 1: nobody stays."""

    @property
    def number_of_users(self) -> int:
        """How many users there are."""
        return self.users or max(500, self.events // 100)


def make(shape: Shape, seed: int = SEED) -> list[Event]:
    """Return events in the order of publishing, duplicates among them; the same shape and seed, the same bytes."""
    dice = Random(seed)  # noqa: S311 - reproducible on purpose
    weights = list(accumulate((rank + 1) ** -shape.skew for rank in range(shape.number_of_users)))
    arriving: list[tuple[int, int, Event]] = []
    step = shape.days * DAY / shape.events
    user, at, left = 0, BEGINNING, 0
    for number in range(shape.events):
        if left:
            at += int(dice.expovariate(1 / PAUSE))
        else:
            at = BEGINNING + int((number + dice.random()) * step)
            user = bisect(weights, dice.random() * weights[-1])
            left = dice.randint(1, 2 * shape.session - 1)
        left -= 1
        event = _event(dice, at, f"u{min(user, len(weights) - 1):07d}", shape.lessons)
        late = dice.randint(1, LATE_BY) if dice.random() < shape.late else 0
        arriving.append((at + late, number, event))
        if dice.random() < shape.duplicates:
            again = dice.randint(1, COPY_AFTER)
            arriving.append((at + late + int(again * step), number, event))
    arriving.sort(key=lambda each: each[:2])
    return [event for _, _, event in arriving]


def _event(dice: Random, at: int, user: str, lessons: int) -> Event:
    kind = dice.choices((LESSON, TUTORIAL, PROJECT), (90, 5, 5))[0]
    lesson, amount = (f"l{dice.randint(1, lessons)}", dice.randint(1, _MAX_AMOUNT)) if kind == LESSON else ("", 0)
    payload: dict[str, object] = {"device": dice.choice(("phone", "tablet", "laptop"))}
    if lesson:
        payload |= {"lesson_id": lesson, "amount": amount}
    identity = _uuid7(dice, at)
    said = {
        "event_id": identity,
        "event_type": kind,
        "user_id": user,
        "tenant_id": TENANT,
        "occurred_at": instant(at),
        "source": "app",
        "payload": payload,
    }
    return Event(identity, user, kind, at, lesson, amount, json.dumps(said, separators=(",", ":")).encode())


def _uuid7(dice: Random, at: int) -> str:
    """Return a time-ordered UUID (version 7) of a moment in microseconds."""
    number = (at // 1000) << 80 | 7 << 76 | dice.getrandbits(12) << 64 | 2 << 62 | dice.getrandbits(62)
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def instant(at: int) -> str:
    """Return microseconds since the epoch as RFC 3339."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Message(NamedTuple):
    """A message to publish, and the events in it."""

    subject: str
    body: bytes
    events: Sequence[Event]


def messages(events: Sequence[Event], per: int, lanes: int = 1) -> list[Message]:
    """Return events as messages: one each, or in JSON arrays of `per`.

    With several lanes each has its users, as a mapping of the broker deals them out, and arrays of its own.
    """
    found: list[Message] = []
    waiting: list[list[Event]] = [[] for _ in range(lanes)]
    for event in events:
        lane = partition_of(TENANT, "user", event.user) % lanes
        waiting[lane].append(event)
        if len(waiting[lane]) == per:
            found.append(_message(waiting[lane], per, prefix_of(lane, lanes)))
            waiting[lane] = []
    found.extend(_message(rest, per, prefix_of(lane, lanes)) for lane, rest in enumerate(waiting) if rest)
    return found


def prefix_of(lane: int, lanes: int) -> str:
    """Return how the subjects of a lane begin."""
    return "events" if lanes == 1 else f"lane.{lane}"


def _message(events: Sequence[Event], per: int, prefix: str) -> Message:
    if per == 1:
        (event,) = events
        return Message(f"{prefix}.{TENANT}.{event.user}.{event.type}", event.body, events)
    return Message(shared_subject(prefix, TENANT), b"[" + b",".join([one.body for one in events]) + b"]", events)
