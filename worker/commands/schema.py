"""`ach schema`: the JSON Schemas of announcements and of exports."""

from __future__ import annotations

import click

from worker.engine.announcement import schema_text
from worker.report import screen
from worker.view.person import export_schema


@click.command("schema")
@click.argument("what", type=click.Choice(["unlock", "export"]))
def command(what: str) -> None:
    """Print a JSON Schema: `unlock` is that of announcements, `export` that of what `ach export` prints."""
    screen.hand_on(schema_text() if what == "unlock" else export_schema())
