"""`ach unlocks`: the unlocks in the database, with their status."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import click

from dsl.calendar import format_instant
from worker.commands.options import NAMED, json_option, limit_option
from worker.commands.servers import on_servers, with_store
from worker.engine.renames import Renames
from worker.pipeline.rules_in_force import renamed_before
from worker.report import screen

if TYPE_CHECKING:
    from typing import Unpack
    from uuid import UUID

    from worker.settings import Settings
    from worker.store import Store


class _Wanted(TypedDict):
    tenant: str | None
    subject: str | None
    status: str | None


@click.command("unlocks")
@click.option("--tenant", "-t", type=NAMED, metavar="TENANT", help="Only of this tenant.")
@click.option("--subject", "-s", type=NAMED, metavar="SUBJECT", help="Only of this user, team or tenant.")
@click.option(
    "--status",
    type=click.Choice(["settling", "granted", "silent", "announced", "contested", "revoked"]),
    help="Only these; `contested` are grants that later evidence no longer supports, `silent` those that are not "
    "announced.",
)
@limit_option
@json_option
def command(limit: int, *, as_json: bool, **wanted: Unpack[_Wanted]) -> None:
    """List unlocks with their status, those earned last first."""
    on_servers(partial(list_unlocks, **wanted, limit=limit, as_json=as_json))


class Listed(NamedTuple):
    """An unlock with its status; instants in microseconds."""

    unlock_id: UUID
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str | None
    occurrence: str | None
    version: int
    status: str
    earned_at: int
    granted_at: int | None
    by_hand: bool


async def list_unlocks(
    settings: Settings, *, tenant: str | None, subject: str | None, status: str | None, limit: int, as_json: bool
) -> None:
    """Print unlocks, those earned last first."""

    async def work(store: Store) -> list[Listed]:
        async with store.transaction() as session:
            rows = await session.rows(
                Listed, "listed_unlocks", tenant_id=tenant, subject=subject, status=status, limit=limit
            )
            return Renames(await renamed_before(session)).shown_in(rows)

    found = await with_store(settings, work)
    if as_json:
        screen.say_json([_as_json(row) for row in found])
        return
    rows = [
        (
            row.unlock_id,
            row.tenant_id,
            row.subject,
            ".".join(part for part in (row.achievement, row.tier) if part),
            row.occurrence or "",
            f"{row.status}, by hand" if row.by_hand else row.status,
            format_instant(row.earned_at)[:19],
        )
        for row in found
    ]
    columns = ["unlock id", "tenant", "subject", "achievement", "occurrence", "status", "earned at"]
    screen.table(screen.plural(len(rows), "unlock"), columns, rows, ids=range(5))


def _as_json(row: Listed) -> dict[str, object]:
    granted_at = None if row.granted_at is None else format_instant(row.granted_at)
    return {**row._asdict(), "earned_at": format_instant(row.earned_at), "granted_at": granted_at}
