"""`ach rules`: what is in force, what was, and an achievement that leaves."""

from __future__ import annotations

from typing import Final

import click

from worker.commands.lazy_group import LazyGroup

SUMMARIES: Final = {
    "history": "List all rule sets that were ever in force, the latest first: who, when, why, what was new.",
    "list": "List the achievements in force: version, scope, title, and how many hold each.",
    "retire": "Take an achievement out of the rules in force, as a change of its own; what it granted stays.",
    "show": "Show the text of each version of an achievement, since which epoch, and by whose hand.",
}


@click.group("rules", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """See the rules in force and those before them; take an achievement out of force."""
