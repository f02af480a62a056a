"""Options and arguments that several commands have, and what their texts mean."""

from __future__ import annotations

from pathlib import Path
from time import time_ns
from typing import Final

import click

from dsl.payload import instant

PATHS: Final = click.Path(path_type=Path)
EXISTING_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)

rules_argument = click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=PATHS)
rules_option = click.option(
    "--rules",
    "-r",
    "paths",
    multiple=True,
    required=True,
    metavar="PATH",
    type=PATHS,
    help="Rule file or folder; may be given several times.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
limit_option = click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1))


def microseconds(
    text: str, given: str | None = None, expected: str = "RFC 3339 instant, such as 2026-05-01T00:00:00Z"
) -> int:
    """Return the instant that a text means, in microseconds since the epoch.

    Raises:
        click.UsageError: it is not RFC 3339; the message shows what was `given` in its place.
    """
    moment = instant(text)
    if moment is None:
        raise click.UsageError(f"{given or text!r} is no {expected}")
    return moment[0]


def wall_clock() -> int:
    """Return the time, in microseconds since the epoch."""
    return time_ns() // 1000
