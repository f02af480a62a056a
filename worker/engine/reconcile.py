"""Compare what was granted with what is earned and what operators say, and decide what changes. Pure.

The statements that write it repeat the operator's decision as a condition: a row may be revoked after it was read.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from dsl.event import Position
from dsl.outcome import Subject
from dsl.progress import Grant
from dsl.roles import is_pseudonym
from worker.engine.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Set as AbstractSet


KNOWN_IDS: Final = 1024
"""Ids that are kept: a grant is asked for its own when it is compared, and again when it is written."""
NO_EVIDENCE: Final = ""
"""In the place of an event's id, where only an operator's decision supports an unlock, or a moment has earned it."""


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
    REVOKED = "revoked"
    """An operator took it back."""
    GRANTED_BY_HAND = "granted_by_hand"
    """An operator granted it."""


class State(StrEnum):
    """Where a stored unlock stands. Whether it is announced makes no difference to any decision."""

    SETTLING = "settling"
    GRANTED = "granted"
    CONTESTED = "contested"
    BY_HAND = "by_hand"
    """Granted by an operator, with or without evidence."""
    REVOKED = "revoked"


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
    by_hand: bool = False

    @property
    def key(self) -> UUID:
        """The id of what it is about; its own is another one where its occurrence was called like an erased user."""
        if not is_pseudonym(self.occurrence):
            return self.unlock_id
        return unlock_id(Subject(*self[:3]), stored_grant(self))

    @property
    def is_supported(self) -> bool:
        """Whether events or a moment support it; without them, a manual grant was earned when it was granted."""
        return self.event_id != NO_EVIDENCE or not self.by_hand or self.earned_at != self.granted_at

    @property
    def state(self) -> State:
        """Its state; an operator's decision comes before everything else."""
        if self.revoked_at is not None:
            return State.REVOKED
        if self.by_hand:
            return State.BY_HAND
        if self.contested_at is not None:
            return State.CONTESTED
        return State.SETTLING if self.granted_at is None else State.GRANTED


class Change(NamedTuple):
    """One decision about a stored unlock. The grant is what the row says then, or said before it was withdrawn."""

    kind: Kind
    unlock_id: UUID
    grant: Grant


class Decision(NamedTuple):
    """One change of an unlock, for the books."""

    kind: Kind
    subject: Subject
    unlock_id: UUID
    grant: Grant
    origin: Origin = Origin.LIVE
    """Of what is granted."""
    change_id: int | None = None
    """The change of rules that it comes of; None where it comes of an event."""
    silent: bool = False
    """Of what is granted: nothing is announced of it."""


class Complete(NamedTuple):
    """Says that what is earned is all that the subject has earned behind a position."""

    since: Position
    still_ruled: Callable[[str, str], bool]
    """Tells whether an achievement and tier ("" for none) are still judged."""
    anew: AbstractSet[tuple[str, str]] = frozenset()
    """Achievements and tiers for which it is all from the beginning."""

    def covers(self, row: Stored) -> bool:
        """Tell whether the row would be among what is earned if it were still supported."""
        behind = Position(row.earned_at, row.event_id) > self.since or (row.achievement, row.tier) in self.anew
        return behind and self.still_ruled(row.achievement, row.tier)


@lru_cache(maxsize=KNOWN_IDS)
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
    granted. What an operator revoked stays as it is; what one granted stays granted, and says which event supports it.
    What no rule judges any more stays granted.
    """
    rows = {row.key: row for row in stored}
    if not rows:  # as of most: then no id has to be worked out
        return [*{(grant.achievement, grant.tier, grant.occurrence): grant for grant in earned}.values()], []
    supported = {unlock_id(subject, grant): grant for grant in earned}
    new = [grant for key, grant in supported.items() if key not in rows]
    changes = list(_moved(rows, supported))
    if complete is not None:
        changes.extend(
            change
            for key, row in rows.items()
            if key not in supported and complete.covers(row)
            for change in _unsupported(row)
        )
    return new, changes


def _moved(rows: dict[UUID, Stored], supported: dict[UUID, Grant]) -> Iterator[Change]:
    for key, grant in supported.items():
        row = rows.get(key)
        if row is None or row.state is State.REVOKED:
            continue
        if row.state is State.CONTESTED:
            yield Change(Kind.RESTORED, row.unlock_id, grant)
        elif (row.version, row.earned_at, row.event_id) != (grant.version, grant.earned_at, grant.event_id):
            yield Change(Kind.AMENDED, row.unlock_id, grant)


def stored_grant(row: Stored) -> Grant:
    """Return the grant that a row records."""
    return Grant(
        achievement=row.achievement,
        tier=row.tier or None,
        occurrence=row.occurrence or None,
        version=row.version,
        earned_at=row.earned_at,
        event_id=row.event_id,
        settle=0 if row.settles_at is None else row.settles_at - row.earned_at,
    )


def _unsupported(row: Stored) -> Iterator[Change]:
    grant = stored_grant(row)
    match row.state:
        case State.SETTLING:
            yield Change(Kind.WITHDRAWN, row.unlock_id, grant)
        case State.GRANTED:
            yield Change(Kind.CONTESTED, row.unlock_id, grant)
        case State.BY_HAND if row.is_supported and row.granted_at is not None:
            yield Change(Kind.AMENDED, row.unlock_id, without_evidence(grant, granted_at=row.granted_at))
        case State.BY_HAND | State.CONTESTED | State.REVOKED:
            return


def without_evidence(grant: Grant, *, granted_at: int) -> Grant:
    """Return a grant that only an operator's decision supports, as its row records it: earned when it was granted."""
    return grant._replace(earned_at=granted_at, event_id=NO_EVIDENCE, settle=0)


class ByHand(NamedTuple):
    """What a row says once an operator has granted it, and where it stood before: None where there was none."""

    before: State | None
    grant: Grant
    granted_at: int


def by_hand(row: Stored | None, bare: Grant, evidence: Grant | None, *, now: int) -> ByHand:
    """Decide what an operator's grant makes of an unlock, in whatever state it is; `now` in microseconds.

    `bare` is the grant by the version in effect, `evidence` what the subject's events earn of it. When it was granted
    never moves; one that an operator granted already changes in nothing.
    """
    before = None if row is None else row.state
    granted_at = now if row is None or row.granted_at is None else row.granted_at
    return ByHand(before, evidence or without_evidence(bare, granted_at=granted_at), granted_at)
