"""What a change of rules has decided: read from the books, where workers and builds write alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.calendar import format_instant
from worker.admin.changes import UnknownChangeError
from worker.engine.reconciliation import Counted, Evaluation, Reconciliation, Version, by_version, total_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from worker.engine.reconciliation import Decided
    from worker.store import Session, Store

SNAPSHOT: Final = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on;
"""


class NoChangeError(LookupError):
    """No change has come into force yet."""

    def __init__(self) -> None:
        super().__init__("no change of rules has come into force yet: `ach apply` makes one")


class _Row(NamedTuple):
    change_id: int
    state: str
    epoch: int | None
    epoch_before: int
    applied_at: int | None
    applied_by: str
    message: str


async def reconciliation(store: Store, change_id: int | None) -> Reconciliation:
    """Return what a change has decided so far; None stands for the latest that came into force.

    Raises:
        UnknownChangeError, NoChangeError: there is none.
        UnavailableError: the database is away.
    """
    async with store.transaction(patient=True) as session:
        await session.script(SNAPSHOT)
        change = await session.row(_Row, "change_to_reconcile", change_id=change_id)
        if change is None:
            raise NoChangeError if change_id is None else UnknownChangeError(change_id)
        counted = await session.rows(Counted, "reconciled", change_id=change.change_id)
        unchanged = await _unchanged(session, change)
    rows = by_version(counted, unchanged)
    applied_at = None if change.applied_at is None else format_instant(change.applied_at)
    return Reconciliation(
        *change[:4],
        applied_at,
        change.applied_by,
        change.message,
        rows,
        total_of(rows),
        sum(unchanged.values()),
    )


async def _unchanged(session: Session, change: _Row) -> dict[Version, int]:
    if change.applied_at is None:
        return {}
    asked: dict[str, object] = {"change_id": change.change_id, "applied_at": change.applied_at}
    return dict(await session.rows(_counted, "unchanged_by_change", **asked))


def _counted(achievement: str, tier: str, version: int, number: int) -> tuple[Version, int]:
    return Version(achievement, tier, version), number


async def one_by_one(store: Store, change_id: int) -> AsyncGenerator[list[Decided]]:
    """Yield the decisions of a change in pages, by rule version and subject.

    Raises:
        UnavailableError: the database is away.
    """
    async with store.transaction(patient=True) as session:
        await session.script(SNAPSHOT)
        async for page in session.pages(Evaluation, "reconciled_one_by_one", change_id=change_id):
            yield [row.shown() for row in page]


async def of_subject(
    store: Store, tenant: str, scope: str, subject: str, *, change_id: int | None, limit: int
) -> list[Decided]:
    """Return what changes have decided about one subject, the latest first; None for all changes.

    Raises:
        UnavailableError: the database is away.
    """
    asked: dict[str, object] = {"tenant_id": tenant, "scope": scope, "subject": subject, "change_id": change_id}
    async with store.transaction() as session:
        rows = await session.rows(Evaluation, "reconciled_of_subject", **asked, limit=limit)
    return [row.shown() for row in rows]
