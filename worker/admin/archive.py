"""Archiving: events that were received long ago leave the ledger, packed by user (worker/pipeline/archive.py).

A round takes some users:

    packed     their old events are written as packs to the table `packing`
    found      the hashes of their ids come to `packed_id`, and how far that reaches
    fenced     the generation of every partition is raised: no transaction commits any more that has not looked there
    moved      partition by partition, under its lock: the events leave the ledger, and the packs come to `pack`

A process may die between any two of these: the next one finds what is in `packing` and begins with that, and each step
can be done again. Several may be at work; they only get in each other's way.

What stays: the last event of each user, those at or behind the mark of the user's state, and those behind the mark of
a user that the event names. So the ledger alone says what is the latest event of a user, and what a state has not seen.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from worker.admin.packed_ids import AT_ONCE, add_entries, hashes_of
from worker.admin.packs import Made, PackUser, publish_packs, user_columns
from worker.admin.superseded import other_releases
from worker.contract.pack import MOST, PackedEvent, pack_of
from worker.contract.partition import partition_of
from worker.engine.columns import columns
from worker.engine.reach import extended, read_reach, write_reach
from worker.pipeline.archive import PACKS, events_of_pack
from worker.pipeline.fence import hold_partitions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from worker.store import Session, Store

USERS: Final = 500
"""Users that are packed in one transaction."""
ROUND: Final = 200_000
"""Events of a round: their hashes are in memory, and caches of workers are void once a round."""
TOGETHER: Final = 5_000
"""Events that leave the ledger in one transaction: it holds a partition meanwhile."""


class CannotArchiveError(Exception):
    """The archive cannot be written now; the message says why."""


class Asked(NamedTuple):
    """What a run is asked for; instants in microseconds."""

    before: int
    """What was received before this."""
    now: int
    release: str
    """Of ach; all workers have to be of it."""


class Archived(msgspec.Struct):
    """What a run has done."""

    events: int = 0
    users: int = 0


def _pass(_: str) -> None:
    pass


async def archive(
    store: Store,
    asked: Asked,
    done: Archived,
    *,
    moved: Callable[[int], None] = lambda _: None,
    reached: Callable[[str], None] = _pass,
) -> None:
    """Archive what was received long ago, and finish what an earlier run has begun; `done` counts along.

    `moved` is called with how many events more have left the ledger; `reached` at points where a process may die, for
    tests.

    Raises:
        CannotArchiveError: rules are being put into force, a worker does not know the archive, or the server computes
            hashes otherwise than the one before.
        UnavailableError: the database is away; the next run goes on.
    """
    await _begin(store, asked)
    while await _round(store, done, moved, reached):
        pass
    after: PackUser | None = PackUser()
    while after is not None:
        after = await _pack(store, asked.before, after)
        reached("packed")
        while await _round(store, done, moved, reached):
            pass
    async with store.transaction(patient=True) as session:
        await session.run("end_archive", before=asked.before)


async def _begin(store: Store, asked: Asked) -> None:
    _, now, release = asked
    async with store.transaction(patient=True) as session:
        probed = await session.value(bool, "begin_archive", now=now)
        if any(change.state == "pending" for change in await session.rows(_Change, "changes_at_hand")):
            raise CannotArchiveError("rules are being put into force: try again in a moment (`ach change list`)")
        others = await other_releases(session, now, release)
        if others:
            raise CannotArchiveError(
                f"workers of release {', '.join(others)} are at work and may not know the archive: replace them by "
                f"workers of {release}"
            )
        if not probed:
            raise CannotArchiveError(
                "this server computes other hashes than the one on which the archive was begun: move it by `pg_dump` "
                "to a machine with the same byte order"
            )
        await session.run("bar_releases_before")


class _Change(NamedTuple):
    change_id: int
    state: str
    max_lag: int | None
    silent_ms: int


# -- packed ------------------------------------------------------------------------------------------------------------


async def _pack(store: Store, before: int, after: PackUser) -> PackUser | None:
    """Pack old events of users behind one, a round of them; return the last of these, None where no more are left."""
    packed = 0
    while packed < ROUND:
        async with store.transaction(patient=True) as session:
            await session.run("share_archive")
            place = {"after_tenant": after.tenant_id, "after_user": after.user_id, "limit": USERS}
            users = await session.rows(PackUser, "users_to_archive", **place)
            packed += await _pack_users(session, users, before)
        if len(users) < USERS:
            return None
        after = users[-1]
    return after


async def _pack_users(session: Session, users: Sequence[PackUser], before: int) -> int:
    """Pack old events of some users; return how many these are."""
    if not users:
        return 0
    made = [pack async for pack in packs_due(session, user_columns(users), before)]
    if not made:
        return 0
    some = list(dict.fromkeys(pack.user for pack in made))
    numbers = dict(zip(some, await session.rows(int, "numbers_of_users", **user_columns(some)), strict=True))
    rows = sorted(pack._replace(number=numbers[pack.user]) for pack in made)
    await session.run("insert_packing", **columns("packs", Made._fields, rows))
    return sum(pack.events for pack in made)


async def packs_due(session: Session, names: dict[str, object], before: int) -> AsyncIterator[Made]:
    """Yield packs without the numbers of their users: an event is in memory until it is packed."""
    async for user, part, events in _due(session, names, before):
        yield Made(user.tenant_id, user.user_id, part, 0, len(events), pack_of(events))


def _event(tenant: str, user: str, *columns: object) -> tuple[PackUser, PackedEvent]:
    return PackUser(tenant, user), PackedEvent(*columns)  # type: ignore[arg-type]


async def _due(
    session: Session, names: dict[str, object], before: int
) -> AsyncIterator[tuple[PackUser, int, list[PackedEvent]]]:
    """Yield what is to be packed together: the user, which of the packs it is, and events."""
    held: list[PackedEvent] = []
    last, part = PackUser(), 0
    async for page in session.pages(_event, "events_to_archive", **names, before=before):
        for user, event in page:
            if held and (user != last or len(held) == MOST):
                part += 1
                yield last, part, held
                held = []
            if user != last:
                last, part = user, 0
            held.append(event)
    if held:
        yield last, part + 1, held


# -- found, fenced, moved ----------------------------------------------------------------------------------------------


async def _round(store: Store, done: Archived, moved: Callable[[int], None], reached: Callable[[str], None]) -> bool:
    """Move what is packed and in the ledger still, a round of it; return whether there was any."""
    async with store.transaction(patient=True) as session:
        made = await _some_to_move(session)
    if not made:
        return False
    await _make_found(store, made)
    reached("found")
    async with store.transaction(patient=True) as session:
        await session.run("raise_all_generations")
    reached("fenced")
    by_partition: defaultdict[int, list[Made]] = defaultdict(list)
    for pack in made:
        by_partition[partition_of(pack.tenant_id, "user", pack.user_id)].append(pack)
    for partition, packs in sorted(by_partition.items()):
        for piece in _pieces(packs, TOGETHER):
            events = await _move(store, partition, piece)
            done.events += events
            moved(events)
            reached("moved")
    done.users += len({pack.user for pack in made})
    return True


async def _some_to_move(session: Session) -> list[Made]:
    made: list[Made] = []
    events = 0
    async for page in session.pages_of(PACKS, Made, "packs_to_move"):
        made += page
        events += sum(pack.events for pack in page)
        if events >= ROUND:
            break
    return made


def _pieces(packs: Iterable[Made], most: int) -> Iterable[list[Made]]:
    """Yield packs, some of them with at most so many events together."""
    piece: list[Made] = []
    events = 0
    for pack in packs:
        if piece and events + pack.events > most:
            yield piece
            piece, events = [], 0
        piece.append(pack)
        events += pack.events
    if piece:
        yield piece


async def _make_found(store: Store, made: Sequence[Made]) -> None:
    """Write the hashes of ids, in their order: rows are changed once each, not once an id."""
    entries: list[tuple[int, int]] = []
    reach: dict[int, str] = {}
    async with store.transaction(patient=True) as session:
        for some in _pieces(made, AT_ONCE - MOST):
            ids = [
                (event.event_id, pack.tenant_id, pack.number) for pack in some for event in events_of_pack(pack.body)
            ]
            names, tenants, numbers = ([*column] for column in zip(*ids, strict=True))
            reach = extended(reach, names)
            entries.extend(zip(await hashes_of(session, names, tenants), numbers, strict=True))
    entries.sort()
    for begin in range(0, len(entries), AT_ONCE):
        async with store.transaction(patient=True) as session:
            await session.run("hold_archive")
            await add_entries(session, entries[begin : begin + AT_ONCE])
    async with store.transaction(patient=True) as session:
        known = read_reach(await session.value(str, "hold_archive") or "{}")
        await session.run("extend_reach", reach=write_reach(extended(known, reach.values())))


async def _move(store: Store, partition: int, packs: Sequence[Made]) -> int:
    """Move packs of users of one partition, whose ids are in their place; return how many events that were."""
    async with store.transaction(patient=True) as session:
        await hold_partitions(session, [partition], epoch=None)
        # A run beside this one may have moved some, and an erasure may have taken them.
        waiting = await session.rows(Made, "packing_at_hand", **_keys(packs))
        if not waiting:
            return 0
        events = {user: _all_of(some) for user, some in groupby(waiting, _user_of)}
        keys = sorted((*user, event.event_id) for user, some in events.items() for event in some)
        tenants, names, ids = ([*column] for column in zip(*keys, strict=True))
        asked = {"tenant_ids": tenants, "user_ids": names, "event_ids": ids}
        await session.run("move_members", **asked)
        gone = {PackUser(*row[:2]): row.events for row in await session.rows(_Gone, "take_archived_events", **asked)}
        for user, some in events.items():
            if gone.get(user) != len(some):
                raise AssertionError(f"the ledger had {gone.get(user, 0)} of {len(some)} events that were packed")
        await session.run("forget_packing", **_keys(waiting))
        await publish_packs(session, events, {pack.user: pack.number for pack in waiting})
        return len(keys)


def _keys(packs: Iterable[Made]) -> dict[str, object]:
    tenants, names, parts = ([*column] for column in zip(*[pack[:3] for pack in packs], strict=True))
    return {"tenant_ids": tenants, "user_ids": names, "parts": parts}


class _Gone(NamedTuple):
    tenant_id: str
    user_id: str
    events: int


def _user_of(pack: Made) -> PackUser:
    return pack.user


def _all_of(packs: Iterable[Made]) -> list[PackedEvent]:
    return [event for pack in packs for event in events_of_pack(pack.body)]
