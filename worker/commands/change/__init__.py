"""`ach change`: changes of rules as objects."""

from __future__ import annotations

from typing import Final

import click

from worker.commands.lazy_group import LazyGroup

SUMMARIES: Final = {
    "announce": "Announce what a change has granted silently (--announce none, or since).",
    "cancel": "Give up a change: its rules do not come into force or, if they have, it is built no further.",
    "list": "List changes of rules, the latest first.",
    "pause": "Stop the build of a change until it is resumed; its rules stay in force.",
    "resume": "Go on with a change that was paused, cancelled or interrupted.",
    "show": "Show one change: who applied it and why, how far it is built, and what came of it.",
    "status": "Show what is under way: the change that is built, and one that is about to come into force.",
}


@click.group("change", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """See the changes of rules: who applied what and why, how far each is built; pause, resume, cancel."""
