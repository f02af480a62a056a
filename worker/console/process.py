"""One process that serves the console: servers, pages and the HTTP server put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import structlog

from worker.app import wall_clock
from worker.console.app import Console
from worker.console.desk import Desk
from worker.console.lag import Lag
from worker.console.sessions import Sessions
from worker.console.web import Entrance
from worker.probes.schema import watch_schema
from worker.serve.http import Bounds, address_of, listen, server_of
from worker.settings import shown
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.analysis.kept import Keeper
    from worker.console.access import Access
    from worker.console.web import Door
    from worker.settings import Settings

CONNECTIONS: Final = 4
"""To the database, at most."""
BOUNDS: Final = Bounds(connections=2000, head_bytes=32 * 1024, idle_seconds=5, stop_seconds=3)

log = structlog.get_logger()


async def serve_console(  # noqa: PLR0913 - a console has so many parts
    settings: Settings,
    access: Access,
    door: Door,
    *,
    at: tuple[str, int],
    stop: anyio.Event,
    on_ready: Callable[[str], None] = lambda address: None,
    cohorts: Keeper | None = None,
) -> None:
    """Serve at a host and port until `stop` is set; `on_ready` is called with the address once it listens.

    Port 0 takes a free one. `cohorts` answers for the page of that name, where there is a mirror.

    It begins although servers are away: its pages say so.

    Raises:
        ListenError: it cannot listen on the address.
        DatabaseUrlError: DATABASE_URL is none.
        UnusableError: the database refuses the login, or a file that DATABASE_URL names cannot be used.
        SchemaMismatchError: this release cannot run beside the one that changed the schema.
    """
    with listen(*at) as listening:
        address = address_of(listening)
        async with open_store(settings.database_url, connections=CONNECTIONS, pooler=settings.pooler) as store:
            lag = Lag(settings)
            entrance = Entrance(access, Sessions(access), door)
            desk = Desk(store, settings, entrance, now=wall_clock, lag=lag.latest, cohorts=cohorts)
            console = Console(desk)

            def ready() -> None:
                log.info("showing", at=address, postgresql=shown(settings.database_url))
                on_ready(address)

            server = server_of(console.app(), BOUNDS, ready)

            async def stopping() -> None:
                await stop.wait()
                console.stopping.set()
                server.should_exit = True

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lag.run)
                tasks.start_soon(watch_schema, store)
                tasks.start_soon(stopping)
                await server.serve([listening])
                tasks.cancel_scope.cancel()
