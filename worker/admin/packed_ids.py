"""The ids of archived events: rows of hashes in order, as the leaves of a tree, each with the numbers of users beside.

A row holds the hashes from its `first` up to that of the next row. One that grows too large is split. Who changes rows
holds the archive (`hold_archive`) until the transaction ends; who looks into them holds nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.engine.columns import columns
from worker.pipeline.archive import HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from worker.store import Session

AT_ONCE: Final = 5000
"""Ids that are written with one statement."""
MOST: Final = 220
"""Ids of a row: with the numbers of their users they stay in its page, uncompressed."""
FULL: Final = 160
"""Ids of a row that comes of a split: six of these fill a page."""
SHORT, LONG = 3, 4
"""Bytes of the number of a user."""

Entry = tuple[int, int]
"""The hash of an id, and the number of the user."""


class Row(NamedTuple):
    """A row of `packed_id`."""

    first: int
    hashes: bytes
    users: bytes

    def entries(self) -> list[Entry]:
        """Return what it holds, in order."""
        if not self.hashes:
            return []
        width = len(self.users) * HASH_BYTES // len(self.hashes)
        return [*zip(_numbers(self.hashes, HASH_BYTES), _numbers(self.users, width), strict=True)]


def _numbers(body: bytes, width: int) -> Iterator[int]:
    return (int.from_bytes(body[at : at + width], "big") for at in range(0, len(body), width))


def row_of(first: int, entries: Sequence[Entry]) -> Row:
    """Return a row with entries, which are in order."""
    hashes = b"".join([one.to_bytes(HASH_BYTES, "big") for one, _ in entries])
    width = SHORT if all(number >> 8 * SHORT == 0 for _, number in entries) else LONG
    return Row(first, hashes, b"".join([number.to_bytes(width, "big") for _, number in entries]))


def added(rows: Sequence[Row], entries: Iterable[Entry]) -> list[Row]:
    """Return the rows that change where entries are added to rows in order; all are among the hashes of these rows."""
    firsts = [row.first for row in rows]
    held = [set(row.entries()) for row in rows]
    before = [len(one) for one in held]
    for entry in entries:
        held[bisect_right(firsts, entry[0]) - 1].add(entry)
    return [
        made
        for first, some, size in zip(firsts, held, before, strict=True)
        if len(some) > size
        for made in _split(first, sorted(some))
    ]


def _split(first: int, entries: list[Entry]) -> Iterator[Row]:
    if len(entries) <= MOST:
        yield row_of(first, entries)
        return
    # Entries of one hash stay together.
    cuts = [0]
    for at in range(FULL, len(entries), FULL):
        cut = at
        while cut < len(entries) and entries[cut][0] == entries[cut - 1][0]:
            cut += 1
        if cuts[-1] < cut < len(entries):
            cuts.append(cut)
    for begin, end in pairwise([*cuts, len(entries)]):
        yield row_of(entries[begin][0] if begin else first, entries[begin:end])


def without(rows: Iterable[Row], entries: Iterable[Entry]) -> list[Row]:
    """Return the rows that change where entries are taken out."""
    gone = frozenset(entries)
    found = ((row.first, row.entries(), [one for one in row.entries() if one not in gone]) for row in rows)
    return [row_of(first, kept) for first, held, kept in found if len(kept) < len(held)]


# -- in the database ---------------------------------------------------------------------------------------------------


async def hashes_of(session: Session, ids: Sequence[str], tenants: Sequence[str]) -> list[int]:
    """Return the hash of each id and its tenant."""
    return await session.rows(int, "hashes_of_ids", event_ids=[*ids], tenant_ids=[*tenants])


async def _rows_for(session: Session, entries: Iterable[Entry]) -> list[Row]:
    return await session.rows(Row, "packed_rows", hashes=[one for one, _ in entries])


async def _write(session: Session, rows: Iterable[Row]) -> None:
    changed = sorted(rows, key=itemgetter(0))
    if changed:
        await session.run("write_packed_rows", **columns("rows", Row._fields, changed))


async def add_entries(session: Session, entries: Sequence[Entry]) -> None:
    """Add entries, AT_ONCE at the most; the archive is held. Those that are there already are passed over."""
    await _write(session, added(await _rows_for(session, entries), entries))


async def forget_ids(session: Session, tenant: str, ids: Sequence[str], number: int) -> None:
    """Forget ids of a tenant's user who has a number; the archive is held."""
    entries = [(one, number) for one in await hashes_of(session, ids, [tenant] * len(ids))]
    await _write(session, without(await _rows_for(session, entries), entries))


async def add_ids(session: Session, tenant: str, ids: Sequence[str], number: int) -> None:
    """Add ids of a tenant's user, AT_ONCE at the most; the archive is held."""
    await add_entries(session, sorted((one, number) for one in await hashes_of(session, ids, [tenant] * len(ids))))
