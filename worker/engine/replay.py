"""Replays recorded events in this process, through the contract and the fold. Pure: no server is needed.

The result is that of a worker after the same stream, with its counts of duplicate, late, suppressed and dead events.
Messages are read many at a time, as in a worker, which costs a fifth of reading them one by one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from itertools import accumulate, chain, count, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.outcome import Unlock, by_subject, hash_of, unlock_line
from dsl.roles import is_pseudonym
from worker.contract.bulk_reader import each_of
from worker.contract.fields import is_array
from worker.contract.partition import raw_subject
from worker.contract.reasons import Reason
from worker.contract.sameness import Written, same_body, stored_body, written_of
from worker.contract.strict_reader import Contract, Rejected, element_of
from worker.engine.decoding import PIECE, subjects_of
from worker.engine.subject_folds import events_of_users, fold_subjects, hears_own_events, put_in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.compile import Program
    from dsl.event import Event
    from dsl.schema import Rules
    from worker.contract.bulk_reader import Recorded
    from worker.engine.renames import Renames


READ_TOGETHER: Final = 512
"""Messages that are read at once; of larger pieces less stays in the processor's cache."""
PREFIX: Final = "events"
"""Of subjects; it does not matter here, as recorded messages have none."""


class Counts(msgspec.Struct):
    """The counts of a replay. `events` are distinct and accepted; `late` ones came after a later one of their user."""

    events: int = 0
    duplicates: int = 0
    late: int = 0
    suppressed: int = 0
    dead: int = 0

    def add(self, other: Counts) -> None:
        """Count what was counted elsewhere."""
        self.events += other.events
        self.duplicates += other.duplicates
        self.late += other.late
        self.suppressed += other.suppressed
        self.dead += other.dead


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
    place: int = 0
    """Of the message, among all."""

    @property
    def own_body(self) -> bytes:
        """The message, or its element of it."""
        return element_of(self.body, self.element)

    @property
    def written(self) -> Written:
        """What is kept of it as received."""
        return written_of(self.own_body)


class Buried(NamedTuple):
    """A dead letter, and where it stood: the place of its message, and the index in it."""

    place: int
    element: int
    rejected: Rejected


def in_order(buried: Iterable[Buried]) -> list[Rejected]:
    """Return dead letters in the order in which they came."""
    return [one.rejected for one in sorted(buried, key=itemgetter(0, 1))]


class _Zeros:
    """Zeros without end: each message is one event, as a rule."""

    def __getitem__(self, at: int) -> int:
        return 0


_FIRST: Final = _Zeros()


class Joined:
    """Messages that stand in one text, as in `PlainReader.read_joined`, cut out where one of them is asked for."""

    def __init__(self, joined: bytes, sizes: Sequence[int], between: int) -> None:
        self._joined = joined
        self._sizes = sizes
        self._between = between
        self._ends: list[int] = []

    def __getitem__(self, at: int) -> bytes:
        if not self._ends:
            ends = accumulate(self._sizes)
            self._ends = [1 + end + number * self._between for number, end in enumerate(ends)]
        return self._joined[self._ends[at] - self._sizes[at] : self._ends[at]]

    def each(self) -> list[bytes]:
        """Return all of them."""
        return [self[at] for at in range(len(self._sizes))]


class _Read(NamedTuple):
    """Events that were read together, side by side with where they come from."""

    events: list[Event]
    bodies: Sequence[bytes] | Joined
    elements: Sequence[int] | _Zeros
    places: Sequence[int]

    def taken(self, at: int) -> Taken:
        return Taken(self.events[at], self.bodies[at], self.elements[at], self.places[at])


