"""`ach notify list`: endpoints with their state."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.commands.notify.endpoint_file import client_of, config_option, endpoints_of, place_of
from worker.commands.options import json_option
from worker.commands.servers import on_servers
from worker.notify.control import states
from worker.notify.health import DISABLED, FAILING
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.broker.durable import ConsumerState
    from worker.notify.endpoints import Endpoint
    from worker.settings import Settings


@click.command("list")
@config_option
@json_option
def command(config: Path, *, as_json: bool) -> None:
    """List endpoints with their state: what waits, what is tried again, why they are disabled."""
    on_servers(partial(_list, endpoints=endpoints_of(config), as_json=as_json))


async def _list(settings: Settings, *, endpoints: Sequence[Endpoint], as_json: bool) -> None:
    async with client_of(settings) as client:
        found = await states(client, settings, endpoints)
    rows = [_row(one, state) for one, state in zip(endpoints, found, strict=True)]
    if as_json:
        screen.say_json(rows)
        return
    table = [tuple("" if value is None else str(value) for value in row.values()) for row in rows]
    screen.table(screen.plural(len(rows), "endpoint"), [*rows[0]], table, right=range(3, 5))


def _row(endpoint: Endpoint, state: ConsumerState | None) -> dict[str, str | int | None]:
    word, detail = _state(state)
    return {
        "endpoint": endpoint.name,
        "to": place_of(endpoint),
        "state": word,
        "waiting": None if state is None else state.waiting,
        "retrying": None if state is None else state.unacknowledged,
        "detail": detail,
    }


def _state(state: ConsumerState | None) -> tuple[str, str]:
    """Return the state of an endpoint in a word, and in detail."""
    if state is None:
        return "new", "no notifier has served it yet"
    if DISABLED in state.metadata:
        return "disabled", state.metadata[DISABLED]
    if FAILING in state.metadata:
        return "failing", f"since {state.metadata[FAILING]}"
    return "enabled", ""
