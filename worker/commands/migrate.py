"""`ach migrate`: the database's schema, brought up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worker.app import wall_clock
from worker.commands.servers import on_servers, with_store
from worker.report import screen

if TYPE_CHECKING:
    from worker.settings import Settings


@click.command("migrate")
def command() -> None:
    """Bring the database's schema up to date (a worker does so by itself at its start)."""
    on_servers(_migrate)


async def _migrate(settings: Settings) -> None:
    applied = await with_store(settings, lambda store: store.migrate(now=wall_clock()), check=False)
    for name in applied:
        screen.out().print(f"applied {name}")
    if not applied:
        screen.out().print("the schema is up to date")
