"""`ach migrate`: the database's schema, brought up to date."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from sql.table_partitions import KEYS, LEAST, MOST, EventsBy
from worker.admin.superseded import drop_superseded
from worker.admin.table_partitions import DivisionError, divide_tables
from worker.app import wall_clock
from worker.commands.options import json_object_option
from worker.commands.servers import CommandError, on_servers, with_store
from worker.distribution import release
from worker.report import screen

if TYPE_CHECKING:
    from worker.admin.superseded import Superseded
    from worker.settings import Settings
    from worker.store import Store


@click.command("migrate")
@click.option(
    "--partitions",
    type=click.IntRange(LEAST, MOST),
    help="Divide the big tables of an empty database by hash, into so many partitions each.",
)
@click.option(
    "--events-by",
    type=click.Choice([*EventsBy]),
    default=EventsBy.TENANT,
    show_default=True,
    help="What divides the events: the tenant, or the event where one tenant is too large for a partition.",
)
@json_object_option
def command(*, partitions: int | None, events_by: EventsBy, as_json: bool) -> None:
    """Bring the database's schema up to date (a worker does so by itself at its start)."""
    on_servers(partial(_migrate, partitions=partitions, events_by=events_by, as_json=as_json))


async def _migrate(settings: Settings, *, partitions: int | None, events_by: EventsBy, as_json: bool) -> None:
    applied = await with_store(settings, lambda store: store.migrate(now=wall_clock()), check=False)
    left = await with_store(settings, lambda store: drop_superseded(store, wall_clock(), release()), check=False)
    divided = None if partitions is None else await _divide(settings, partitions, events_by)
    if as_json:
        said = {} if left is None else {"kept" if left.releases else "dropped": left.name}
        screen.say_json({"applied": applied, **said, **({} if partitions is None else {"partitions": partitions})})
        return
    for name in applied:
        screen.out().print(f"applied {name}")
    if left is not None:
        screen.out().print(_said_of(left))
    if not applied:
        screen.out().print("the schema is up to date")
    if divided is not None:
        screen.out().print(divided)


def _said_of(left: Superseded) -> str:
    if left.releases:
        return (
            f"index {left.name} stays for workers of release {', '.join(left.releases)}: once they are replaced, run "
            "`ach migrate` again"
        )
    return f"dropped index {left.name}, which nothing uses any more"


async def _divide(settings: Settings, number: int, by: EventsBy) -> str:
    """Divide the tables; return what to say of it."""
    tables = ", ".join(KEYS[by])

    async def divide(store: Store) -> bool:
        return await divide_tables(store, number, by)

    try:
        done = await with_store(settings, divide)
    except DivisionError as error:
        hint = "docs/scale.md says how to copy a database into one that is divided"
        raise CommandError(str(error), hint) from error
    said = f"divided into {number} partitions each, events by {by}: {tables}"
    return said if done else f"already {said}"
