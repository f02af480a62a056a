"""`ach schema`: the JSON Schema of announcements."""

from __future__ import annotations

import click

from worker.engine.announcement import schema_text
from worker.report import screen


@click.command("schema")
@click.argument("what", type=click.Choice(["unlock"]))
def command(what: str) -> None:
    """Print the JSON Schema of announcements: of unlocks, grants and corrections."""
    del what
    screen.hand_on(schema_text())
