"""One process that serves the console: servers, pages and the HTTP server put together."""

from __future__ import annotations

import logging
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio
import structlog
import uvicorn

from worker.app import wall_clock
from worker.console.app import Console
from worker.console.desk import Desk
from worker.console.lag import Lag
from worker.console.sessions import Sessions
from worker.console.web import Entrance
from worker.probes.http import ListenError
from worker.settings import shown
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from starlette.types import ASGIApp

    from worker.console.access import Access
    from worker.console.web import Door
    from worker.settings import Settings

CONNECTIONS: Final = 4
"""To the database, at most."""
WAITING: Final = 512
"""Connections that wait to be taken."""
LEAVE_SECONDS: Final = 3
"""For requests under way, when it ends."""
MOST_CONNECTIONS: Final = 2000
HEAD_BYTES: Final = 32 * 1024
"""Of a request's line and headers."""

log = structlog.get_logger()


async def serve_console(
    settings: Settings,
    access: Access,
    door: Door,
    *,
    at: tuple[str, int],
    stop: anyio.Event,
    on_ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve at a host and port until `stop` is set; `on_ready` is called with the address once it listens.

    Port 0 takes a free one.

    It begins although servers are away: its pages say so.

    Raises:
        ListenError: it cannot listen on the address.
        DatabaseUrlError: DATABASE_URL is none.
    """
    listening = _listen(*at)
    with listening:
        bound, number = listening.getsockname()[:2]
        address = f"http://[{bound}]:{number}" if ":" in bound else f"http://{bound}:{number}"
        async with open_store(settings.database_url, connections=CONNECTIONS) as store:
            lag = Lag(settings)
            desk = Desk(store, settings, Entrance(access, Sessions(access), door), now=wall_clock, lag=lag.latest)
            console = Console(desk)
            server = _Server(_config(console.app()))

            async def stopping() -> None:
                await stop.wait()
                console.stopping.set()
                server.should_exit = True

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lag.run)
                tasks.start_soon(stopping)
                log.info("showing", at=address, postgresql=shown(settings.database_url))
                on_ready(address)
                await server.serve([listening])
                tasks.cancel_scope.cancel()


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=LEAVE_SECONDS,
        h11_max_incomplete_event_size=HEAD_BYTES,
    )


class _Server(uvicorn.Server):
    """Leaves signals to the command."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Take none."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(WAITING)
        listening.setblocking(False)  # noqa: FBT003 - the name of the standard library's argument
    except OSError as error:
        listening.close()
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return listening
