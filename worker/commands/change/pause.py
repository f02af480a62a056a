"""`ach change pause`: a build that rests until it is resumed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.admin.changes import pause
from worker.commands.options import change_argument, json_object_option
from worker.commands.servers import on_servers, with_store
from worker.report import screen

if TYPE_CHECKING:
    from worker.settings import Settings


@click.command("pause")
@change_argument
@json_object_option
def command(change_id: int, *, as_json: bool) -> None:
    """Stop the build of a change until it is resumed; its rules stay in force."""
    on_servers(partial(_pause, change_id=change_id, as_json=as_json))


async def _pause(settings: Settings, *, change_id: int, as_json: bool) -> None:
    await with_store(settings, lambda store: pause(store, change_id))
    if as_json:
        screen.say_json({"change_id": change_id, "state": "paused"})
        return
    screen.out().print(f"change {change_id} is paused; `ach change resume {change_id}` goes on with it")
