"""`ach notify check`: what a file of endpoints says, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import click

from worker.commands.notify.endpoint_file import config_option, endpoints_of, place_of, wants_of
from worker.report import screen


@click.command("check")
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(dir_okay=False, path_type=Path))
@config_option
def command(file: Path | None, config: Path) -> None:
    """Check a file of endpoints, with the secrets that it names; nothing is sent."""
    rows = [(one.name, place_of(one), wants_of(one)) for one in endpoints_of(file or config)]
    screen.table(screen.plural(len(rows), "endpoint"), ["endpoint", "to", "wants"], rows)