class Intake:
    """Takes messages in the order of arrival: reads them by the contract, drops duplicates, and counts.

    `skew` is in microseconds, `mark` a secret number as in `Contract`; without one, only arrays are read in bulk.
    `foreign` are ids (with their tenants) that stand for events which this intake does not see.
    """

    def __init__(
        self,
        rules: Rules,
        program: Program,
        *,
        skew: int,
        mark: int | None = None,
        foreign: AbstractSet[tuple[str, str]] = frozenset(),
    ) -> None:
        self.contract = Contract(rules.events, prefix=PREFIX, skew=skew, mark=mark)
        self.program = program
        self.counts = Counts()
        self.events: list[Event] = []
        """The first with each id, in the order of arrival."""
        self.ids: defaultdict[str, dict[str, int]] = defaultdict(dict)
        """Of each tenant, with the number of the event that has it among all that were read."""
        self.buried: list[Buried] = []
        self._foreign = foreign
        self._users: set[str] = set()
        """Those that are known to be none that was erased."""
        self._subject = raw_subject(PREFIX)
        self._read: list[_Read] = []
        self._bases: list[int] = []
        self._known = 0
        # Only these have subjects whose names may be too long.
        heard = frozenset[str]().union(*[plan.types for plan in program.scopes.values()])
        self._doubtful = ((heard | program.roles.naming) - program.for_users) | program.labels.keys()

    @property
    def dead(self) -> list[Rejected]:
        """All dead letters, in the order in which they came."""
        return in_order(self.buried)

    def take_all(self, messages: Iterable[bytes], *, now: int) -> None:
        """Take messages; `now` in microseconds is what the future is measured by."""
        waiting = iter(messages)
        while bodies := [*islice(waiting, READ_TOGETHER)]:
            self.take_some(bodies, range(self._known, self._known + len(bodies)), now=now)
            self._known += len(bodies)

    def take_some(self, bodies: Sequence[bytes], places: Sequence[int], *, now: int) -> None:
        """Take messages that are read together, each with its place among all."""
        if not self._take_plain(bodies, places, now):
            self._take_pieces(bodies, places, now)

    def take_joined(self, joined: bytes, sizes: Sequence[int], places: Sequence[int], *, now: int) -> None:
        """Take messages that stand in one text as in `PlainReader.read_joined`, with the size and the place of each."""
        reader = self.contract.plain
        bodies = Joined(joined, sizes, len(reader.between))
        found = reader.read_joined(joined, len(sizes), max(sizes), now=now)
        if found is None:
            self._take_pieces(bodies.each(), places, now)
        else:
            self._accept_recorded(found, bodies, places)

    def _take_pieces(self, bodies: Sequence[bytes], places: Sequence[int], now: int) -> None:
        for at in range(0, len(bodies), PIECE):
            piece, theirs = bodies[at : at + PIECE], places[at : at + PIECE]
            if not self._take_plain(piece, theirs, now):
                for body, place in zip(piece, theirs, strict=True):
                    self._take(body, place, now)

    def _take(self, body: bytes, place: int, now: int) -> None:
        for element, item in enumerate(self.contract.read_trusted(body, now=now)):
            if isinstance(item, Rejected):
                self._bury(place, element, item)
            elif self._has_subjects(item.event, (place, element), body):
                self._accept(_Read([item.event], [item.envelope or body], [element], [place]))

    def _take_plain(self, bodies: Sequence[bytes], places: Sequence[int], now: int) -> bool:
        """Take messages that the bulk reader can read; False where one of them is not plain, and none is taken."""
        reader = self.contract.plain
        if not is_array(bodies[0]):
            joined = b"[" + reader.between.join(bodies) + b"]"
            found = reader.read_joined(joined, len(bodies), max(map(len, bodies)), now=now)
            if found is not None:
                self._accept_recorded(found, bodies, places)
            return found is not None
        plain = reader.read([self._subject] * len(bodies), bodies, now=now, ends=None)
        if plain is None or plain.sizes is None or 0 in plain.sizes:
            return False
        elements = [*chain.from_iterable(map(range, plain.sizes))]
        columns = [*each_of(bodies, plain.sizes)], elements, [*each_of(places, plain.sizes)]
        self._accept(_Read(plain.events, *columns))
        return True

    def _accept(self, read: _Read) -> None:
        """Take events that keep the contract: the first with each id. All at once, but for those that are unusual."""
        if self._doubtful or self._foreign or not self._are_people({event.user for event in read.events}):
            read = self._fit(read)
        ids, base = self.ids, self._add(read)
        self._keep(read, base, [ids[event.tenant].setdefault(event.id, n) for n, event in enumerate(read.events, base)])

    def _keep(self, read: _Read, base: int, firsts: list[int]) -> None:
        """Keep events; `firsts` are the numbers of the first ones with their ids."""
        events = read.events
        # Each has its own number as a rule, and these ascend.
        if firsts == [*range(base, base + len(events))]:
            self.events += events
            return
        for number, first in enumerate(firsts, base):
            if first == number:
                self.events.append(events[number - base])
            else:
                self._repeated(self.taken(number), self.taken(first))

    def _accept_recorded(self, found: Recorded, bodies: Sequence[bytes] | Joined, places: Sequence[int]) -> None:
        """Take events as `_accept` does: without a look at each, where all are of one tenant and none is unusual."""
        read, (tenant, *more) = _Read(found.events, bodies, _FIRST, places), found.tenants
        if more or self._doubtful or self._foreign or not self._are_people(found.users):
            self._accept(read)
            return
        base = self._add(read)
        self._keep(read, base, [*map(self.ids[tenant].setdefault, found.ids, count(base))])

    def _add(self, read: _Read) -> int:
        """Keep events that were read together; return the number of the first."""
        base = self._bases[-1] + len(self._read[-1].events) if self._bases else 0
        self._bases.append(base)
        self._read.append(read)
        return base

    def _are_people(self, users: AbstractSet[str]) -> bool:
        """Tell whether no user is an erased one."""
        known = self._users
        if users <= known:
            return True
        if any(map(is_pseudonym, users)):
            return False
        known |= users
        return True

    def all_taken(self) -> Iterator[Taken]:
        """Yield the first event with each id: tenant by tenant, in the order of arrival."""
        for ids in self.ids.values():
            yield from map(self.taken, ids.values())

    def taken(self, number: int) -> Taken:
        """Return an event that was read, by its number."""
        at = bisect_right(self._bases, number) - 1
        return self._read[at].taken(number - self._bases[at])

    def _fit(self, read: _Read) -> _Read:
        """Return the events that may have the subjects which they name, and whose ids are not foreign."""
        fits: list[Taken] = []
        for at, event in enumerate(read.events):
            taken = read.taken(at)
            doubtful = event.type in self._doubtful or is_pseudonym(event.user)
            if doubtful and not self._has_subjects(event, (taken.place, taken.element), taken.body):
                continue
            if (event.tenant, event.id) in self._foreign:
                self._contradict(taken)
                continue
            fits.append(taken)
        if len(fits) == len(read.events):
            return read
        return _Read(
            [one.event for one in fits],
            [one.body for one in fits],
            [one.element for one in fits],
            [one.place for one in fits],
        )

    def _has_subjects(self, event: Event, where: tuple[int, int], body: bytes) -> bool:
        """Tell whether an event may have the subjects that it names; bury it otherwise, with its message's bytes."""
        wrong = subjects_of(self.program, event)
        if not isinstance(wrong, str):
            return True
        self._bury(*where, Rejected(Reason.CONTRACT, wrong, element_of(body, where[1])))
        return False

    def _repeated(self, item: Taken, known: Taken) -> None:
        """Count an event whose id is known."""
        if item.own_body == known.own_body or same_body(
            item.event, item.written, stored_body(known.event, known.written)
        ):
            self.counts.duplicates += 1
        else:
            self._contradict(item)

    def _contradict(self, item: Taken) -> None:
        detail = f"event_id: {item.event.id} is known with another body"
        self._bury(item.place, item.element, Rejected(Reason.ID_CONFLICT, detail, item.own_body))

    def _bury(self, place: int, element: int, rejected: Rejected) -> None:
        self.counts.dead += 1
        self.buried.append(Buried(place, element, rejected))


