"""Replays recorded events in this process, through the contract and the fold. Pure: no server is needed.

The result is that of a worker after the same stream, with its counts of duplicate, late, suppressed and dead events.
Messages are read many at a time, as in a worker, which costs a fifth of reading them one by one.
"""

from __future__ import annotations

from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.outcome import Unlock, digest, run
from worker.contract.bulk_reader import each_of
from worker.contract.partition import raw_subject
from worker.contract.reasons import Reason
from worker.contract.sameness import Written, same_body, stored_body, written_of
from worker.contract.strict_reader import Contract, Rejected, element_of
from worker.contract.transport import NOWHERE
from worker.engine.decoding import PIECE, subjects_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.compile import Program
    from dsl.event import Event
    from dsl.schema import Rules


READ_TOGETHER: Final = 1024
"""Messages that are read at once; of larger pieces less stays in the processor's cache."""
_PREFIX: Final = "events"
"""Of subjects; it does not matter here, as recorded messages have none."""


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
    """Takes messages in the order of arrival: reads them by the contract, drops duplicates, and counts.

    `skew` is in microseconds, `mark` a secret number as in `Contract`; without one, only arrays are read in bulk.
    """

    def __init__(self, rules: Rules, program: Program, *, skew: int, mark: int | None = None) -> None:
        self.contract = Contract(rules.events, prefix=_PREFIX, skew=skew, mark=mark)
        self.program = program
        self.counts = Counts()
        self.accepted: dict[tuple[str, str], Taken] = {}
        self.dead: list[Rejected] = []
        self._latest: dict[tuple[str, str], tuple[int, str]] = {}
        self._subject = raw_subject(_PREFIX)

    def take_all(self, messages: Iterable[bytes], *, now: int) -> None:
        """Take messages; `now` in microseconds is what the future is measured by."""
        waiting = iter(messages)
        while bodies := [*islice(waiting, READ_TOGETHER)]:
            if self._take_plain(bodies, now):
                continue
            for at in range(0, len(bodies), PIECE):
                piece = bodies[at : at + PIECE]
                if not self._take_plain(piece, now):
                    for body in piece:
                        self.take(body, now=now)

    def take(self, body: bytes, *, now: int) -> None:
        """Take one message; `now` in microseconds is what the future is measured by."""
        for element, item in enumerate(self.contract.read_trusted(body, now=now)):
            if isinstance(item, Rejected):
                self._bury(item)
            elif isinstance(wrong := subjects_of(self.program, item.event), str):
                self._bury(Rejected(Reason.CONTRACT, wrong, element_of(body, element)))
            else:
                self._accept((Taken(item.event, item.envelope or body, element),))

    def _take_plain(self, bodies: Sequence[bytes], now: int) -> bool:
        """Take messages that the bulk reader can read; False where one of them is not plain, and none is taken."""
        count = len(bodies)
        plain = self.contract.plain.read([self._subject] * count, bodies, now=now, ends=[NOWHERE] * count)
        if plain is None or (plain.sizes is not None and 0 in plain.sizes):
            return False
        if plain.sizes is None:
            self._accept(map(Taken, plain.events, bodies, repeat(0)))
        else:
            elements = chain.from_iterable(map(range, plain.sizes))
            self._accept(map(Taken, plain.events, each_of(bodies, plain.sizes), elements))
        return True

    def _accept(self, items: Iterable[Taken]) -> None:
        accepted, latest, for_users = self.accepted, self._latest, self.program.for_users
        for item in items:
            event = item.event
            if event.type not in for_users and isinstance(wrong := subjects_of(self.program, event), str):
                self._bury(Rejected(Reason.CONTRACT, wrong, element_of(item.body, item.element)))
                continue
            known = accepted.setdefault((event.tenant, event.id), item)
            if known is not item:
                self._repeated(item, known)
                continue
            self.counts.events += 1
            user, position = (event.tenant, event.user), (event.at, event.id)
            if position < latest.get(user, position):
                self.counts.late += 1
            else:
                latest[user] = position

    def _repeated(self, item: Taken, known: Taken) -> None:
        """Count an event whose id is known."""
        if same_body(item.event, item.written, stored_body(known.event, known.written)):
            self.counts.duplicates += 1
        else:
            detail = f"event_id: {item.event.id} is known with another body"
            self._bury(Rejected(Reason.ID_CONFLICT, detail, item.body))

    def _bury(self, item: Rejected) -> None:
        self.counts.dead += 1
        self.dead.append(item)


def replay(  # noqa: PLR0913 - each by name
    rules: Rules,
    program: Program,
    messages: Iterable[bytes],
    *,
    now: int,
    skew: int,
    mark: int | None = None,
    until: int | None = None,
) -> tuple[Result, list[Rejected]]:
    """Fold a recorded stream; return the result and the dead letters.

    With `until`, events that occurred then or later are passed over, and the clock stands there; otherwise it is the
    latest event. `now`, `until` and `skew` in microseconds; `mark` is a secret number of up to 62 bits, as in
    `Contract`.
    """
    intake = Intake(rules, program, skew=skew, mark=mark)
    intake.take_all(messages, now=now)
    events = (item.event for item in intake.accepted.values())
    outcome = run(program, [event for event in events if until is None or event.at < until], until)
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
