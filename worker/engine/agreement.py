"""Whether what a subject's events earn is what production has granted. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dsl.calendar import format_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dsl.outcome import Subject
    from dsl.progress import Grant


class Why(StrEnum):
    """How the events and production differ about one unlock."""

    MISSING = "missing"
    """The events earn it, and production has not granted it."""
    UNSUPPORTED = "unsupported"
    """Production has granted it, and the events do not earn it."""
    CHANGED = "changed"
    """Both have it, with another version or another instant."""
    CONTESTED = "contested"
    """The events earn it, and production says that they do not support it any more."""
    RETIRED = "retired"
    """Production has granted it, and these rules do not have its achievement or tier."""
    REVOKED = "revoked"
    """The events earn it, and an operator has taken it away."""

    @property
    def is_word_of_operator(self) -> bool:
        """Whether production is right under the rules in force: who retires an achievement leaves its grants."""
        return self in {Why.REVOKED, Why.RETIRED}


class StoredUnlock(NamedTuple):
    """An unlock of production, empty text for none; instants in microseconds."""

    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str
    occurrence: str
    version: int
    earned_at: int
    settles_at: int | None
    by_events: bool
    """False of one that an operator has granted, and no event has earned so far."""
    contested: bool
    revoked: bool

    @property
    def key(self) -> tuple[str, str, str]:
        """Return achievement, tier and occurrence."""
        return self.achievement, self.tier, self.occurrence


class Earned(msgspec.Struct, frozen=True):
    """Version and instant of an unlock."""

    version: int
    earned_at: str


class Disagreement(msgspec.Struct, frozen=True):
    """An unlock that the events and production do not agree about."""

    why: Why
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str | None
    occurrence: str | None
    by_events: Earned | None
    in_production: Earned | None


def disagreements(
    subject: Subject,
    grants: Iterable[Grant],
    stored: Iterable[StoredUnlock],
    clock: int,
    ruled: Callable[[str, str], bool],
) -> list[Disagreement]:
    """Return how production differs from what a subject's events earn, in the order of achievements.

    `clock` (microseconds) is when unlocks have settled or not, the same for both; `ruled` tells whether the rules have
    an achievement and tier ("" for none).
    """
    earned = {
        (grant.achievement, grant.tier or "", grant.occurrence or ""): (grant.version, grant.earned_at)
        for grant in grants
        if grant.earned_at + grant.settle <= clock
    }
    known = {row.key: row for row in stored}
    found: list[Disagreement] = []
    for key in sorted({*earned, *known}):
        row = known.get(key)
        why = _why(earned.get(key), row, clock, is_ruled=ruled(*key[:2]))
        if why is not None:
            achievement, tier, occurrence = key
            mine, theirs = _shown(earned.get(key)), _shown(None if row is None else (row.version, row.earned_at))
            found.append(Disagreement(why, *subject, achievement, tier or None, occurrence or None, mine, theirs))
    return found


def _why(earned: tuple[int, int] | None, row: StoredUnlock | None, clock: int, *, is_ruled: bool) -> Why | None:
    granted = row is not None and row.by_events and (row.settles_at is None or row.settles_at <= clock)
    if row is None or not granted:
        return None if earned is None else Why.MISSING
    if earned is None and row.earned_at > clock:
        return None  # at the begin of a version, which the clock has not reached
    if earned is None:
        stands = not row.contested and not row.revoked
        return (Why.UNSUPPORTED if is_ruled else Why.RETIRED) if stands else None
    if row.revoked:
        return Why.REVOKED
    if row.contested:
        return Why.CONTESTED
    return None if earned == (row.version, row.earned_at) else Why.CHANGED


def _shown(earned: tuple[int, int] | None) -> Earned | None:
    return None if earned is None else Earned(earned[0], format_instant(earned[1]))
