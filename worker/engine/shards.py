"""A large recording, divided by users: each shard is read and folded by itself, in any process. Pure.

1. `Router` sends each message to the shard of its user. It reads no more than whose it is; what it cannot divide so, it
   reads by the contract.
2. `fold_users` reads a shard, drops duplicates and folds its users. Events that subjects of other scopes hear too are
   handed on, to the shard of each such subject; those of users as well, where events name several.
3. An id stands for one event of a tenant, of any user. A shard sees those of its users alone, so it hands out a hash
   of each id, and `shared_ids` finds those that several shards have. Which of them came first, `claims_of` tells; the
   other shards are folded again, and the id is foreign there.
4. The clock is the latest event of all shards. Where a version begins between that and the latest event of a shard,
   the shard is folded again.
5. `fold_others` folds the subjects that were handed something on.

What comes out is what `replay` makes of the same messages in one piece.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

import msgspec

from dsl.compile import USER
from dsl.outcome import Subject, Unlock
from worker.contract.bulk_keys import elements_keyed, keys_of
from worker.contract.reasons import Reason
from worker.contract.strict_reader import Contract, Rejected, element_of
from worker.engine.decoding import PIECE, subjects_of
from worker.engine.replay import PREFIX, Buried, Counts, Intake, before
from worker.engine.subject_folds import events_of_users, fold_subjects, hears_own_events, put_in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.compile import Program
    from dsl.event import Event
    from dsl.schema import Rules
    from worker.contract.bulk_keys import Key
    from worker.contract.strict_reader import Accepted
    from worker.engine.subject_folds import Folded

FULL: Final = 512
"""Messages of a block."""
_ELEMENTS: Final = 1 << 20
"""More than the elements of any array: a place is that of the message times this, and the index in it."""
_HASHES: Final = 1 << 64

Id = tuple[str, str]
"""Tenant and event id."""


class Ground(NamedTuple):
    """What all shards have in common; `now`, `skew` and `until` as in `replay`, `mark` as in `Contract`."""

    rules: Rules
    program: Program
    shards: int
    now: int
    skew: int
    mark: int
    until: int | None = None
    parts: int = 1
    """In so many parts the hashes of ids are compared."""

    def clock(self, latest: int) -> int:
        """Return the instant (microseconds) up to which is judged, where the latest event is known."""
        return latest if self.until is None else self.until

    def begins_between(self, clock: int, later: int) -> bool:
        """Tell whether a version begins between two instants, the later one included."""
        moments = chain.from_iterable(plan.moments for plan in self.program.scopes.values())
        return any(clock < moment.at <= later for moment in moments)


class Waiting(NamedTuple):
    """Messages of one event each, with their places among all."""

    places: list[int]
    bodies: list[bytes]


class Block(msgspec.Struct, frozen=True, gc=False):
    """The same, packed: places and sizes are native integers of 64 and 32 bits."""

    places: bytes
    sizes: bytes
    joined: bytes
    """As in `PlainReader.read_joined`."""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_block: Final = msgspec.msgpack.Decoder(Block).decode


def packed(ground: Ground, waiting: Waiting) -> Block:
    """Return messages as a block."""
    places, bodies = waiting
    joined = b"[" + (b",%d," % ground.mark).join(bodies) + b"]"
    return Block(array("q", places).tobytes(), array("I", map(len, bodies)).tobytes(), joined)


def bytes_of(block: Block) -> bytes:
    """Return a block as bytes, for a file."""
    return _encode(block)


def block_of(data: bytes) -> Block:
    """Return the block that `bytes_of` was given."""
    return _decode_block(data)


class Router:
    """Sends recorded messages to the shards of their users."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._contract = Contract(ground.rules.events, prefix=PREFIX, skew=ground.skew, mark=ground.mark)
        self._waiting = [Waiting([], []) for _ in range(ground.shards)]
        self._next = 0
        self.bytes = 0
        """Of all that waits."""
        self.buried: list[Buried] = []
        """What is no event; all else is for the shards to judge."""

    def route(self, bodies: Sequence[bytes]) -> None:
        """Take messages, in the order of arrival."""
        first, self._next = self._next, self._next + len(bodies)
        if not self._route_plain(bodies, first):
            for at in range(0, len(bodies), PIECE):
                piece = bodies[at : at + PIECE]
                if not self._route_plain(piece, first + at):
                    for number, body in enumerate(piece, first + at):
                        self._look_closely(body, number * _ELEMENTS)

    def blocks(self, *, rest: bool = False) -> Iterator[tuple[int, Block]]:
        """Yield the blocks that are full, or all that waits, each with its shard."""
        for shard, waiting in enumerate(self._waiting):
            if len(waiting.places) >= FULL or (rest and waiting.places):
                self._waiting[shard] = Waiting([], [])
                self.bytes -= sum(map(len, waiting.bodies))
                yield shard, packed(self._ground, waiting)

    def _route_plain(self, bodies: Sequence[bytes], first: int) -> bool:
        """Route messages of one event each; False where one of them needs a closer look, and none is routed."""
        keys = keys_of(bodies, self._ground.mark)
        if keys is None:
            return False
        self._send(keys, bodies, range(first * _ELEMENTS, (first + len(bodies)) * _ELEMENTS, _ELEMENTS))
        return True

    def _send(self, keys: Sequence[Key], bodies: Sequence[bytes], places: Iterable[int]) -> None:
        # One user is one object after the other here, and its hash is kept in none of them.
        waiting, shards = self._waiting, self._ground.shards
        homes = [hashed % shards for hashed in map(hash, [key.user_id for key in keys])]
        for (theirs, texts), body, place in zip(map(waiting.__getitem__, homes), bodies, places, strict=False):
            theirs.append(place)
            texts.append(body)
        self.bytes += sum(map(len, bodies))

    def _look_closely(self, body: bytes, place: int) -> None:
        """Route the elements of an array, or what the contract makes of a message."""
        found = elements_keyed(body)
        if found is not None:
            self._send(found.keys, found.bodies, range(place, place + len(found.keys)))
            return
        for element, item in enumerate(self._contract.read_trusted(body, now=self._ground.now)):
            if isinstance(item, Rejected):
                self.buried.append(Buried(place + element, 0, item))
            else:
                self._send_read(item, element_of(body, element), place + element)

    def _send_read(self, item: Accepted, body: bytes, place: int) -> None:
        """Route an event that is read already; the shard sees its envelope, and could not quote what came."""
        wrong = subjects_of(self._ground.program, item.event)
        if isinstance(wrong, str):
            self.buried.append(Buried(place, 0, Rejected(Reason.CONTRACT, wrong, body)))
            return
        own = item.envelope or body
        keys = keys_of([own], self._ground.mark)
        if keys is None:
            raise AssertionError("an event that keeps the contract names its user")
        self._send(keys, [own], [place])


