"""`ach change cancel`: a change that is given up."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.admin.changes import cancel
from worker.app import wall_clock
from worker.commands.change_text import json_of
from worker.commands.options import change_argument, json_object_option
from worker.commands.servers import on_servers, whoami, with_store
from worker.report import screen

if TYPE_CHECKING:
    from worker.settings import Settings


@click.command("cancel")
@change_argument
@json_object_option
def command(change_id: int, *, as_json: bool) -> None:
    """Give up a change: its rules do not come into force or, if they have, it is built no further.

    Subjects that are not up to date by then are when an event touches them.
    """
    on_servers(partial(_cancel, change_id=change_id, as_json=as_json))


async def _cancel(settings: Settings, *, change_id: int, as_json: bool) -> None:
    change = await with_store(settings, lambda store: cancel(store, change_id, by=whoami(), now=wall_clock()))
    if as_json:
        screen.say_json(json_of(change))
        return
    if change.epoch is None:
        screen.out().print(f"change {change_id} is cancelled; its rules do not come into force")
        return
    screen.out().print(
        f"change {change_id} is cancelled; its rules stay in force (epoch {change.epoch}), and subjects that are not "
        f"up to date are when an event touches them; `ach change resume {change_id}` builds the rest"
    )
