"""A connection for the length of one command."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from worker.broker.choice import new_client
from worker.broker.errors import BrokerMismatchError
from worker.broker.login import Login
from worker.settings import ENCODED
from worker.urls import is_clear, servers_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from worker.broker.client import BrokerClient
    from worker.settings import Settings

_UNREADABLE: Final = f"NATS_URL cannot be read: expected nats://user:password@host:port; {ENCODED}"


def readable_servers(settings: Settings) -> list[str]:
    """Return the servers of NATS_URL.

    Raises:
        BrokerMismatchError: it is no URL; it is not quoted, as it may hold a password.
    """
    servers = servers_of(settings.nats_url)
    if not all(map(is_clear, servers)):
        raise BrokerMismatchError(_UNREADABLE)
    return servers


@asynccontextmanager
async def connected_once(settings: Settings, *, seconds: int) -> AsyncGenerator[BrokerClient]:
    """Give a client for the length of a block, after one attempt: a command has to say that the broker is away.

    Raises:
        BrokerMismatchError: NATS_URL is no URL, or the identity cannot be read.
        nats.errors.Error, OSError, TimeoutError: the broker is away.
    """
    servers = readable_servers(settings)
    login = Login(settings.identity, settings.nats_url)
    client = new_client(None, settings.identity)
    try:
        with anyio.fail_after(seconds * (1 + len(servers))):
            await client.open(servers, login, seconds=seconds)
        yield client
        with anyio.CancelScope(shield=True):
            await client.end()
    finally:
        client.abandon()
