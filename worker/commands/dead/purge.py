"""`ach dead purge`: dead letters deleted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.commands.dead.reason import reason_of, reason_option
from worker.commands.options import NUMBER, json_object_option, microseconds
from worker.commands.servers import on_servers, with_store
from worker.pipeline.dead_letters import FOR_EVER, purge_letters
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.contract.reasons import Reason
    from worker.settings import Settings


@click.command("purge")
@click.argument("ids", metavar="[ID...]", nargs=-1, type=NUMBER)
@reason_option
@click.option("--before", metavar="INSTANT", help="Only those that died before.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@json_object_option
def command(ids: Sequence[int], reason: str | None, before: str | None, *, everything: bool, as_json: bool) -> None:
    """Delete dead letters for good."""
    if not (ids or reason or before or everything):
        raise click.UsageError("say which: IDs, --reason, --before, or --all")
    until = FOR_EVER if before is None else microseconds(before)
    purged = on_servers(partial(_purge, ids=ids, reason=reason_of(reason), before=until))
    if as_json:
        screen.say_json({"deleted": purged})
    else:
        screen.out().print(f"deleted {screen.plural(purged, 'dead letter')}")


async def _purge(settings: Settings, ids: Sequence[int], *, reason: Reason | None, before: int) -> int:
    return await with_store(settings, lambda store: purge_letters(store, ids=ids or None, reason=reason, before=before))
