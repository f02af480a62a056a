"""`ach status`: what happens now, printed once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from worker.commands.options import json_object_option, wall_clock
from worker.commands.servers import on_servers
from worker.report import live, screen
from worker.status.picture import as_object, lines
from worker.status.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.settings import Settings
    from worker.status.picture import Line, Sight


@click.command("status")
@json_object_option
def command(*, as_json: bool) -> None:
    """Print what happens now: lag, rates, outbox, dead letters, workers, rules and running changes.

    Exit code 1 where a server does not answer; what the other one says is printed all the same.
    """
    sight = on_servers(_look)
    if as_json:
        screen.say_json(as_object(sight))
    else:
        _print([line for line in lines(sight, wall_clock()) if line.text.strip()])
    sys.exit(int(bool(sight.database_said or sight.broker_said)))


def _print(found: Sequence[Line]) -> None:
    """Print lines: folded on a terminal, and each as one line elsewhere."""
    paper = screen.paper()
    if screen.is_terminal():
        for text in live.drawn(found, paper.width, whole=True):
            paper.print(text)
        return
    for line in found:
        paper.say(f"{line.label:{live.LABEL}}{line.text}")


async def _look(settings: Settings) -> Sight:
    return await Watch(settings).once()
