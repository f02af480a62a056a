"""`ach change show`: one change of rules."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.admin.changes import change_of, counts_of
from worker.commands.change_text import json_of, show
from worker.commands.options import change_argument
from worker.commands.servers import on_servers, with_store
from worker.report import screen

if TYPE_CHECKING:
    from worker.admin.changes import Change, Counts
    from worker.settings import Settings
    from worker.store import Store


@click.command("show")
@change_argument
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(change_id: int, *, as_json: bool) -> None:
    """Show one change: who applied it and why, how far it is built, and what came of it."""
    on_servers(partial(_show, change_id=change_id, as_json=as_json))


async def _show(settings: Settings, *, change_id: int, as_json: bool) -> None:
    async def work(store: Store) -> tuple[Change, Counts]:
        return await change_of(store, change_id), await counts_of(store, change_id)

    change, counts = await with_store(settings, work)
    if as_json:
        screen.say_json(json_of(change, counts))
    else:
        show(change, counts)
