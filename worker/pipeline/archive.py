"""Events of the archive, beside those of the ledger: readers of history read both, and see no difference.

An archived event is in a pack of its user (worker/contract/pack.py) and not in the table `event`. The last event of
each user stays there, and what a state may not have seen yet. So who is known, and what to fold on top of a state, the
ledger says alone; the past is read here.

Whether an id is archived, `packed_id` says: by 40 bits of its hash, so that one in many millions is looked for in vain.
The packs of the user whose number lies beside the hash have the event itself. Ids come there before their events leave
the ledger, and then the generation of every partition is raised: a transaction that looked before cannot commit what
relied on that. So no statement misses an id in both places (worker/admin/archive.py).

Events may be moved while a reader without locks is at work. It begins with the ledger, so it may find an event twice
and never misses one; `merged` takes it once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from contextlib import contextmanager
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

import msgspec

from worker.contract.pack import UnreadablePackError, unpack, unpack_events
from worker.contract.sameness import StoredBody
from worker.engine.reach import extended, read_reach, within
from worker.pipeline.sorted_lines import SortedLines
from worker.store import RefusedError

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Collection,
        Generator,
        Iterable,
        Iterator,
        Mapping,
    )

    from dsl.outcome import Subject
    from worker.contract.pack import EventRow, PackedEvent
    from worker.engine.batch import Item
    from worker.engine.state_cache import StateCache
    from worker.store import Session

T = TypeVar("T")

PACKS: Final = 64
"""Packs that are in memory at a time, some 15 KB each at the most where payloads are small."""
LINES: Final = 1000
"""Events that are taken out of temporary files together."""
HASH_BYTES: Final = 5
_SEPARATOR: Final = "\0"
"""Between the parts of a line: PostgreSQL stores no text that has it."""
_SHIFT: Final = 10**18
"""Added to instants (microseconds), so that they are in order as text of one width."""

NumberedRow = tuple[int, "EventRow"]
"""Which of the asked subjects it is of, from 1 (0 where none were asked for), and an event."""


class Pack(NamedTuple):
    """A pack as it is stored; `first_at` in microseconds."""

    n: int
    tenant_id: str
    user_id: str
    first_at: int
    body: bytes

    def rows(self) -> list[EventRow]:
        """Return its events, in canonical order."""
        with readable():
            return unpack_events(self.body, self.tenant_id, self.user_id)


@contextmanager
def readable() -> Generator[None]:
    """Turn a pack that cannot be read into what else a database says of a row that is damaged."""
    try:
        yield
    except UnreadablePackError as error:
        raise RefusedError(str(error)) from error


def events_of_pack(body: bytes) -> list[PackedEvent]:
    """Return the events of a pack, in canonical order.

    Raises:
        RefusedError: it cannot be read.
    """
    with readable():
        return unpack(body)


# -- ids ---------------------------------------------------------------------------------------------------------------


class _Entry(NamedTuple):
    n: int
    hash: int
    hashes: bytes
    users: bytes

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of the users that have archived an id with this hash."""
        wanted = self.hash.to_bytes(HASH_BYTES, "big")
        width = len(self.users) * HASH_BYTES // len(self.hashes)
        place = self.hashes.find(wanted)
        while place >= 0:
            at, beside = divmod(place, HASH_BYTES)
            if not beside:
                yield int.from_bytes(self.users[at * width : (at + 1) * width], "big")
            place = self.hashes.find(wanted, place + 1)


class _Body(NamedTuple):
    tenant_id: str
    user_id: str
    body: bytes


async def known_in_archive(
    session: Session, cache: StateCache, firsts: Mapping[tuple[str, str], Item]
) -> dict[tuple[str, str], StoredBody]:
    """Return what the archive has under the ids of events, by id and tenant; nearly always nothing.

    The partitions of the events are locked; from here on the cache knows how far the archive reaches.
    """
    reach = read_reach(await session.value(str, "archive_reach") or "{}")
    cache.reach = extended(cache.reach, reach.values())
    asked = [key for key in firsts if within(cache.reach, key[0])]
    if not asked:
        return {}
    names: dict[str, object] = {"event_ids": [key[0] for key in asked], "tenant_ids": [key[1] for key in asked]}
    entries = await session.rows(_Entry, "packed_users", **names)
    numbers = {number for entry in entries for number in entry.numbers()}
    if not numbers:
        return {}
    found = await _bodies(session, numbers, {asked[entry.n - 1] for entry in entries})
    return await _with_digests(session, found) if found else {}


