"""`ach run`: a worker, until a signal stops it."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import click
import msgspec

from worker.app import at_once, run
from worker.commands.servers import on_servers
from worker.doctor.gather import WorkerChecks, check_names
from worker.process.loop import spare_collector
from worker.process.signals import stop_on_signals
from worker.settings import Name
from worker.traces.choice import open_spans

if TYPE_CHECKING:
    from worker.engine.stats import Stats
    from worker.settings import Settings


@click.command("run")
@click.option(
    "--group",
    metavar="NAME",
    help="Share the partitions of the stream with all workers of this group, in place of ACH_GROUP.",
)
@click.option("--drain", is_flag=True, help="Stop when everything in the stream is done, instead of waiting for more.")
@click.option("--unsafe", is_flag=True, help="Start although a setting breaks a guarantee; it is logged.")
def command(*, group: str | None, drain: bool, unsafe: bool) -> None:
    """Run a worker: events from NATS_URL, progress in DATABASE_URL, unlocks back to NATS.

    It judges by the rules that `ach apply` has put into force, and takes up new ones by itself. SIGTERM or Ctrl-C: it
    finishes the batch, announces what is granted, and exits 0.

    At its start it checks streams, consumer and database as `ach doctor` does, and refuses to start where a setting
    breaks a guarantee.
    """
    on_servers(partial(_run, group=_checked(group), drain=drain, unsafe=unsafe), as_service=True)


def _checked(group: str | None) -> str | None:
    """Return the name of a group, which names a stream too.

    Raises:
        click.BadParameter: it cannot.
    """
    try:
        return None if group is None else msgspec.convert(group, Name)
    except msgspec.ValidationError as error:
        raise click.BadParameter("expected 1 to 64 letters, digits, - and _", param_hint="--group") from error


async def _run(settings: Settings, *, group: str | None, drain: bool, unsafe: bool) -> Stats:
    """Run a worker until a signal stops it or, with `drain`, until nothing is left to do."""
    spare_collector()
    if group is not None:
        settings = msgspec.structs.replace(settings, group=group)
    check_names(settings, unsafe=unsafe)
    check = WorkerChecks(unsafe=unsafe)
    async with open_spans(os.environ, settings) as spans, stop_on_signals() as stop:
        return await run(settings, stop=stop, drain=at_once() if drain else None, check=check, spans=spans)
