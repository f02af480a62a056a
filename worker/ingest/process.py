"""One process that takes events: the broker, the rules, probes and the HTTP server put together."""

from __future__ import annotations

from functools import partial
from secrets import token_bytes
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec
import structlog

from worker.broker.connection import Connection
from worker.ingest.bodies import Memory
from worker.ingest.config import ConfigError, load_config
from worker.ingest.contracts import Contracts
from worker.ingest.endpoints import Endpoints
from worker.ingest.gate import IngestGate
from worker.ingest.metrics import IngestStats, render_of
from worker.ingest.publisher import Publisher
from worker.ingest.reading import Naming
from worker.ingest.reload import Bell, follow, ring_on_hangup
from worker.ingest.senders import Senders
from worker.ingest.sends import Sends
from worker.probes.http import Probes
from worker.probes.http import serve as serve_probes
from worker.probes.readiness import NATS, Readiness
from worker.probes.schema import watch_schema
from worker.rulefiles import NoRulesError, find, load
from worker.serve.http import SPARE_CONNECTIONS, Bounds, address_of, allow_files, listen, server_of
from worker.settings import shown
from worker.store import open_store
from worker.traces.spans import NoSpans

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dsl.schema import EventSchema
    from worker.ingest.config import Config
    from worker.settings import Settings
    from worker.traces.spans import Spans

CONNECTIONS: Final = 2
"""To the database, at most: it is asked for the rules alone, and only where events are validated."""
_OTHER_FILES: Final = 100
_KEY_BYTES: Final = 32
"""Of the key of message ids, which lives as long as the process."""
_GRACE_SECONDS: Final = 2.0
"""For answers to be written when the process stops, beyond the time for bodies and acknowledgements."""

log = structlog.get_logger()


class Files(NamedTuple):
    """Files that are read again when they change."""

    config: Path | None = None
    rules: Sequence[Path] = ()
    """In place of the rules in force."""


class RuleFilesError(Exception):
    """The rule files cannot be used; the message says why."""


def declared_in(paths: Sequence[Path]) -> Mapping[str, EventSchema]:
    """Return the event types that rule files declare.

    Raises:
        RuleFilesError: they cannot be read, or have errors.
    """
    try:
        ruleset = load(paths)
    except NoRulesError as error:
        raise RuleFilesError(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RuleFilesError(f"the rule files cannot be read: {error}") from error
    if ruleset.errors:
        raise RuleFilesError("the rule files have errors; see `ach check`")
    return ruleset.rules.events


async def ingest(
    settings: Settings,
    config: Config,
    files: Files = Files(),  # noqa: B008 - it is immutable
    *,
    stop: anyio.Event,
    on_ready: Callable[[str], None] = lambda address: None,
    spans: Spans | None = None,
) -> None:
    """Take events until `stop` is set; `on_ready` is called with `http://host:port` once it listens.

    It begins although servers are away: what needs them is answered once they are there. What was read when it stops is
    answered.

    Raises:
        ListenError: it cannot listen on an address.
        BrokerMismatchError: the broker refuses the login.
        DatabaseUrlError: DATABASE_URL is none.
        SchemaMismatchError: this release cannot run beside the one that changed the schema.
        RuleFilesError: the rule files cannot be used.
    """
    declared = declared_in(files.rules) if files.rules else None
    allow_files(SPARE_CONNECTIONS + _OTHER_FILES)
    with listen(config.host, config.port) as listening:
        async with open_store(settings.database_url, connections=CONNECTIONS, pooler=settings.pooler) as store:
            service = _Service(settings, config, Contracts(store, settings, declared), spans or NoSpans())
            async with anyio.create_task_group() as tasks:
                # Without it, events are taken that no contract is to be held to.
                tasks.start_soon(partial(watch_schema, store, needed=False))
                await service.run(listening, files, stop, on_ready)
                tasks.cancel_scope.cancel()


class _Service:
    """The parts of the process."""

    def __init__(self, settings: Settings, config: Config, contracts: Contracts, spans: Spans) -> None:
        self._settings = settings
        self._spans = spans
        self._contracts = contracts
        self._connection = Connection(settings)
        self._senders = Senders(config)
        self._stats = IngestStats()
        self._memory = Memory(config.limits.memory_bytes)
        self._publisher = Publisher(self._connection, config.limits.ack_seconds)
        self._readiness = Readiness({NATS: self._connection.answers})

    async def run(
        self, listening: socket.socket, files: Files, stop: anyio.Event, on_ready: Callable[[str], None]
    ) -> None:
        """Serve until `stop` is set."""
        settings, limits, address = self._settings, self._senders.config.limits, address_of(listening)
        naming = Naming(settings.input_prefix, token_bytes(_KEY_BYTES))
        endpoints = Endpoints(
            self._senders,
            self._contracts,
            self._publisher,
            self._memory,
            self._stats,
            readiness=self._readiness,
            naming=naming,
            sends=Sends(self._spans, settings.input_stream),
        )

        def ready() -> None:
            tenants = len(self._senders.config.tenants)
            log.info("taking events", at=address, tenants=tenants, nats=shown(settings.nats_url))
            on_ready(address)

        seconds = limits.body_seconds + 2 * limits.ack_seconds + _GRACE_SECONDS
        bounds = Bounds(SPARE_CONNECTIONS, stop_seconds=int(seconds))
        server = server_of(IngestGate(endpoints.app(), self._stats, self._spans), bounds, ready)

        async def stopping() -> None:
            await stop.wait()
            log.info("stopping")
            server.should_exit = True

        async with anyio.create_task_group() as tasks:
            if settings.health_port is not None:
                await tasks.start(serve_probes, self._probes(), settings.health_host, settings.health_port)
            tasks.start_soon(self._readiness.run)
            tasks.start_soon(self._connection.open)
            tasks.start_soon(stopping)
            self._follow(tasks, files)
            try:
                await server.serve([listening])
            finally:
                await self._connection.close()
            tasks.cancel_scope.cancel()

    def _follow(self, tasks: anyio.abc.TaskGroup, files: Files) -> None:
        bell = Bell()
        tasks.start_soon(ring_on_hangup, bell)
        if files.config is not None:
            tasks.start_soon(follow, [files.config], bell, lambda: self._take_config(files.config))
        if files.rules:
            tasks.start_soon(follow, [*files.rules, *find(files.rules)], bell, lambda: self._take_rules(files.rules))

    def _take_config(self, path: Path | None) -> None:
        """Read keys, webhooks and limits again; a file that cannot be used changes nothing."""
        if path is None:
            return
        try:
            found = load_config(path)
        except ConfigError as error:
            log.warning("the configuration stays as it was", said=str(error))
            return
        now = self._senders.config
        self._senders.take(msgspec.structs.replace(found, host=now.host, port=now.port))
        log.info("reloaded", file=str(path), tenants=len(found.tenants))

    def _take_rules(self, paths: Sequence[Path]) -> None:
        try:
            self._contracts.take(declared_in(paths))
        except RuleFilesError as error:
            log.warning("the rules stay as they were", said=str(error))
        else:
            log.info("reloaded", files=[str(path) for path in paths])

    def _probes(self) -> Probes:
        render = render_of(self._stats, self._publisher, self._memory, self._connection)
        return Probes(stuck=str, ready=self._readiness.reasons, metrics=render)