class _Digest(NamedTuple):
    n: int
    digest: bytes


async def _with_digests(
    session: Session, found: dict[tuple[str, str], StoredBody]
) -> dict[tuple[str, str], StoredBody]:
    """Return bodies with the digests of what was received, which are read last: never of before a renaming."""
    keys = [*found]
    asked: dict[str, object] = {"event_ids": [key[0] for key in keys], "tenant_ids": [key[1] for key in keys]}
    for row in await session.rows(_Digest, "digests_of_renamed", **asked):
        key = keys[row.n - 1]
        found[key] = msgspec.structs.replace(found[key], digest=row.digest)
    return found


async def _bodies(
    session: Session, numbers: Collection[int], wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], StoredBody]:
    found: dict[tuple[str, str], StoredBody] = {}
    async for page in session.pages_of(PACKS, _Body, "packs_of_numbers", numbers=sorted(numbers)):
        for pack in page:
            for event in events_of_pack(pack.body):
                key = event.event_id, pack.tenant_id
                if key in wanted:
                    found[key] = StoredBody(
                        pack.user_id, event.event_type, event.occurred_at, event.utc_offset, event.source, event.payload
                    )
    return found


# -- events ------------------------------------------------------------------------------------------------------------


async def archived_of_users(session: Session, asked: Mapping[str, object]) -> AsyncGenerator[list[NumberedRow]]:
    """Yield archived events of users: user by user as asked for, in canonical order.

    `asked` is as in `events_of_users`: positions and types.
    """
    pages = session.pages_of(PACKS, Pack, "packs_of_users", **asked)
    async for page in _in_order(pages, _asked_for(asked), _number):
        yield page


async def archived_by_user(session: Session, types: Collection[str]) -> AsyncGenerator[list[NumberedRow]]:
    """Yield all archived events of some types, user by user in order, and in canonical order."""
    pages = session.pages_of(PACKS, Pack, "packs_by_user", types=sorted(types))
    async for page in _in_order(pages, _heard(Pack.rows, types), _user):
        yield page


async def archived_by_hash(session: Session, asked: Mapping[str, object]) -> AsyncGenerator[list[NumberedRow]]:
    """Yield archived events of the users of a slice with the hash of the user: by hash, and in canonical order.

    `asked` is as in `events_by_hash`.
    """
    types = _list(asked["types"])
    place = {name: asked[name] for name in ("after", "upto")}
    pages = session.pages_of(PACKS, Pack, "packs_by_hash", types=types, **place)
    async for page in _in_order(pages, _heard(Pack.rows, types), _number):
        yield page


async def archived_of_types(session: Session, types: Collection[str]) -> AsyncGenerator[list[EventRow]]:
    """Yield all archived events of some types, in no order."""
    heard = _heard(Pack.rows, types)
    async for page in session.pages_of(PACKS, Pack, "packs_by_user", types=sorted(types)):
        yield [row for pack in page for row in heard(pack)]


async def archived_sorted(
    session: Session, query: str, asked: Mapping[str, object], wanted: Callable[[int, EventRow], bool]
) -> AsyncGenerator[list[NumberedRow]]:
    """Yield archived events of tenants, or of subjects of fields, in the order of `archived_of_users`.

    `query` finds packs in which some are, and `wanted` says which. What does not fit into memory waits in a file.

    Raises:
        OSError: the disk of temporary files is full.
    """
    rows = _asked_for(asked)
    with SortedLines() as lines:
        async for page in session.pages_of(PACKS, Pack, query, **asked):
            lines.add(_line(f"{pack.n:010}", pack.n, row) for pack in page for row in rows(pack) if wanted(pack.n, row))
        for part in _in_lines(lines):
            yield part


