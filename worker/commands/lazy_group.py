"""A group of commands that are imported when they are called."""

from __future__ import annotations

import gc
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping


class LazyGroup(click.Group):
    """Commands by name and summary: each is `command` in the module of its name in `package`.

    Help and completion list summaries, for which they import no command. A test compares those with the commands' own.
    """

    def __init__(self, *args: Any, package: str, summaries: Mapping[str, str], **rest: Any) -> None:  # noqa: ANN401 - click's own
        listed = {name: click.Command(name, help=summary) for name, summary in summaries.items()}
        super().__init__(*args, commands=listed, **rest)
        self.package = package

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name, the command and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            command = _imported(f"{self.package}.{name}")
        return name, command, rest


def _imported(name: str) -> click.Command:
    """Import a command. What is imported stays: to look for garbage among it meanwhile takes a tenth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        return import_module(name).command
    finally:
        if enabled:
            gc.enable()
