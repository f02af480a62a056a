"""`ach backfill`: the history folded by the rules in force, and what became of the unlocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worker.admin.backfill import backfill
from worker.app import wall_clock
from worker.commands.servers import on_servers, with_store
from worker.report import screen

if TYPE_CHECKING:
    from worker.admin.backfill import Report
    from worker.settings import Settings
    from worker.store import Store


@click.command("backfill")
def command() -> None:
    """Continue a backfill that was interrupted (`ach apply` runs it by itself)."""
    on_servers(_run)


async def _run(settings: Settings) -> None:
    await with_store(settings, lambda store: run_backfill(store, settings))


async def run_backfill(store: Store, settings: Settings) -> None:
    """Run the backfill of the rules in force, or continue one that was interrupted; print its report."""
    _print(await backfill(store, settings, now=wall_clock))


def _print(report: Report) -> None:
    screen.out().print(f"backfill: {screen.plural(report.subjects, 'subject')} folded again")
    if not report.tallies:
        return
    columns = ("granted", "settling", "amended", "restored", "contested", "withdrawn", "unchanged")
    rows = [
        (name, version, *(f"{getattr(tally, column):,}" for column in columns))
        for (name, version), tally in sorted(report.tallies.items())
    ]
    screen.table("", ["achievement", "version", *columns], rows, right=range(1, 9))
