"""`ach run`: a worker, until a signal stops it."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import anyio
import click

from worker.app import at_once, run
from worker.commands.servers import on_servers
from worker.process.loop import spare_collector
from worker.process.signals import stop_on_signals
from worker.traces.choice import spans_of

if TYPE_CHECKING:
    from worker.engine.stats import Stats
    from worker.settings import Settings


@click.command("run")
@click.option("--drain", is_flag=True, help="Stop when everything in the stream is done, instead of waiting for more.")
def command(*, drain: bool) -> None:
    """Run a worker: events from NATS_URL, progress in DATABASE_URL, unlocks back to NATS.

    It judges by the rules that `ach apply` has put into force, and takes up new ones by itself. SIGTERM or Ctrl-C: it
    finishes the batch, announces what is granted, and exits 0.
    """
    on_servers(partial(_run, drain=drain), as_service=True)


async def _run(settings: Settings, *, drain: bool) -> Stats:
    """Run a worker until a signal stops it or, with `drain`, until nothing is left to do."""
    spare_collector()
    spans = spans_of(os.environ, settings)
    try:
        async with stop_on_signals() as stop:
            return await run(settings, stop=stop, drain=at_once() if drain else None, spans=spans)
    finally:
        with anyio.CancelScope(shield=True):
            await spans.close()
