"""`ach rules history`: the rule sets that were in force."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import click

from dsl.calendar import format_instant
from worker.admin.rollout import deployed_versions
from worker.admin.rule_book import history
from worker.commands.options import NAMED, NUMBER, json_option
from worker.commands.renamed import tell_renamed
from worker.commands.servers import CommandError, on_servers, with_store
from worker.pipeline.rules_in_force import read_renames
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.admin.rule_book import Moved
    from worker.settings import Settings
    from worker.store import Store


@click.command("history")
@click.argument("name", type=NAMED, metavar="[NAME]", required=False)
@click.option("--limit", default=20, show_default=True, type=NUMBER, help="Epochs at most.")
@json_option
def command(name: str | None, limit: int, *, as_json: bool) -> None:
    """List all rule sets that were ever in force, the latest first: who, when, why, what was new.

    With NAME, only those that have brought or retired a version of that achievement, or renamed it.
    """
    on_servers(partial(_history, name=name, limit=limit, as_json=as_json))


async def _history(settings: Settings, *, name: str | None, limit: int, as_json: bool) -> None:
    async def work(store: Store) -> list[Moved]:
        first = None
        if name is not None:
            first = tell_renamed(await read_renames(store), name)
            if all(one.achievement != first for one in await deployed_versions(store)):
                raise CommandError(f"no achievement {name} was ever in force", "`ach rules list` has those in force")
        found: list[Moved] = []
        async with aclosing(history(store, first)) as epochs:
            async for one in epochs:
                found.append(one)
                if len(found) == limit:
                    break
        return found

    found = await with_store(settings, work)
    if as_json:
        screen.say_json([_json_of(one) for one in found])
        return
    columns = ["epoch", "applied", "by", "change", "rules", "new", "retired", "message"]
    screen.table(screen.plural(len(found), "epoch"), columns, [_row(one) for one in found], right=(0, 3))


def _row(one: Moved) -> tuple[object, ...]:
    past = one.past
    change = "" if past.change_id is None else past.change_id
    back = f"{change}, rolled back" if past.state == "rolled_back" else change
    at = format_instant(past.applied_at)[:19]
    new = ", ".join([*_named(one.new), *(f"{was} -> {now} renamed" for was, now in one.renamed)])
    retired = ", ".join(_named(one.retired))
    return past.epoch, at, past.applied_by, back, past.hash[:12], new, retired, past.message


def _named(versions: Iterable[tuple[str, int]]) -> list[str]:
    return [f"{name} version {version}" for name, version in versions]


def _json_of(one: Moved) -> dict[str, object]:
    past = one.past
    return {
        "epoch": past.epoch,
        "applied_at": format_instant(past.applied_at),
        "applied_by": past.applied_by,
        "change_id": past.change_id,
        "state": past.state,
        "message": past.message,
        "hash": past.hash,
        "new": [{"achievement": name, "version": version} for name, version in one.new],
        "retired": [{"achievement": name, "version": version} for name, version in one.retired],
        "renamed": [{"before": was, "now": now} for was, now in one.renamed],
    }
