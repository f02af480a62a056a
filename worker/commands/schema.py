"""`ach schema`: the JSON Schema of announcements, and of what `ach plan --json` prints."""

from __future__ import annotations

import click

from worker.engine import announcement, preview
from worker.report import screen


@click.command("schema")
@click.argument("what", type=click.Choice(["unlock", "plan"]))
def command(what: str) -> None:
    """Print the JSON Schema of announcements (`unlock`), or of what `ach plan --json` prints (`plan`)."""
    screen.hand_on(announcement.schema_text() if what == "unlock" else preview.schema_text())
