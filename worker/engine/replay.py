"""Replays recorded events in this process, through the contract and the fold. Pure: no server is needed.

The result is that of a worker after the same stream, with its counts of duplicate, late, suppressed and dead events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dsl.event import Position
from dsl.outcome import Unlock, digest, run
from worker.contract.reasons import Reason
from worker.contract.sameness import Written, same_body, stored_body, written_of
from worker.contract.strict_reader import Contract, Rejected, element_of
from worker.engine.decoding import subjects_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.compile import Program
    from dsl.event import Event
    from dsl.schema import Rules


class Counts(msgspec.Struct):
    """The counts of a replay. `events` are distinct and accepted; `late` ones came after a later one of their user."""

    events: int = 0
    duplicates: int = 0
    late: int = 0
    suppressed: int = 0
    dead: int = 0


class Result(msgspec.Struct, frozen=True):
    """What `ach replay --json` prints. `contested` depends on the order of arrival; in this process there are none."""

    digest: str
    unlocks: list[Unlock]
    contested: list[Unlock]
    counts: Counts


class Taken(NamedTuple):
    """An event, with the message that it came in and its index there."""

    event: Event
    body: bytes
    element: int

    @property
    def written(self) -> Written:
        """What is kept of it as received."""
        return written_of(element_of(self.body, self.element))


class Intake:
    """Takes messages in the order of arrival: reads them by the contract, drops duplicates, and counts."""

    def __init__(self, contract: Contract, program: Program) -> None:
        self.contract = contract
        self.program = program
        self.counts = Counts()
        self.accepted: dict[tuple[str, str], Taken] = {}
        self.dead: list[Rejected] = []
        self._latest: dict[tuple[str, str], Position] = {}

    def take(self, body: bytes, *, now: int) -> None:
        """Take one message; `now` in microseconds is what the future is measured by."""
        for element, item in enumerate(self.contract.read_trusted(body, now=now)):
            if isinstance(item, Rejected):
                self._bury(item)
            elif isinstance(detail := subjects_of(self.program, item.event), str):
                self._bury(Rejected(Reason.CONTRACT, detail, element_of(body, element)))
            else:
                self._accept(Taken(item.event, item.envelope or body, element))

    def _accept(self, item: Taken) -> None:
        event = item.event
        known = self.accepted.get((event.tenant, event.id))
        if known is not None:
            if same_body(event, item.written, stored_body(known.event, known.written)):
                self.counts.duplicates += 1
            else:
                self._bury(Rejected(Reason.ID_CONFLICT, f"event_id: {event.id} is known with another body", item.body))
            return
        self.accepted[event.tenant, event.id] = item
        self.counts.events += 1
        position, latest = Position(event.at, event.id), self._latest.get((event.tenant, event.user))
        if latest is not None and position < latest:
            self.counts.late += 1
        else:
            self._latest[event.tenant, event.user] = position

    def _bury(self, item: Rejected) -> None:
        self.counts.dead += 1
        self.dead.append(item)


def replay(
    rules: Rules, program: Program, messages: Iterable[bytes], *, now: int, skew: int
) -> tuple[Result, list[Rejected]]:
    """Fold a recorded stream; return the result and the dead letters. `now` and `skew` in microseconds."""
    intake = Intake(Contract(rules.events, prefix="events", skew=skew), program)
    for body in messages:
        intake.take(body, now=now)
    outcome = run(program, [item.event for item in intake.accepted.values()])
    intake.counts.suppressed = outcome.suppressed
    hashed = digest(program, outcome.unlocks, outcome.states)
    return Result(hashed, outcome.unlocks, [], intake.counts), intake.dead


class Difference(msgspec.Struct, frozen=True):
    """How a result differs from the one expected."""

    missing: list[Unlock]
    unexpected: list[Unlock]
    digest: tuple[str, str] | None


class Expected(msgspec.Struct, frozen=True):
    """A stored result; all but the unlocks may be left out."""

    unlocks: list[Unlock]
    digest: str | None = None


def compare(result: Result, expected: Expected) -> Difference | None:
    """Return the difference between a result and the one expected, None where there is none."""
    got, wanted = set(result.unlocks), set(expected.unlocks)
    missing = sorted(wanted - got, key=lambda unlock: unlock.order)
    unexpected = sorted(got - wanted, key=lambda unlock: unlock.order)
    other = expected.digest is not None and expected.digest != result.digest
    if not missing and not unexpected and not other:
        return None
    return Difference(missing, unexpected, (expected.digest or "", result.digest) if other else None)