class ShardResult(msgspec.Struct):
    """What came of one shard, in a form that another process can read."""

    counts: Counts
    unlocks: list[tuple[int, Unlock]]
    """As in `Folded`."""
    lines: list[bytes]
    buried: list[tuple[int, Reason, str, bytes]] = []
    """Each behind its place."""
    handed_on: dict[int, Block] = {}
    """By shard: events of subjects that are folded there."""


_decode_result: Final = msgspec.msgpack.Decoder(ShardResult).decode


def result_packed(result: ShardResult) -> bytes:
    """Return a result as bytes."""
    return _encode(result)


def result_unpacked(data: bytes) -> ShardResult:
    """Return what `result_packed` was given."""
    return _decode_result(data)


def _taken(ground: Ground, blocks: Iterable[Block], foreign: AbstractSet[Id]) -> Intake:
    intake = Intake(ground.rules, ground.program, skew=ground.skew, mark=ground.mark, foreign=foreign)
    for block in blocks:
        intake.take_joined(block.joined, array("I", block.sizes), array("q", block.places), now=ground.now)
    return intake


class UserShard(NamedTuple):
    """What came of the users of a shard."""

    result: ShardResult
    ids: bytes
    """Hashes of all ids that stand for an event, as 64-bit integers; in order, where they are compared in parts."""
    latest: int
    """The latest instant of an event, in microseconds."""


def fold_users(
    ground: Ground, blocks: Iterable[Block], foreign: AbstractSet[Id] = frozenset(), latest: int = 0
) -> UserShard:
    """Read a shard and fold its users.

    `foreign` are ids that stand for events of other shards, `latest` is the latest instant of these, where it is known.
    """
    intake = _taken(ground, blocks, foreign)
    events = before(ground.until, intake.events)
    by_user = events_of_users(events)
    intake.counts.events = len(events)
    intake.counts.late = put_in_order(by_user)
    # Where events name several users, a history is spread over shards.
    users = {} if ground.program.roles.naming else by_user
    own = max([event.at for event in events], default=0)
    result = _result(intake.counts, fold_subjects(ground.program, users, ground.clock(max(own, latest))))
    result.buried = [(place, one.reason, one.detail, one.body) for place, _, one in intake.buried]
    result.handed_on = _handed_on(ground, intake)
    hashes = _hashed(intake)
    return UserShard(result, array("q", sorted(hashes) if ground.parts > 1 else hashes).tobytes(), own)


