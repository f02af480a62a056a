"""`ach migrate`: the database's schema, brought up to date."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.app import wall_clock
from worker.commands.options import json_object_option
from worker.commands.servers import on_servers, with_store
from worker.report import screen

if TYPE_CHECKING:
    from worker.settings import Settings


@click.command("migrate")
@json_object_option
def command(*, as_json: bool) -> None:
    """Bring the database's schema up to date (a worker does so by itself at its start)."""
    on_servers(partial(_migrate, as_json=as_json))


async def _migrate(settings: Settings, *, as_json: bool) -> None:
    applied = await with_store(settings, lambda store: store.migrate(now=wall_clock()), check=False)
    if as_json:
        screen.say_json({"applied": applied})
        return
    for name in applied:
        screen.out().print(f"applied {name}")
    if not applied:
        screen.out().print("the schema is up to date")
