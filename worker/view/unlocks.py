"""The unlocks of a tenant in the order of the books, page by page, so that no reader skips any.

Decisions are numbered while their transactions are under way, and those end in another order: 7 may be there while 6 is
not yet. So a page ends before the first number that may still come (`worker.engine.horizon`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, NamedTuple
from uuid import UUID  # noqa: TC003 - NamedTuple

from msgspec import Meta, Raw, Struct

from dsl.calendar import format_instant
from worker.engine.announcement import Instant
from worker.engine.cursor import Cursors
from worker.engine.horizon import Horizon, Look
from worker.engine.languages import spoken
from worker.engine.reconcile import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.engine.answer import Reader
    from worker.engine.entries import Catalogue
    from worker.store import Store

GRANTS: Final = (Kind.GRANTED, Kind.GRANTED_BY_HAND)
"""By these an unlock comes into being, or comes back by an operator's word."""
ALL: Final = (*GRANTS, Kind.AMENDED, Kind.CONTESTED, Kind.RESTORED, Kind.REVOKED)
"""Corrections too."""
LONGEST_PAGE: Final = 1000
MOST_SCANNED: Final = 5_000
"""Decisions of its tenant that one page looks through: where more of them are no unlocks, it ends before it is full."""
_NO_DECISION: Final = 2**63 - 1
"""Behind all decisions."""

_Reward = Annotated[Raw, Meta(description="As it was granted.", extra_json_schema={"type": "object"})]
_Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]


class Unlocked(Struct, frozen=True, kw_only=True):
    """One decision about an unlock, and the unlock as it stands now, which may be further on."""

    kind: Kind
    decided_at: Instant
    unlock_id: _Id
    revision: Annotated[int, Meta(ge=1)]
    status: Annotated[str, Meta(extra_json_schema={"enum": ["granted", "contested", "revoked"]})]
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str | None
    occurrence: str | None
    version: Annotated[int, Meta(ge=1)]
    origin: str
    earned_at: Instant
    granted_at: Instant
    reward: _Reward
    family: str | None
    title: str | None
    language: str | None
    fallback: bool


class Page(Struct, frozen=True, kw_only=True):
    """Some unlocks in order."""

    unlocks: list[Unlocked]
    cursor: Annotated[str, Meta(description="Give it as `since` for what comes next.")]
    more: Annotated[bool, Meta(description="Whether there is more by now: ask again at once.")]


class Wanted(NamedTuple):
    """Which unlocks of a tenant, and how many at most."""

    tenant: str
    limit: int = 100
    kinds: Sequence[Kind] = GRANTS


class _Looked(NamedTuple):
    last: int
    next_xid: int
    xmin: int
    xmax: int
    bound: int | None


class _Row(NamedTuple):
    evaluation_id: int
    decision: str
    decided_at: int
    unlock_id: UUID
    scope: str
    subject: str
    achievement: str
    tier: str
    occurrence: str
    version: int
    earned_at: int
    granted_at: int
    reward: str
    origin: str
    revision: int
    status: str


class Unlocks:
    """Reads the unlocks of tenants. One for a process: it remembers up to where the books are complete.

    Right after its start, while transactions are under way, it may know that of no decision yet: then a page is empty.
    `key` keeps cursors apart from those that others make up; processes that serve the same clients share it.
    """

    def __init__(self, store: Store, *, key: bytes) -> None:
        self._store = store
        self._cursors = Cursors(key)
        self._horizon = Horizon()

    async def now(self, tenant: str) -> str:
        """Return the cursor behind which is what comes from now on.

        Raises:
            UnavailableError: the database is away.
        """
        safe, _ = await self._safe(tenant, _NO_DECISION)
        return self._cursors.write(tenant, safe)

    async def page(self, catalogue: Catalogue, wanted: Wanted, reader: Reader, since: str | None) -> Page:
        """Return what comes behind a cursor, or behind the beginning where there is none, `LONGEST_PAGE` at most.

        Raises:
            CursorError: the cursor was not given out here, for this tenant.
            UnavailableError: the database is away.
        """
        after = 0 if since is None else self._cursors.read(wanted.tenant, since)
        limit = min(max(wanted.limit, 1), LONGEST_PAGE)
        safe, until = await self._safe(wanted.tenant, after)
        async with self._store.alone() as session:
            rows = await session.rows(
                _Row,
                "decisions_of_tenant",
                tenant_id=wanted.tenant,
                after=after,
                until=until,
                most=MOST_SCANNED,
                kinds=[*wanted.kinds],
                limit=limit,
            )
        end = rows[-1].evaluation_id if len(rows) == limit else max(after, until)
        unlocks = [_unlocked(catalogue, wanted.tenant, row, reader) for row in rows]
        return Page(unlocks=unlocks, cursor=self._cursors.write(wanted.tenant, end), more=end < safe)

    async def _safe(self, tenant: str, after: int) -> tuple[int, int]:
        """Return up to where the books are complete, and up to where a page of a tenant may look at most."""
        async with self._store.alone() as session:
            looked = await session.row(_Looked, "decisions_so_far", tenant_id=tenant, after=after, most=MOST_SCANNED)
        if looked is None:
            raise AssertionError("decisions_so_far")
        # All decisions up to `safe` were there when `bound` was read, so no more than that many lie between.
        safe = self._horizon.see(Look(*looked[:4]))
        return safe, safe if looked.bound is None else min(safe, looked.bound)


def _unlocked(catalogue: Catalogue, tenant: str, row: _Row, reader: Reader) -> Unlocked:
    entry = catalogue.entry(row.achievement, row.tier or None, row.version)
    title = None if entry is None else spoken(entry.titles, reader.languages)
    return Unlocked(
        kind=Kind(row.decision),
        decided_at=format_instant(row.decided_at),
        unlock_id=str(row.unlock_id),
        revision=row.revision,
        status=row.status,
        tenant_id=tenant,
        scope=row.scope,
        subject=row.subject,
        achievement=catalogue.rules.renames.now(row.achievement),
        tier=row.tier or None,
        occurrence=row.occurrence or None,
        version=row.version,
        origin=row.origin,
        earned_at=format_instant(row.earned_at),
        granted_at=format_instant(row.granted_at),
        reward=Raw(row.reward.encode()),
        family=None if entry is None else entry.family,
        title=None if title is None else title.text,
        language=None if title is None else title.language,
        fallback=title is not None and title.fallback,
    )
