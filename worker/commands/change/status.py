"""`ach change status`: what is under way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.admin.changes import open_changes
from worker.commands.change_text import json_of, show
from worker.commands.options import json_option
from worker.commands.servers import on_servers, with_store
from worker.report import screen

if TYPE_CHECKING:
    from worker.settings import Settings


@click.command("status")
@json_option
def command(*, as_json: bool) -> None:
    """Show what is under way: the change that is built, and one that is about to come into force."""
    on_servers(partial(_status, as_json=as_json))


async def _status(settings: Settings, *, as_json: bool) -> None:
    found = await with_store(settings, open_changes)
    if as_json:
        screen.say_json([json_of(change) for change in found])
        return
    if not found:
        screen.out().print("no change is under way: all subjects are up to date, or are when they are touched")
    for change in found:
        show(change)
