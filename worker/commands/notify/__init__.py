"""`ach notify`: webhooks, e-mail and chat messages about unlocks."""

from __future__ import annotations

import sys
from typing import Final

import click

from worker.commands.lazy_group import LazyGroup
from worker.distribution import install

SUMMARIES: Final = {
    "check": "Check a file of endpoints, with the secrets that it names; nothing is sent.",
    "deliveries": "List attempts of the last 30 days, newest first.",
    "enable": "Enable an endpoint that was disabled; what waits is delivered when its next attempt is due.",
    "list": "List endpoints with their state: what waits, what is tried again, why they are disabled.",
    "replay": "Send again what was announced since an instant and the endpoint wants, with the same ids.",
    "run": "Deliver announcements of unlocks to the endpoints of a file, until a signal stops it.",
    "test": "Send a signed sample to an endpoint: type `unlock.test`, an id that begins with `test_`.",
}
_EXTRAS: Final = {"httpx": "notify", "apprise": "apprise"}


class _NeedsExtra(LazyGroup):
    """Commands that say which extra to install where its library is missing."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name, the command and its arguments."""
        try:
            return super().resolve_command(ctx, args)
        except ModuleNotFoundError as error:
            library = (error.name or "").partition(".")[0]
            if library not in _EXTRAS:
                raise
            click.echo(f"error: `ach notify` needs {library}, which is not installed", err=True)
            click.echo(f"  {install(_EXTRAS[library])}", err=True)
            sys.exit(1)


@click.group("notify", cls=_NeedsExtra, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Send webhooks, e-mail and chat messages about unlocks, and see what became of them (docs/notify.md)."""
