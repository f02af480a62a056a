"""`ach dead`: messages that could not be used, and what to do about them."""

from __future__ import annotations

from typing import Final

import click

from worker.commands.lazy_group import LazyGroup

SUMMARIES: Final = {
    "list": "List dead letters, newest first.",
    "purge": "Delete dead letters for good.",
    "replay": "Send dead letters again, as they are or mended: those with these IDs, or all that match and were not "
    "sent yet.",
    "show": "Show one dead letter: why it died, and its bytes.",
}


@click.group("dead", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """List, inspect, mend, send again and purge dead letters."""
