"""`ach backfill`: the history folded by the rules in force, and what became of the unlocks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click
import msgspec

from worker.admin.backfill import backfill
from worker.app import wall_clock
from worker.commands.options import json_object_option
from worker.commands.servers import on_servers, with_store
from worker.report import screen

if TYPE_CHECKING:
    from worker.admin.backfill import Report
    from worker.settings import Settings
    from worker.store import Store


@click.command("backfill")
@json_object_option
def command(*, as_json: bool) -> None:
    """Continue a backfill that was interrupted (`ach apply` runs it by itself)."""
    on_servers(partial(_run, as_json=as_json))


async def _run(settings: Settings, *, as_json: bool) -> None:
    report = await with_store(settings, lambda store: run_backfill(store, settings))
    if as_json:
        screen.say_json(report_json(report))
    else:
        print_report(report)


async def run_backfill(store: Store, settings: Settings) -> Report:
    """Run the backfill of the rules in force, or continue one that was interrupted; return its report."""
    return await backfill(store, settings, now=wall_clock)


def report_json(report: Report) -> dict[str, object]:
    """Return a report as JSON has it: a row for each version, with its counts."""
    rows = [
        {"achievement": name, "version": version, **msgspec.structs.asdict(tally)}
        for (name, version), tally in sorted(report.tallies.items())
    ]
    return {"epoch": report.epoch, "subjects": report.subjects, "versions": rows}


def print_report(report: Report) -> None:
    """Print a report for people."""
    screen.out().print(f"backfill: {screen.plural(report.subjects, 'subject')} folded again")
    if not report.tallies:
        return
    columns = ("granted", "settling", "amended", "restored", "contested", "withdrawn", "unchanged")
    rows = [
        (name, version, *(f"{getattr(tally, column):,}" for column in columns))
        for (name, version), tally in sorted(report.tallies.items())
    ]
    screen.table("", ["achievement", "version", *columns], rows, right=range(1, 9))
