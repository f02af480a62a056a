"""`ach schema`: the JSON Schemas of announcements, and of what `ach plan --json` and `ach export` print."""

from __future__ import annotations

from typing import Final

import click

from worker.engine import announcement, preview
from worker.report import screen
from worker.view import person

SCHEMAS: Final = {
    "unlock": announcement.schema_text,
    "plan": preview.schema_text,
    "export": person.export_schema,
}


@click.command("schema")
@click.argument("what", type=click.Choice(list(SCHEMAS)))
def command(what: str) -> None:
    """Print the JSON Schema of announcements (`unlock`), or of what `ach plan --json` or `ach export` prints."""
    screen.hand_on(SCHEMAS[what]())
