"""`ach run`: a worker, until a signal stops it."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import anyio
import click

from worker.app import at_once, run
from worker.commands.servers import on_servers
from worker.doctor.gather import check_at_start
from worker.process.loop import spare_collector
from worker.process.signals import stop_on_signals
from worker.traces.choice import spans_of

if TYPE_CHECKING:
    from worker.engine.stats import Stats
    from worker.settings import Settings


@click.command("run")
@click.option("--drain", is_flag=True, help="Stop when everything in the stream is done, instead of waiting for more.")
@click.option("--unsafe", is_flag=True, help="Start although a setting breaks a guarantee; it is logged.")
def command(*, drain: bool, unsafe: bool) -> None:
    """Run a worker: events from NATS_URL, progress in DATABASE_URL, unlocks back to NATS.

    It judges by the rules that `ach apply` has put into force, and takes up new ones by itself. SIGTERM or Ctrl-C: it
    finishes the batch, announces what is granted, and exits 0.

    At its start it checks streams, consumer and database as `ach doctor` does, and refuses to start where a setting
    breaks a guarantee.
    """
    on_servers(partial(_run, drain=drain, unsafe=unsafe), as_service=True)


async def _run(settings: Settings, *, drain: bool, unsafe: bool) -> Stats:
    """Run a worker until a signal stops it or, with `drain`, until nothing is left to do."""
    spare_collector()
    spans, check = spans_of(os.environ, settings), partial(check_at_start, unsafe=unsafe)
    try:
        async with stop_on_signals() as stop:
            return await run(settings, stop=stop, drain=at_once() if drain else None, check=check, spans=spans)
    finally:
        with anyio.CancelScope(shield=True):
            await spans.close()
