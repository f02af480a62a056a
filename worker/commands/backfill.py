"""`ach backfill`: the history folded by the rules in force, and what became of the unlocks."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import click
import msgspec

from worker.admin.backfill import backfill
from worker.admin.lease import NO_LIMITS
from worker.app import wall_clock
from worker.commands.headway import remark_of
from worker.commands.options import json_object_option
from worker.commands.servers import on_servers, with_store
from worker.process.loop import spare_collector
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from worker.admin.built import Report
    from worker.admin.lease import Limits
    from worker.engine.pace import Headway
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


async def run_backfill(store: Store, settings: Settings, limits: Limits = NO_LIMITS) -> Report:
    """Run the backfill of the rules in force, or continue one that was interrupted; return its report."""
    spare_collector()
    try:
        with _bar() as watch:
            return await backfill(store, settings, now=wall_clock, limits=limits, watch=watch)
    except anyio.get_cancelled_exc_class():
        said = "interrupted: `ach backfill` goes on with it, and so does any worker after some seconds"
        screen.err().print(said, markup=False)
        raise


@contextmanager
def _bar() -> Generator[Callable[[Headway], None]]:
    """Yield a function that shows how far a build is, on a terminal."""
    with screen.progress("bringing subjects up to date", 100) as move:
        shown = 0

        def watch(headway: Headway) -> None:
            nonlocal shown
            percent = round(100 * (headway.share or 0))
            move(max(0, percent - shown), remark_of(headway))
            shown = max(shown, percent)

        yield watch


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