async def archived_by_tenant(session: Session, types: Collection[str]) -> AsyncGenerator[list[NumberedRow]]:
    """Yield all archived events of some types, tenant by tenant in order, and in canonical order.

    Raises:
        OSError: the disk of temporary files is full.
    """
    rows = _heard(Pack.rows, types)
    with SortedLines() as lines:
        async for page in session.pages_of(PACKS, Pack, "packs_by_user", types=sorted(types)):
            lines.add(_line(pack.tenant_id, 0, row) for pack in page for row in rows(pack))
        for part in _in_lines(lines):
            yield part


async def archived_in_roles(
    session: Session, types: Collection[str], named: Callable[[EventRow], Iterable[str]]
) -> AsyncGenerator[list[tuple[str, EventRow]]]:
    """Yield all archived events of some types, once for each user they name with `named`, user by user as above.

    Raises:
        OSError: the disk of temporary files is full.
    """
    rows = _heard(Pack.rows, types)
    with SortedLines() as lines:
        async for page in session.pages_of(PACKS, Pack, "packs_by_user", types=sorted(types)):
            lines.add(
                _line(f"{row[0]}{_SEPARATOR}{user}", 0, row)
                for pack in page
                for row in rows(pack)
                for user in named(row)
            )
        ordered = iter(lines)
        while part := [_named(line) for line in islice(ordered, LINES)]:
            yield part


def _named(line: bytes) -> tuple[str, EventRow]:
    _, user, _, _, row = line.decode().split(_SEPARATOR, 4)
    return user, _decoder.decode(row)[1]


def may_name(row: EventRow, name: str) -> bool:
    """Tell whether the payload of an event may have a name in it; to decode it takes much longer."""
    payload = row[6]
    # JSON may write any character with a backslash.
    return payload is not None and (name in payload or "\\" in payload)


class Naming(NamedTuple):
    """An event of another one that names a user; the instant in microseconds."""

    event_id: str
    event_type: str
    occurred_at: int


async def archived_naming(
    session: Session, person: Subject, types: Collection[str], named: Callable[[EventRow], Collection[str]]
) -> AsyncGenerator[list[Naming]]:
    """Yield archived events of others that name a user, in canonical order; `named` says which users one names."""
    asked = {"tenant_id": person.tenant_id, "user_id": person.subject, "types": sorted(types)}
    with SortedLines() as lines:
        async for page in session.pages_of(PACKS, _Holder, "packs_naming_person", **asked):
            for pack in page:
                with readable():
                    rows = unpack_events(pack.body, pack.tenant_id, pack.user_id)
                heard = (row for row in rows if row[2] in types and may_name(row, person.subject))
                lines.add(_line("", 0, row) for row in heard if person.subject in named(row))
        for part in _in_lines(lines):
            yield [Naming(row[1], row[2], row[4]) for _, row in part]


class _Holder(NamedTuple):
    tenant_id: str
    user_id: str
    part: int
    number: int
    events: int
    body: bytes


class _Dated(NamedTuple):
    at: int
    body: bytes


async def archived_of_person(session: Session, tenant: str, user: str) -> AsyncGenerator[list[PackedEvent]]:
    """Yield all that is archived of a user, in canonical order, as it was in the ledger."""
    held: list[PackedEvent] = []
    async for page in session.pages_of(PACKS, _Dated, "packs_of_person", tenant_id=tenant, user_id=user):
        ready: list[PackedEvent] = []
        for pack in page:
            known = bisect_left(held, pack.at, key=_occurred)
            ready += held[:known]
            held = [*merge(held[known:], events_of_pack(pack.body), key=canonical)]
        if ready:
            yield ready
    if held:
        yield held


async def last_archived(session: Session, tenant: str, user: str, *, limit: int) -> list[PackedEvent]:
    """Return the last archived events of a user, the last first."""
    found: list[PackedEvent] = []
    async for page in session.pages_of(1, _Dated, "last_packs_of_person", tenant_id=tenant, user_id=user):
        for pack in page:
            if len(found) == limit and found[-1].occurred_at > pack.at:
                return found
            found = sorted([*found, *events_of_pack(pack.body)], key=canonical, reverse=True)[:limit]
    return found


def canonical(event: PackedEvent) -> tuple[int, str]:
    """Return the place of an event among those of its user."""
    return event.occurred_at, event.event_id


