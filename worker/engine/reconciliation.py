"""What a change of rules has decided, by rule version: the facts of `ach reconcile`. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct

from dsl.calendar import format_instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DECISIONS: Final = (
    "granted",
    "settling",
    "amended",
    "restored",
    "contested",
    "withdrawn",
    "revoked",
    "granted_by_hand",
)
"""In the order of columns."""


class Version(NamedTuple):
    """One tier of a version of an achievement, "" for none."""

    achievement: str
    tier: str
    version: int


class Counted(NamedTuple):
    """One kind of decision about a version: unlocks, and the subjects that have them."""

    achievement: str
    tier: str
    version: int
    decision: str
    unlocks: int
    subjects: int


class Row(Struct, frozen=True):
    """What became of the unlocks of one version and tier."""

    achievement: str
    tier: str | None
    version: int
    decisions: dict[str, int]
    """By kind, as in the table `evaluation`: unlocks."""
    subjects: dict[str, int]
    """The same: subjects."""
    unchanged: int
    """Granted before, and still standing without a decision of this change."""


class Reconciliation(Struct, frozen=True):
    """What a change has decided so far."""

    change_id: int
    state: str
    epoch: int | None
    epoch_before: int
    applied_at: str | None
    applied_by: str
    message: str
    rows: list[Row]
    """Versions about which something was decided."""
    total: dict[str, int]
    """Unlocks by kind of decision."""
    unchanged: int
    """Unlocks of all versions."""


class Decided(Struct, frozen=True):
    """One decision of a change; instants in RFC 3339."""

    change_id: int
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str | None
    occurrence: str | None
    version: int
    decision: str
    earned_at: str
    event_id: str
    decided_at: str


class Evaluation(NamedTuple):
    """A row of the table `evaluation`; instants in microseconds, "" for no tier and no occurrence."""

    change_id: int
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str
    occurrence: str
    version: int
    decision: str
    earned_at: int
    event_id: str
    decided_at: int

    def shown(self) -> Decided:
        """Return it as it is shown."""
        named = self.achievement, self.tier or None, self.occurrence or None
        what = self.version, self.decision, format_instant(self.earned_at), self.event_id
        return Decided(*self[:4], *named, *what, format_instant(self.decided_at))


def by_version(counted: Iterable[Counted], unchanged: Mapping[Version, int]) -> list[Row]:
    """Return the versions about which something was decided, sorted."""
    found: defaultdict[Version, list[Counted]] = defaultdict(list)
    for one in counted:
        found[Version(*one[:3])].append(one)
    return [
        Row(
            version.achievement,
            version.tier or None,
            version.version,
            {one.decision: one.unlocks for one in some},
            {one.decision: one.subjects for one in some},
            unchanged.get(version, 0),
        )
        for version, some in sorted(found.items())
    ]


def total_of(rows: Iterable[Row]) -> dict[str, int]:
    """Return the number of unlocks by kind of decision, those without any left out."""
    rows = list(rows)
    found = {kind: sum(row.decisions.get(kind, 0) for row in rows) for kind in DECISIONS}
    return {kind: number for kind, number in found.items() if number}
