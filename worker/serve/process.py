"""One process that serves: servers, answers, live streams and the HTTP server put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import structlog

from worker.broker.connection import Connection
from worker.broker.service import offer
from worker.probes.http import Probes
from worker.probes.http import serve as serve_probes
from worker.probes.readiness import NATS, POSTGRESQL, Readiness
from worker.probes.schema import watch_schema
from worker.serve.answers import Answers
from worker.serve.endpoints import Endpoints
from worker.serve.gate import ServeGate
from worker.serve.http import SPARE_CONNECTIONS, Bounds, address_of, allow_files, listen, server_of
from worker.serve.hub import Hub
from worker.serve.live import Live
from worker.serve.metrics import ServeStats, render_of
from worker.serve.micro import service_of
from worker.settings import shown
from worker.store import open_store
from worker.view.reader import View
from worker.view.reveal import StoreRevealer
from worker.view.unlocks import Unlocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.serve.config import Config
    from worker.settings import Settings
    from worker.traces.spans import Spans

CONNECTIONS: Final = 8
"""To the database, at most."""
_OTHER_FILES: Final = 100

log = structlog.get_logger()


async def serve(
    settings: Settings,
    config: Config,
    *,
    stop: anyio.Event,
    on_ready: Callable[[str], None] = lambda address: None,
    spans: Spans | None = None,
    health_port: int | None = None,
) -> None:
    """Serve until `stop` is set; `on_ready` is called with `http://host:port` once it listens.

    `health_port` is for probes and metrics.

    It begins although servers are away: what needs them is answered once they are there.

    Raises:
        ListenError: it cannot listen on an address.
        BrokerMismatchError: the broker refuses the login.
        DatabaseUrlError: DATABASE_URL is none.
        UnusableError: the database refuses the login, or a file that DATABASE_URL names cannot be used.
        SchemaMismatchError: this release cannot run beside the one that changed the schema.
    """
    connections = config.live_streams + SPARE_CONNECTIONS
    allow_files(connections + _OTHER_FILES)
    with listen(config.host, config.port) as listening:
        address = address_of(listening)
        async with open_store(settings.database_url, connections=CONNECTIONS, pooler=settings.pooler) as opened:
            store = opened.shared(CONNECTIONS)
            view = View(store, settings, revealer=StoreRevealer(store) if config.reveal else None)
            unlocks = Unlocks(store, key=config.cursor_key.encode())
            answers = Answers(view, unlocks, most=config.cached_answers)
            connection = Connection(settings)
            hub = Hub(config)
            live = Live(connection, settings, hub, answers)

            def ready() -> None:
                log.info("serving", at=address, tenants=len(config.tenants), postgresql=shown(settings.database_url))
                on_ready(address)

            readiness = Readiness({POSTGRESQL: answers.is_there, NATS: connection.answers})
            stats = ServeStats()
            app = ServeGate(Endpoints(config, answers, live, readiness).app(), config.origins, stats, spans)
            server = server_of(app, Bounds(connections), ready)

            async def with_broker() -> None:
                try:
                    await connection.open()
                    if config.service:
                        await offer(connection, service_of(answers, config.tenants))
                    await live.run()
                finally:
                    await connection.close()

            async def stopping() -> None:
                await stop.wait()
                log.info("stopping")
                hub.end()
                server.should_exit = True

            async with anyio.create_task_group() as tasks:
                if health_port is not None:
                    probes = Probes(stuck=str, ready=readiness.reasons, metrics=render_of(stats, hub, connection))
                    await tasks.start(serve_probes, probes, settings.health_host, health_port)
                tasks.start_soon(with_broker)
                tasks.start_soon(readiness.run)
                tasks.start_soon(watch_schema, store)
                tasks.start_soon(stopping)
                await server.serve([listening])
                tasks.cancel_scope.cancel()