def _occurred(event: PackedEvent) -> int:
    return event.occurred_at


def _in_lines(lines: SortedLines) -> Iterator[list[NumberedRow]]:
    ordered = iter(lines)
    while part := [_decoder.decode(line.rsplit(b"\0", 1)[1]) for line in islice(ordered, LINES)]:
        yield part


def _line(group: str, n: int, row: EventRow) -> bytes:
    key = (group, f"{row[4] + _SHIFT:020}", row[1], msgspec.json.encode((n, row)).decode())
    return _SEPARATOR.join(key).encode()


_decoder: Final = msgspec.json.Decoder(tuple[int, tuple[str, str, str, str, int, int, str | None]])


def _asked_for(asked: Mapping[str, object]) -> Callable[[Pack], list[EventRow]]:
    """Return what takes the events of a pack that are of the asked types and behind the position of their subject."""
    after = [*zip(_list(asked["positions.at"]), _list(asked["positions.id"]), strict=True)]

    def rows(pack: Pack) -> list[EventRow]:
        return [row for row in pack.rows() if (row[4], row[1]) > after[pack.n - 1]]

    return _heard(rows, _list(asked["types"]))


def _list(column: object) -> list[Any]:
    if not isinstance(column, list):
        raise TypeError("an argument of a query is a list")
    return cast("list[Any]", column)


def _instant(row: NumberedRow) -> int:
    return row[1][4]


def _in_its_order(row: NumberedRow) -> tuple[int, str]:
    return row[1][4], row[1][1]


def _number(pack: Pack) -> object:
    return pack.n


def _user(pack: Pack) -> object:
    return pack.tenant_id, pack.user_id


def _heard(rows: Callable[[Pack], list[EventRow]], types: Collection[str]) -> Callable[[Pack], list[EventRow]]:
    wanted = frozenset(types)
    return lambda pack: [row for row in rows(pack) if row[2] in wanted]


async def _in_order(
    pages: AsyncIterator[list[Pack]], rows: Callable[[Pack], list[EventRow]], group: Callable[[Pack], object]
) -> AsyncGenerator[list[NumberedRow]]:
    """Yield the events of packs, which come group by group and in the order of their first instants.

    Packs of one user may overlap, since late events are archived later: what is before the next pack is in order.
    """
    held: list[NumberedRow] = []
    last: object = None
    async for page in pages:
        ready: list[NumberedRow] = []
        for pack in page:
            known = bisect_left(held, pack.first_at, key=_instant) if group(pack) == last else len(held)
            ready += held[:known]
            mine = [(pack.n, row) for row in rows(pack)]
            held = [*merge(held[known:], mine, key=_in_its_order)]
            last = group(pack)
        if ready:
            yield ready
    if held:
        yield held


async def merged(
    hot: AsyncIterator[list[T]], cold: AsyncIterator[list[T]], key: Callable[[T], tuple[Any, ...]]
) -> AsyncGenerator[list[T]]:
    """Yield the rows of two streams of pages as one; both are in the order of a key that no two rows share.

    A row that both have is taken once. Where there is nothing archived, pages of the ledger go on as they are.
    """
    warm = await _next(hot)
    archived = await _next(cold)
    while warm and archived:
        bound = min(key(warm[-1]), key(archived[-1]))
        ends = bisect_right(warm, bound, key=key), bisect_right(archived, bound, key=key)
        yield _once(merge(warm[: ends[0]], archived[: ends[1]], key=key), key)
        warm = warm[ends[0] :] or await _next(hot)
        archived = archived[ends[1] :] or await _next(cold)
    while warm or archived:
        yield [*warm, *archived]
        warm, archived = await _next(hot), await _next(cold)


async def _next(pages: AsyncIterator[list[T]]) -> list[T]:
    """Return the next page that has rows; an empty one where there is none."""
    async for page in pages:
        if page:
            return page
    return []


def _once(rows: Iterable[T], key: Callable[[T], tuple[object, ...]]) -> list[T]:
    found: list[T] = []
    last: tuple[object, ...] | None = None
    for row in rows:
        if key(row) != last:
            found.append(row)
        last = key(row)
    return found
