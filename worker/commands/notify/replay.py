"""`ach notify replay`: deliveries made again, with the ids of the first time."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from dsl.calendar import format_instant
from worker.commands.notify.endpoint_file import client_of, config_option, endpoint_argument, endpoint_of
from worker.commands.options import json_object_option, microseconds, quiet_option
from worker.commands.servers import CommandError, on_servers
from worker.notify.control import replay
from worker.notify.service import CertificatesError, ExtraMissingError
from worker.report import screen

if TYPE_CHECKING:
    from pathlib import Path

    from worker.notify.control import Replayed
    from worker.notify.endpoints import Endpoint
    from worker.settings import Settings


@click.command("replay")
@endpoint_argument
@click.option("--since", required=True, metavar="INSTANT", help="What was announced then or later.")
@config_option
@quiet_option
@json_object_option
def command(endpoint: str, since: str, config: Path, *, quiet: bool, as_json: bool) -> None:
    """Send again what was announced since an instant and the endpoint wants, with the same ids.

    A receiver that keeps ids takes nothing twice. It goes in the order of the announcements, makes no digests, stops at
    the first that cannot be delivered, and prints from where to continue.
    """
    moment = microseconds(since)
    work = partial(_replay, endpoint=endpoint_of(config, endpoint), since=moment, quiet=quiet)
    done = on_servers(work)
    place = format_instant(done.last or moment)
    if as_json:
        screen.say_json({**done._asdict(), "last": format_instant(done.last) if done.last else None})
    else:
        screen.out().say(
            f"delivered {done.delivered:,}; {done.aborted:,} refused by the receiver for good; "
            f"{done.passed_over:,} that the endpoint does not want"
        )
    if done.failed:
        screen.fail(f"stopped: {done.detail}", f"ach notify replay {endpoint} --since {place}")
        sys.exit(1)


async def _replay(settings: Settings, *, endpoint: Endpoint, since: int, quiet: bool) -> Replayed:
    try:
        async with client_of(settings) as client:
            with screen.progress("delivering", quiet=quiet) as move:
                return await replay(client, settings, endpoint, since, on_progress=lambda: move(1, ""))
    except (ExtraMissingError, CertificatesError) as error:
        raise CommandError(str(error)) from error
