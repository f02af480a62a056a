"""`ach status`: what happens now, printed once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from worker.commands.options import wall_clock
from worker.commands.servers import on_servers
from worker.report import screen
from worker.status.picture import CHART, as_object, lines
from worker.status.watch import Watch

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.status.picture import Sight

_LABEL: Final = 14


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, as_json: bool) -> None:
    """Print what happens now: lag, rates, outbox, dead letters, workers, rules and running changes.

    Exit code 1 where a server does not answer; what the other one says is printed all the same.
    """
    sight = on_servers(_look)
    if as_json:
        screen.say_json(as_object(sight))
    else:
        for line in lines(sight, wall_clock()):
            if line.text.strip():
                screen.out().say(
                    f"{line.label:{_LABEL}}{line.text}", style=None if line.style in {"", CHART} else line.style
                )
    sys.exit(int(bool(sight.database_said or sight.broker_said)))


async def _look(settings: Settings) -> Sight:
    return await Watch(settings).once()
