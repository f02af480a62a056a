"""Rules ready for use, and events as the engine reads them under these rules."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Final

from ach.errors import EventError
from ach.event import encoded
from worker.contract.fields import MAX_MESSAGE_BYTES
from worker.contract.strict_reader import Accepted, Rejected, element_of
from worker.engine.decoding import subjects_of
from worker.engine.entries import Catalogue
from worker.engine.replay import Taken
from worker.engine.rule_set import Deployed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ach.event import AnyEvent
    from dsl.ruleset import RuleSet

SKEW: Final = 300 * 1_000_000
"""Microseconds that an event may be ahead of the clock: what a worker allows by default."""
_END_OF_TIME: Final = 1 << 62
"""Microseconds: nothing that was read once is from the future."""
_PREFIX: Final = "events"
"""Of subjects; it does not matter here, as nothing comes on one."""


class Ready:
    """A rule set without errors, with its contracts and words."""

    def __init__(self, ruleset: RuleSet) -> None:
        self.ruleset = ruleset
        self.deployed = Deployed(1, ruleset, since={}, prefix=_PREFIX, skew=SKEW)
        self.catalogue = Catalogue(self.deployed)

    def read_again(self, bodies: Sequence[bytes]) -> list[Taken]:
        """Return events that were read before, each from a body of its own.

        Raises:
            EventError: one of them is no event by these rules.
        """
        size = sum(map(len, bodies)) + len(bodies)
        if size < MAX_MESSAGE_BYTES:
            found = self.deployed.contract.read_trusted(b"[%b]" % b",".join(bodies), now=_END_OF_TIME)
            events = [one.event for one in found if isinstance(one, Accepted)]
            if len(events) == len(found) == len(bodies):
                return [Taken(event, body, 0) for event, body in zip(events, bodies, strict=True)]
        return [self.read(body, now=_END_OF_TIME) for body in bodies]

    def read(self, event: AnyEvent, *, now: int | None = None) -> Taken:
        """Return an event as the engine reads it; `now` in microseconds is what the future is measured by.

        Raises:
            EventError: a worker would make a dead letter of it.
        """
        body = encoded(event)
        found = self.deployed.contract.read_trusted(body, now=wall_clock() if now is None else now)
        if len(found) != 1:
            raise EventError("invalid_event", f"expected one event, got an array of {len(found)}")
        one = found[0]
        if isinstance(one, Rejected):
            raise EventError(one.reason.value, one.detail)
        if isinstance(wrong := subjects_of(self.deployed.program, one.event), str):
            raise EventError("contract", wrong)
        return Taken(one.event, element_of(body, 0), 0)


def wall_clock() -> int:
    """Return the time, in microseconds since the epoch."""
    return time_ns() // 1000
