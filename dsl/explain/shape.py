"""What an explanation consists of: plain values, the same in text and in JSON.

Instants are RFC 3339 in UTC with microseconds, as in unlocks. A list may grow longer and an object may get further
members; what is here keeps its name and its meaning.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from dsl.outcome import full_name
from dsl.progress import Amount

Outcome = Literal["earned", "settling", "not yet"]
Effect = Literal["counts", "again", "starts afresh", "copy", "filtered", "unseen", "no field", "other"]
"""What an event did to a part: counted; matched and added nothing; reset it (`unless`); was a copy that
`once per` drops; did not pass a filter; lay outside of `active` or before `fresh`; had not the field that is asked for;
or earned or moved something without being counted, also a trait that is read, or an achievement that is named."""


class Progress(msgspec.Struct, frozen=True):
    """How far: a fraction of 1 as text (`7/10`), and for what is counted the numbers."""

    fraction: str
    current: Amount | None
    target: Amount | None


class Part(msgspec.Struct, frozen=True):
    """One part of a condition at the moment of the explanation.

    `since` is its latest start, `span_seconds` from there to the moment; both None while it does not hold, or where
    it is unknown (the sum of a field that may be negative). `held_at` is when it first held. `missing` says what is
    missing, a step a line.
    """

    path: str
    text: str
    holds: bool
    since: str | None
    span_seconds: Amount | None
    held_at: str | None
    progress: Progress
    missing: list[str]
    parts: list[Part]


class Requirement(msgspec.Struct, frozen=True):
    """A clause beside the `when`: `version`, `active`, `for` or `after`; whether it is met, and the facts."""

    clause: str
    text: str
    holds: bool
    detail: str


class Did(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an event did to one part, named by its path.

    `progress` is that of the part after the event, in the span that ends at it; only where the event counts or resets.
    """

    part: str
    effect: Effect
    text: str
    progress: Progress | None = None


class Happened(msgspec.Struct, frozen=True):
    """One event that mattered, in canonical order."""

    occurred_at: str
    event_id: str
    event_type: str
    user_id: str
    did: list[Did]


class Had(msgspec.Struct, frozen=True):
    """One occurrence that the subject has earned."""

    occurrence: str | None
    version: int
    earned_at: str


class Tie(msgspec.Struct, frozen=True):
    """Events of one instant whose order, that of their ids, decided; `text` says what another order would give."""

    occurred_at: str
    event_ids: list[str]
    text: str


class Explanation(msgspec.Struct, frozen=True):
    """Why a subject has an achievement (and tier, and occurrence), or has it not yet."""

    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str | None
    occurrence: str | None
    version: int
    now: str
    outcome: Outcome
    earned_at: str | None
    earned_by: str | None
    """The id of the event that earned it; at the begin of a version, of the last event before that it has heard."""
    at_begin: bool
    """Whether it was earned at the begin of the version, on the events before, and by no event."""
    settles_at: str | None
    when: Part
    requirements: list[Requirement]
    missing: list[str]
    """Everything that is missing, a step a line; empty once earned."""
    events: list[Happened]
    """Once earned: the events that alone would have earned it at the same event; the last one is that event. What was
    earned at the begin of a version has those before it that would have earned it then.

    Else: all that concerned it since it began.
    """
    had: list[Had]
    ties: list[Tie]
    """Instants at which the order of the ids decided."""

    @property
    def name(self) -> str:
        """`NAME` or `NAME.TIER`."""
        return full_name(self.achievement, self.tier)