def _hashed(intake: Intake) -> Iterator[int]:
    """Yield the hash of each id. All processes were made of one, and have the same secret of hashes."""
    for tenant, ids in intake.ids.items():
        secret = hash(tenant)
        yield from [hashed ^ secret for hashed in map(hash, ids)]


def _result(counts: Counts, folded: Folded) -> ShardResult:
    counts.suppressed = folded.suppressed
    return ShardResult(counts, folded.unlocks, sorted(folded.lines))


def _handed_on(ground: Ground, intake: Intake) -> dict[int, Block]:
    """Return by shard what subjects hear that are not folded with the users of this one."""
    if hears_own_events(ground.program):
        return {}
    found = defaultdict[int, Waiting](lambda: Waiting([], []))
    for item in intake.all_taken():
        if ground.until is not None and item.event.at >= ground.until:
            continue
        for shard in sorted({_home(ground, subject) for subject, _ in _elsewhere(ground.program, item.event)}):
            found[shard].places.append(item.place)
            found[shard].bodies.append(item.own_body)
    return {shard: packed(ground, waiting) for shard, waiting in found.items()}


def _elsewhere(program: Program, event: Event) -> Iterator[tuple[Subject, Event]]:
    """Yield the subjects that are not folded with their shard's users, and the event as each sees it."""
    for scope, name, seen in program.hearing(event):
        if scope != USER or program.roles.naming:
            yield Subject(event.tenant, scope, name), seen


def _home(ground: Ground, subject: Subject) -> int:
    """Return the shard that folds a subject which events are handed on for."""
    return crc32("\0".join(subject).encode()) % ground.shards


def fold_others(ground: Ground, blocks: Iterable[Block], shard: int, latest: int) -> ShardResult:
    """Fold the subjects of a shard over what was handed on to it; `latest` is the latest instant of all events."""
    subjects: defaultdict[Subject, list[Event]] = defaultdict(list)
    for event in _taken(ground, blocks, frozenset()).events:
        for subject, seen in _elsewhere(ground.program, event):
            if _home(ground, subject) == shard:
                subjects[subject].append(seen)
    put_in_order(subjects)
    return _result(Counts(), fold_subjects(ground.program, subjects, ground.clock(latest)))


# -- ids that several shards have --------------------------------------------------------------------------------------


def parts_of(ids: bytes, parts: int) -> list[tuple[int, int]]:
    """Return where each part of all hashes that there can be lies among those of a shard: offset and size, in bytes."""
    if parts == 1:
        return [(0, len(ids))]
    hashes = array("q", ids)
    width = hashes.itemsize
    bounds = [width * bisect_left(hashes, at * _HASHES // parts - _HASHES // 2) for at in range(parts + 1)]
    return [(begin, end - begin) for begin, end in pairwise(bounds)]


def shared_ids(hashes: Sequence[bytes]) -> set[int]:
    """Return the hashes that several shards have, each with the ids of one part."""
    arrays = [array("q", one) for one in hashes]
    if len(set[int]().union(*arrays)) == sum(map(len, arrays)):
        return set()
    seen, shared = set[int](), set[int]()
    for one in map(set, arrays):
        shared |= seen & one
        seen |= one
    return shared


def claims_of(ground: Ground, blocks: Iterable[Block], hashes: AbstractSet[int]) -> list[tuple[int, Id]]:
    """Return the ids of a shard with one of some hashes, each behind the place of its event."""
    intake = _taken(ground, blocks, frozenset())
    taken = [item for item, hashed in zip(intake.all_taken(), _hashed(intake), strict=True) if hashed in hashes]
    return [(item.place, (item.event.tenant, item.event.id)) for item in taken]


def foreign_ids(claims: Mapping[int, Sequence[tuple[int, Id]]]) -> dict[int, frozenset[Id]]:
    """Return by shard which of the ids that it claims stand for an earlier event of another one."""
    first = _earliest(chain.from_iterable(claims.values()))
    lost = {shard: frozenset(key for place, key in claimed if first[key] != place) for shard, claimed in claims.items()}
    return {shard: keys for shard, keys in lost.items() if keys}


def _earliest(claims: Iterable[tuple[int, Id]]) -> dict[Id, int]:
    first: dict[Id, int] = {}
    for place, key in claims:
        first[key] = min(place, first.get(key, place))
    return first
