"""`ach notify run`: the notifier, until a signal stops it."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

import click
import msgspec

from worker.commands.notify.endpoint_file import config_option, endpoints_of
from worker.commands.servers import CommandError, on_servers
from worker.notify.service import CertificatesError, ExtraMissingError, run
from worker.process.priority import LOWEST, step_back
from worker.process.signals import stop_on_signals
from worker.traces.choice import NOTIFY, open_spans

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.notify.endpoints import Endpoint
    from worker.settings import Settings


NICE: Final = 10
"""How far the process steps back where workers want the processor: to about a tenth of theirs."""


@click.command("run")
@config_option
@click.option("--health-port", type=click.IntRange(0, 65535), help="For probes and metrics (default: ACH_HEALTH_PORT).")
@click.option(
    "--nice",
    type=click.IntRange(0, LOWEST),
    default=NICE,
    show_default=True,
    help="How far to step back where others want the processor; 0: not at all.",
)
def command(config: Path, health_port: int | None, nice: int) -> None:
    """Deliver announcements of unlocks to the endpoints of a file, until a signal stops it.

    Each endpoint has a durable consumer of its own: it begins with what is announced after its first start, and goes on
    where it was after every other. SIGTERM or Ctrl-C: deliveries under way are finished.
    """
    endpoints = endpoints_of(config)
    step_back(nice)
    on_servers(partial(_run, endpoints=endpoints, health_port=health_port), as_service=True)


async def _run(settings: Settings, *, endpoints: Sequence[Endpoint], health_port: int | None) -> None:
    if health_port is not None:
        settings = msgspec.structs.replace(settings, health_port=health_port)
    async with open_spans(os.environ, settings, NOTIFY) as spans, stop_on_signals() as stop:
        try:
            await run(settings, endpoints, stop=stop, spans=spans)
        except (ExtraMissingError, CertificatesError) as error:
            raise CommandError(str(error)) from error
