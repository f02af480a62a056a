"""`ach notify deliveries`: attempts, newest first."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypedDict

import click

from dsl.calendar import format_instant
from worker.commands.options import json_option, limit_option
from worker.commands.servers import on_servers, with_store
from worker.notify.delivery_log import list_deliveries
from worker.notify.schedule import Outcome
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from worker.notify.delivery_log import Listed
    from worker.settings import Settings


class _Wanted(TypedDict):
    endpoint: str | None
    outcome: str | None
    webhook_id: str | None
    limit: int


@click.command("deliveries")
@click.option("--endpoint", "-e", metavar="ENDPOINT", help="Only to this one.")
@click.option("--outcome", type=click.Choice([one.value for one in Outcome]), help="Only these.")
@click.option("--id", "webhook_id", metavar="ID", help="Only of this webhook-id.")
@limit_option
@json_option
def command(*, as_json: bool, **wanted: Unpack[_Wanted]) -> None:
    """List attempts of the last 30 days, newest first."""
    on_servers(partial(_list, wanted=wanted, as_json=as_json))


async def _list(settings: Settings, *, wanted: _Wanted, as_json: bool) -> None:
    found = await with_store(settings, lambda store: list_deliveries(store, **wanted))
    if as_json:
        screen.say_json([{**row._asdict(), "attempted_at": format_instant(row.attempted_at)} for row in found])
    else:
        _print(found)


def _print(found: Sequence[Listed]) -> None:
    rows = [
        (
            format_instant(row.attempted_at)[:19],
            row.endpoint,
            row.webhook_id,
            row.type,
            "" if row.subject is None else f"{row.tenant_id} {row.subject}",
            row.attempt,
            row.outcome,
            row.status or "",
            f"{row.latency_ms} ms",
            row.detail,
        )
        for row in found
    ]
    columns = ["at", "endpoint", "webhook id", "type", "subject", "attempt", "outcome", "status", "took", "detail"]
    screen.table(screen.plural(len(rows), "attempt"), columns, rows, ids=[2], right=[5, 7, 8])
