"""What migrations have replaced and left for workers of earlier releases: dropped once none is at work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from worker.store import Session, Store

_ALIVE: Final = 60_000_000
"""Microseconds since a worker was seen last, within which it counts as at work."""


class Superseded(NamedTuple):
    """An index that nothing of this release uses."""

    name: str
    releases: tuple[str, ...]
    """Other ones, whose workers are at work; where there are none, the index was dropped."""


async def other_releases(session: Session, now: int, release: str) -> list[str]:
    """Return the releases, other than one, whose workers are at work; `now` is in microseconds."""
    return await session.rows(str, "other_releases", since=now - _ALIVE, release=release)


async def drop_superseded(store: Store, now: int, release: str) -> Superseded | None:
    """Drop the index by user and instant that migration 0023 replaces; return None where it is gone already.

    `now` is in microseconds, `release` the own one. No row is read; writers wait for a moment.

    Raises:
        UnavailableError: the database is away, or a long transaction reads the ledger.
        RefusedError: the role does not own the ledger.
    """
    async with store.transaction() as session:
        if not await session.value(bool, "is_index_of_user_left"):
            return None
        others = await other_releases(session, now, release)
        if not others:
            await session.run("drop_index_of_user")
    return Superseded("event_of_user", tuple(others))
