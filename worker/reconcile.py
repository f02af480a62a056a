"""What was granted against what is earned: the decisions that bring the books in line. Pure."""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from dsl.event import Position
from dsl.progress import Grant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dsl.outcome import Subject


class Kind(StrEnum):
    """What a decision does; the values are those of the table `evaluation`."""

    GRANTED = "granted"
    SETTLING = "settling"
    """Earned, and granted only when it has settled."""
    WITHDRAWN = "withdrawn"
    """No longer earned, and never granted."""
    AMENDED = "amended"
    CONTESTED = "contested"
    RESTORED = "restored"


class Stored(NamedTuple):
    """A row of the table `unlock`; instants in microseconds, "" for no tier and no occurrence."""

    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str
    occurrence: str
    unlock_id: UUID
    version: int
    earned_at: int
    event_id: str
    settles_at: int | None
    granted_at: int | None
    contested_at: int | None
    revoked_at: int | None


class Change(NamedTuple):
    """One decision about a stored unlock. The grant is the earned one, or the stored one that is earned no more."""

    kind: Kind
    unlock_id: UUID
    grant: Grant


class Decision(NamedTuple):
    """One change of an unlock, for the books."""

    kind: Kind
    subject: Subject
    unlock_id: UUID
    grant: Grant


class Complete(NamedTuple):
    """Says that what is earned is all that the subject has earned behind a position."""

    since: Position
    still_ruled: Callable[[str, str], bool]
    """Tells whether an achievement and tier ("" for none) are still judged."""

    def covers(self, row: Stored) -> bool:
        """Tell whether the row would be among what is earned if it were still supported."""
        return Position(row.earned_at, row.event_id) > self.since and self.still_ruled(row.achievement, row.tier)


def unlock_id(subject: Subject, grant: Grant) -> UUID:
    """Return the id of an unlock: a hash of its key alone, so the same in every replay and after every amendment."""
    parts = [part.encode() for part in (*subject, grant.achievement, grant.tier or "", grant.occurrence or "")]
    hashed = blake2b(b"".join([len(part).to_bytes(4, "big") + part for part in parts]), digest_size=16)
    # Version 8 of RFC 9562 is for hashes of one's own.
    number = int.from_bytes(hashed.digest(), "big")
    number = number & ~(0xF << 76) | 8 << 76
    return UUID(int=number & ~(0x3 << 62) | 2 << 62)


def reconcile(
    subject: Subject, stored: Iterable[Stored], earned: Iterable[Grant], complete: Complete | None
) -> tuple[list[Grant], list[Change]]:
    """Compare one subject's stored unlocks with what it has earned; return what is new, and what changes.

    Where the comparison is complete, what is stored beyond what is earned is contested, or withdrawn where it was never
    granted. What an operator revoked stays as it is, and what no rule judges any more stays granted.
    """
    supported = {unlock_id(subject, grant): grant for grant in earned}
    rows = {row.unlock_id: row for row in stored}
    new = [grant for key, grant in supported.items() if key not in rows]
    changes = list(_moved(rows, supported))
    if complete is not None:
        changes.extend(
            change
            for row in rows.values()
            if row.unlock_id not in supported and complete.covers(row)
            for change in _unsupported(row)
        )
    return new, changes


def _moved(rows: dict[UUID, Stored], supported: dict[UUID, Grant]) -> Iterator[Change]:
    for key, grant in supported.items():
        row = rows.get(key)
        if row is None or row.revoked_at is not None:
            continue
        if row.contested_at is not None:
            yield Change(Kind.RESTORED, key, grant)
        elif (row.version, row.earned_at, row.event_id) != (grant.version, grant.earned_at, grant.event_id):
            yield Change(Kind.AMENDED, key, grant)


def _unsupported(row: Stored) -> Iterator[Change]:
    grant = Grant(
        achievement=row.achievement,
        tier=row.tier or None,
        occurrence=row.occurrence or None,
        version=row.version,
        earned_at=row.earned_at,
        event_id=row.event_id,
        settle=0 if row.settles_at is None else row.settles_at - row.earned_at,
    )
    if row.granted_at is None:
        yield Change(Kind.WITHDRAWN, row.unlock_id, grant)
    elif row.contested_at is None and row.revoked_at is None:
        yield Change(Kind.CONTESTED, row.unlock_id, grant)
