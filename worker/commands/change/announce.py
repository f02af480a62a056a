"""`ach change announce`: unlocks that were granted silently, announced after all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.admin.changes import announce_silent
from worker.commands.options import change_argument, json_object_option
from worker.commands.servers import on_servers, with_store
from worker.report import screen

if TYPE_CHECKING:
    from worker.settings import Settings


@click.command("announce")
@change_argument
@json_object_option
def command(change_id: int, *, as_json: bool) -> None:
    """Announce what a change has granted silently (--announce none, or since).

    Each unlock is announced as it stands, with origin backfill. What was contested or revoked stays silent.
    """
    on_servers(partial(_announce, change_id=change_id, as_json=as_json))


async def _announce(settings: Settings, *, change_id: int, as_json: bool) -> None:
    announced = await with_store(settings, lambda store: announce_silent(store, change_id))
    if as_json:
        screen.say_json({"change_id": change_id, "announced": announced})
        return
    screen.out().print(f"{screen.plural(announced, 'unlock')} of change {change_id} will be announced by a worker")
