"""What the commands of `ach notify` share: the file of endpoints, and the broker for the length of a command."""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, in_words
from worker.broker.once import connected_once
from worker.notify.endpoints import EndpointsError, WebhookTarget, read_endpoints
from worker.report import screen
from worker.urls import shown_place

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from worker.broker.durable import ClientNow
    from worker.notify.endpoints import Endpoint
    from worker.settings import Settings

CONNECT_SECONDS: Final = 5

config_option = click.option(
    "--config",
    "-c",
    type=click.Path(dir_okay=False, path_type=Path),
    default="notify.toml",
    show_default=True,
    envvar="ACH_NOTIFY_CONFIG",
    help="File of endpoints (ACH_NOTIFY_CONFIG).",
)
endpoint_argument = click.argument("endpoint", metavar="ENDPOINT")


def endpoints_of(path: Path) -> tuple[Endpoint, ...]:
    """Return the endpoints of a file; print what is wrong with it and end the command."""
    try:
        return read_endpoints(path, os.environ)
    except EndpointsError as error:
        screen.fail(str(error))
        sys.exit(1)


def endpoint_of(path: Path, name: str) -> Endpoint:
    """Return one endpoint of a file.

    Raises:
        click.UsageError: the file has none of that name.
    """
    found = {one.name: one for one in endpoints_of(path)}
    if name not in found:
        raise click.UsageError(f"no endpoint {name!r}; the file has {', '.join(found)}")
    return found[name]


@asynccontextmanager
async def client_of(settings: Settings) -> AsyncGenerator[ClientNow]:
    """Connect to the broker for the length of a block.

    Raises:
        BrokerAwayError: the broker is away.
        BrokerMismatchError: NATS_URL is no URL.
    """
    try:
        async with connected_once(settings, seconds=CONNECT_SECONDS) as client:
            yield lambda: client
    except OUT_OF_REACH as error:
        raise BrokerAwayError(in_words(error)) from error


def place_of(endpoint: Endpoint) -> str:
    """Return where an endpoint is, without what may be secret."""
    if isinstance(endpoint.target, WebhookTarget):
        return shown_place(endpoint.target.url)
    resolver = endpoint.target.resolver
    return "apprise" if resolver is None else f"apprise, addresses from {shown_place(resolver)}"


def wants_of(endpoint: Endpoint) -> str:
    """Return in words which announcements an endpoint gets."""
    wanted = endpoint.wanted
    parts: Sequence[str] = (
        " ".join(sorted(wanted.kinds)),
        f"origin {' '.join(sorted(wanted.origins))}",
        "" if wanted.tenants is None else f"tenant {' '.join(sorted(wanted.tenants))}",
        "" if wanted.achievements is None else f"achievement {' '.join(sorted(wanted.achievements))}",
    )
    return "; ".join(part for part in parts if part)
