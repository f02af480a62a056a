"""`ach notify enable`: an endpoint that was disabled gets deliveries again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.commands.notify.endpoint_file import client_of, config_option, endpoint_argument, endpoint_of
from worker.commands.options import json_object_option
from worker.commands.servers import on_servers
from worker.notify.control import enable
from worker.report import screen

if TYPE_CHECKING:
    from pathlib import Path

    from worker.notify.endpoints import Endpoint
    from worker.settings import Settings


@click.command("enable")
@endpoint_argument
@config_option
@json_object_option
def command(endpoint: str, config: Path, *, as_json: bool) -> None:
    """Enable an endpoint that was disabled; what waits is delivered when its next attempt is due."""
    was_disabled = on_servers(partial(_enable, endpoint=endpoint_of(config, endpoint)))
    if as_json:
        screen.say_json({"endpoint": endpoint, "was_disabled": was_disabled})
        return
    out = screen.out()
    out.say(f"{endpoint} is enabled" if was_disabled else f"{endpoint} was not disabled")
    if was_disabled:
        out.say(f"to send at once what waits: ach notify replay {endpoint} --since INSTANT")


async def _enable(settings: Settings, *, endpoint: Endpoint) -> bool:
    async with client_of(settings) as client:
        return await enable(client, settings, endpoint.name)
