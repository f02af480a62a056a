"""Rows of `pack`: events of a user, published as the next parts behind those that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from worker.contract.pack import MOST, PackedEvent, pack_of
from worker.engine.columns import columns
from worker.pipeline.archive import canonical, events_of_pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.store import Session


class PackUser(NamedTuple):
    """The user whose events are in a pack."""

    tenant_id: str = ""
    user_id: str = ""


class Made(NamedTuple):
    """A pack that is about to be written, or that was written before."""

    tenant_id: str
    user_id: str
    part: int
    number: int
    events: int
    body: bytes

    @property
    def user(self) -> PackUser:
        """Whose events are in it."""
        return PackUser(self.tenant_id, self.user_id)


class PackRow(NamedTuple):
    """A row of `pack`; instants in microseconds, types as JSON."""

    tenant_id: str
    user_id: str
    part: int
    number: int
    events: int
    first_at: int
    last_at: int
    types: str
    body: bytes


def pack_row(user: PackUser, part: int, number: int, events: Sequence[PackedEvent]) -> PackRow:
    """Return events in canonical order as a row."""
    types = msgspec.json.encode(sorted({event.event_type for event in events})).decode()
    ends = events[0].occurred_at, events[-1].occurred_at
    return PackRow(*user, part, number, len(events), *ends, types, pack_of(events))


def pack_rows(user: PackUser, part: int, number: int, events: Iterable[PackedEvent]) -> list[PackRow]:
    """Return events as rows, `part` the first of them."""
    held = sorted(events, key=canonical)
    pieces = [held[at : at + MOST] for at in range(0, len(held), MOST)]
    return [pack_row(user, part + n, number, piece) for n, piece in enumerate(pieces)]


async def insert_packs(session: Session, rows: Iterable[PackRow]) -> None:
    """Insert rows, whose keys are new; the partitions of their users are held."""
    await session.run("insert_packs", **columns("packs", PackRow._fields, sorted(rows)))


async def delete_packs(session: Session, keys: Iterable[tuple[str, str, int]]) -> None:
    """Delete rows by tenant, user and part, in order to write them anew, or for good."""
    some = sorted(keys)
    if some:
        tenants, names, parts = ([*column] for column in zip(*some, strict=True))
        await session.run("forget_packs", tenant_ids=tenants, user_ids=names, parts=parts)


async def publish_packs(
    session: Session, events: Mapping[PackUser, Sequence[PackedEvent]], numbers: Mapping[PackUser, int]
) -> None:
    """Write events as the next parts of their users; a last part with room left takes them in.

    Ids of the events are found by the numbers. A last part with another number is one that a user has left behind.
    """
    last = {pack.user: pack for pack in await session.rows(Made, "last_packs_of_users", **user_columns(events))}
    rows: list[PackRow] = []
    renewed: list[tuple[str, str, int]] = []
    for user, some in events.items():
        part, held = 1, some
        if user in last:
            before = last[user]
            part = before.part + 1
            if before.events < MOST and before.number == numbers[user]:
                part, held = before.part, [*events_of_pack(before.body), *some]
                renewed.append((user.tenant_id, user.user_id, before.part))
        rows += pack_rows(user, part, numbers[user], held)
    await delete_packs(session, renewed)
    await insert_packs(session, rows)


def user_columns(users: Iterable[PackUser]) -> dict[str, object]:
    """Return users as the arguments of a query."""
    tenants, names = [*zip(*users, strict=True)] or [(), ()]
    return {"tenant_ids": [*tenants], "user_ids": [*names]}
