"""`ach top`: what happens now, in the terminal, until `q` or Ctrl-C."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import anyio
import click

from worker.commands.options import wall_clock
from worker.commands.servers import CommandError, on_servers
from worker.process.signals import stop_on_signals
from worker.report import live
from worker.settings import shown
from worker.status.picture import lines
from worker.status.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.report.live import Row
    from worker.settings import Settings

DRAW_SECONDS: Final = 1.0


@click.command("top")
def command() -> None:
    """Watch what happens now in the terminal: what `ach status` prints, once a second; q ends it.

    It asks the database one query a second, and the broker two.
    """
    on_servers(_watch)


async def _watch(settings: Settings) -> None:
    if not live.can_draw():
        raise CommandError("`ach top` draws on a terminal, and standard output is none", "`ach status` prints once")
    watch = Watch(settings)
    async with stop_on_signals() as stop:
        with live.keys() as pressed, live.picture() as draw:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch.run)
                tasks.start_soon(_draw, watch, draw, f"{shown(settings.database_url)}   q quits")
                if pressed is not None:
                    tasks.start_soon(_until_q, pressed, stop)
                await stop.wait()
                tasks.cancel_scope.cancel()


async def _draw(watch: Watch, draw: Callable[[Sequence[Row], str], None], last: str) -> None:
    while True:
        draw(lines(watch.sight, wall_clock()), last)
        await anyio.sleep(DRAW_SECONDS)


async def _until_q(pressed: Callable[[], str], stop: anyio.Event) -> None:
    while True:
        await anyio.wait_readable(sys.stdin)
        said = pressed()
        if not said or "q" in said.lower():
            stop.set()
            return
