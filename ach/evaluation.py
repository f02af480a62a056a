"""What comes out of a whole set of events: the same as `ach replay` prints."""

from __future__ import annotations

from secrets import randbits
from typing import TYPE_CHECKING

import msgspec

from ach.event import encoded
from ach.ready import SKEW, wall_clock
from dsl.outcome import Unlock
from worker.engine.replay import Counts, as_called, replay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ach.event import AnyEvent
    from ach.rules import Rules


class Rejection(msgspec.Struct, frozen=True):
    """What is no event: the reason of its dead letter, what is wrong, and its bytes."""

    reason: str
    detail: str
    body: bytes


class Evaluation(msgspec.Struct, frozen=True):
    """The outcome of a set of events."""

    unlocks: list[Unlock]
    """In order; what still settles at the latest event is left out."""
    counts: Counts
    rejected: list[Rejection]
    digest: str
    """A hash of unlocks and progress: two evaluations with the same hash say the same."""


def evaluate(rules: Rules, events: Iterable[AnyEvent], *, now: int | None = None) -> Evaluation:
    """Return what events earn, of any users and tenants, in any order, repeated or not.

    `now` in microseconds is what events from the future are measured by; the clock where it is not given. What is no
    event is listed and left out. A text or bytes may hold an array of events.

    Raises:
        TypeError: a value of an event has no form in JSON.
    """
    at = wall_clock() if now is None else now
    ready = rules.ready
    result, dead = replay(
        ready.ruleset.rules, ready.deployed.program, map(encoded, events), now=at, skew=SKEW, mark=randbits(62)
    )
    result = as_called(result, ready.deployed.renames)
    rejected = [Rejection(one.reason.value, one.detail, one.body) for one in dead]
    return Evaluation(result.unlocks, result.counts, rejected, result.digest)
