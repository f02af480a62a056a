"""What the servers said last of what waits there: for metrics, and the same from every worker. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from worker.engine.silence import Silence


class Backlog(NamedTuple):
    """What the consumer has not acknowledged yet."""

    pending: int
    """Messages that were not delivered yet."""
    unacknowledged: int
    """Messages that were delivered, and are not acknowledged."""
    oldest_at: int | None
    """When the broker stored the oldest of both, in microseconds; None where there is none, or it does not say."""


class Outbox(NamedTuple):
    """What waits to be announced: unlocks, corrections, and since when the oldest of each does, in microseconds."""

    unlocks: int
    oldest_unlock_at: int | None
    corrections: int
    oldest_correction_at: int | None

    @property
    def oldest_at(self) -> int | None:
        """Since when the oldest of all waits; None where nothing does."""
        return min((at for at in (self.oldest_unlock_at, self.oldest_correction_at) if at is not None), default=None)


class Building(NamedTuple):
    """A backfill of one scope that has not come to its end."""

    since: int
    """Microseconds."""
    current: int
    """Stored states that the rules in force have folded; an estimate where there are many."""
    stale: int
    """Stored states of earlier rules, likewise."""


class Observed(msgspec.Struct):
    """What was seen last; None where a server does not say at the moment."""

    backlog: Backlog | None = None
    outbox: Outbox | None = None
    building: dict[str, Building] | None = None
    """By scope."""
    built: dict[str, int] = {}
    """By scope: how long the last backfill took that this worker has seen the end of, in microseconds."""
    letters: dict[str, int] | None = None
    """Dead letters that wait to be sent again or deleted, by reason."""
    workers: dict[str, int] | None = None
    """Workers of the last day, by state."""
    grants: Silence = msgspec.field(default_factory=Silence)
    whole: bool = False
    """Whether `grants` knows all of its past."""
