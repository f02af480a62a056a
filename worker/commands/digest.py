"""`ach digest`: a hash of what the database holds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.admin.results import read_results
from worker.commands.servers import on_servers, with_store
from worker.pipeline.rules_in_force import load_deployed
from worker.report import screen

if TYPE_CHECKING:
    from worker.admin.results import Stored
    from worker.settings import Settings
    from worker.store import Store


@click.command("digest")
@click.option("--json", "as_json", is_flag=True, help="Print digest, unlocks and contested ones as one JSON object.")
def command(*, as_json: bool) -> None:
    """Print a hash of all supported unlocks and progress in the database: equal where the results are equal."""
    on_servers(partial(_digest, as_json=as_json))


async def _digest(settings: Settings, *, as_json: bool) -> None:
    async def read(store: Store) -> Stored:
        return await read_results(store, await load_deployed(store, settings))

    stored = await with_store(settings, read)
    if as_json:
        names = ("digest", "unlocks", "contested", "retired")
        screen.say_json({name: getattr(stored, name) for name in names})
    else:
        _print(stored)


def _print(stored: Stored) -> None:
    unlocks, subjects = screen.plural(len(stored.unlocks), "unlock"), screen.plural(len(stored.states), "subject")
    screen.out().print(f"digest {stored.digest}")
    screen.out().print(f"{unlocks}, {len(stored.contested):,} contested, {subjects}")
    if stored.retired:
        kept = screen.plural(len(stored.retired), "unlock")
        screen.out().print(f"besides, {kept} of achievements that are retired; not in the digest")
