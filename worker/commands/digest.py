"""`ach digest`: a hash of what the database holds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.admin.results import read_digest, read_results
from worker.commands.servers import on_servers, with_store
from worker.pipeline.rules_in_force import load_deployed
from worker.report import screen

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.store import Store


@click.command("digest")
@click.option("--json", "as_json", is_flag=True, help="Print digest, unlocks and contested ones as one JSON object.")
def command(*, as_json: bool) -> None:
    """Print a hash of all supported unlocks and progress in the database: equal where the results are equal."""
    on_servers(partial(_digest, as_json=as_json))


async def _digest(settings: Settings, *, as_json: bool) -> None:
    if as_json:
        await with_store(settings, partial(_print_json, settings=settings))
    else:
        await with_store(settings, partial(_print, settings=settings))


async def _print_json(store: Store, *, settings: Settings) -> None:
    rules = await load_deployed(store, settings)
    stored = await read_results(store, rules)
    names = ("digest", "unlocks", "contested", "retired")
    screen.say_json({name: rules.renames.shown_in(getattr(stored, name)) for name in names})


async def _print(store: Store, *, settings: Settings) -> None:
    """Print counts; they are made of rows that are read in pages, for books of any size."""
    stored = await read_digest(store, await load_deployed(store, settings))
    unlocks, subjects = screen.plural(stored.unlocks, "unlock"), screen.plural(stored.subjects, "subject")
    screen.out().print(f"digest {stored.digest}")
    screen.out().print(f"{unlocks}, {stored.contested:,} contested, {subjects}")
    if stored.retired:
        kept = screen.plural(stored.retired, "unlock")
        screen.out().print(f"besides, {kept} of achievements that are retired; not in the digest")
