"""`ach notify check`: what a file of endpoints says, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import click

from worker.commands.notify.endpoint_file import config_option, endpoints_of, place_of, wants_of
from worker.commands.options import json_option
from worker.report import screen


@click.command("check")
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(dir_okay=False, path_type=Path))
@config_option
@json_option
def command(file: Path | None, config: Path, *, as_json: bool) -> None:
    """Check a file of endpoints, with the secrets that it names; nothing is sent."""
    rows = [(one.name, place_of(one), wants_of(one)) for one in endpoints_of(file or config)]
    columns = ["endpoint", "to", "wants"]
    if as_json:
        screen.say_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        screen.table(screen.plural(len(rows), "endpoint"), columns, rows)
