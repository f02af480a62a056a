"""`ach change list`: changes of rules, the latest first."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from dsl.calendar import format_instant
from worker.admin.changes import Change, changes
from worker.commands.change_text import announced_text, json_of, progress_text
from worker.commands.options import json_option, limit_option
from worker.commands.servers import on_servers, with_store
from worker.report import screen

if TYPE_CHECKING:
    from worker.settings import Settings


@click.command("list")
@limit_option
@json_option
def command(limit: int, *, as_json: bool) -> None:
    """List changes of rules, the latest first."""
    on_servers(partial(_list, limit=limit, as_json=as_json))


async def _list(settings: Settings, *, limit: int, as_json: bool) -> None:
    found = await with_store(settings, lambda store: changes(store, limit=limit))
    if as_json:
        screen.say_json([json_of(change) for change in found])
        return
    columns = ["change", "state", "epoch", "applied", "by", "announce", "subjects", "message"]
    screen.table(screen.plural(len(found), "change"), columns, [_row(change) for change in found], right=(0, 2, 6))


def _row(change: Change) -> tuple[object, ...]:
    progress = progress_text(change)
    return (
        change.change_id,
        f"{change.state}, {progress}" if progress else change.state,
        "" if change.epoch is None else change.epoch,
        format_instant(change.applied_at or change.begun_at)[:19],
        change.applied_by,
        announced_text(change),
        f"{change.subjects:,}",
        change.message,
    )