def before(until: int | None, events: list[Event]) -> list[Event]:
    """Return the events that occurred before an instant in microseconds; None: all."""
    return events if until is None else [event for event in events if event.at < until]


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
    `Contract`. All of it lies in memory: worker/engine/shards.py has what is for large streams.
    """
    intake = Intake(rules, program, skew=skew, mark=mark)
    intake.take_all(messages, now=now)
    events = before(until, intake.events)
    intake.counts.events = len(events)
    by_user = events_of_users(events)
    intake.counts.late = put_in_order(by_user)
    heard = by_user
    if not hears_own_events(program):
        heard = by_subject(program, events)
        put_in_order(heard)
    clock = max([event.at for event in events], default=0) if until is None else until
    folded = fold_subjects(program, heard, clock)
    intake.counts.suppressed = folded.suppressed
    unlocks = sorted(folded.unlocks_at(clock), key=lambda unlock: unlock.order)
    hashed = hash_of(sorted([*folded.lines, *map(unlock_line, unlocks)]))
    return Result(hashed, unlocks, [], intake.counts), intake.dead


def as_called(result: Result, renames: Renames) -> Result:
    """Return a result with the names that achievements have now, its unlocks in the order of these."""
    shown = renames.shown_in(result)
    return msgspec.structs.replace(shown, unlocks=sorted(shown.unlocks, key=lambda unlock: unlock.order))


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
