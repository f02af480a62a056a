"""`ach notify test`: one signed sample."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from worker.commands.notify.endpoint_file import config_option, endpoint_argument, endpoint_of
from worker.commands.options import json_object_option
from worker.notify.control import try_out
from worker.notify.schedule import Outcome
from worker.notify.service import CertificatesError, ExtraMissingError
from worker.process.loop import run_async
from worker.report import screen

if TYPE_CHECKING:
    from pathlib import Path


@click.command("test")
@endpoint_argument
@config_option
@json_object_option
def command(endpoint: str, config: Path, *, as_json: bool) -> None:
    """Send a signed sample to an endpoint: type `unlock.test`, an id that begins with `test_`."""
    one = endpoint_of(config, endpoint)
    try:
        delivery, attempt = run_async(partial(try_out, one))
    except (ExtraMissingError, CertificatesError) as error:
        screen.fail(str(error))
        sys.exit(1)
    if as_json:
        outcome = attempt.outcome.name.lower()
        screen.say_json({"id": delivery.id, "outcome": outcome, "status": attempt.status, "detail": attempt.detail})
        sys.exit(0 if attempt.outcome is Outcome.DELIVERED else 1)
    status = "" if attempt.status is None else f"HTTP {attempt.status} "
    if attempt.outcome is not Outcome.DELIVERED:
        screen.fail(f"{endpoint} did not take it: {status}{attempt.detail}".rstrip())
        sys.exit(1)
    screen.out().say(f"{endpoint} took {delivery.id} {status}".rstrip())
