"""The notifier as a whole: a courier for each endpoint, the account of deliveries, probes and metrics."""

from __future__ import annotations

from functools import partial
from time import time_ns
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import structlog

from worker.broker.connection import Connection
from worker.broker.durable import DurableConsumer, read_since
from worker.broker.errors import OUT_OF_REACH
from worker.distribution import install
from worker.notify.channel import Channel, WebhookChannel
from worker.notify.courier import Courier, Surroundings
from worker.notify.delivery_log import DeliveryLog
from worker.notify.delivery_trace import DeliveryTraces
from worker.notify.endpoints import AppriseTarget
from worker.notify.metrics import render_of
from worker.notify.stats import NotifyStats
from worker.probes.http import Probes, serve
from worker.probes.readiness import NATS, Readiness
from worker.probes.schema import watch_schema
from worker.store import open_store
from worker.traces.spans import NoSpans
from worker.urls import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.broker.durable import ClientNow
    from worker.notify.endpoints import Endpoint
    from worker.notify.http_client import Resolve
    from worker.settings import Settings
    from worker.traces.spans import Spans

MOST_PENDING: Final = 10_000
"""Announcements of an endpoint that were delivered and are not done. Beyond, no further one comes until some are."""

log = structlog.get_logger()


class ExtraMissingError(Exception):
    """A library is missing; the message names the extra to install."""


class CertificatesError(Exception):
    """A file of certificates cannot be read; the message names the endpoint."""


class Ways(NamedTuple):
    """What a test may replace."""

    resolver: Resolve | None = None
    """Resolves names of hosts."""
    on_ready: Callable[[], None] | None = None
    """Called once every endpoint has its consumer."""


def now_milliseconds() -> int:
    """Return the time, in milliseconds since the epoch."""
    return time_ns() // 1_000_000


def consumer_name(endpoint: str) -> str:
    """Return the name of an endpoint's durable consumer."""
    return f"ach-notify-{endpoint}"


def consumer_of(client: ClientNow, settings: Settings, endpoint: str) -> DurableConsumer:
    """Return the consumer of an endpoint."""
    return DurableConsumer(
        client,
        settings.unlock_stream,
        consumer_name(endpoint),
        subjects=f"{settings.unlock_prefix}.>",
        ack_seconds=settings.ack_wait,
        most_pending=MOST_PENDING,
    )


def channel_of(endpoint: Endpoint, resolver: Resolve | None = None) -> Channel:
    """Return the channel of an endpoint.

    Raises:
        ExtraMissingError: apprise is not installed.
        CertificatesError: its file of certificates cannot be read.
    """
    try:
        return _channel_of(endpoint, resolver)
    except OSError as error:
        raise CertificatesError(
            f"endpoint {endpoint.name}: ca_file {endpoint.reach.ca_file}: {error.strerror or error}"
        ) from error


def _channel_of(endpoint: Endpoint, resolver: Resolve | None) -> Channel:
    if not isinstance(endpoint.target, AppriseTarget):
        return WebhookChannel(endpoint.target, endpoint.reach, resolver)
    try:
        from worker.notify.apprise_channel import AppriseChannel  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "apprise":
            raise
        raise ExtraMissingError(
            f"endpoint {endpoint.name} needs apprise, which is not installed; {install('apprise')}"
        ) from error
    return AppriseChannel(endpoint.target, endpoint.reach, endpoint.languages, resolver)


async def run(
    settings: Settings,
    endpoints: Sequence[Endpoint],
    *,
    stop: anyio.Event,
    stats: NotifyStats | None = None,
    ways: Ways | None = None,
    spans: Spans | None = None,
) -> NotifyStats:
    """Deliver to endpoints until `stop` is set; return what was done. Servers that are away are waited for.

    Raises:
        BrokerMismatchError: the broker refuses the login.
        DatabaseUrlError: the URL of the database is none.
        UnusableError: the database refuses the login, or a file that the URL names cannot be used.
        SchemaMismatchError: this release cannot run beside the one that changed the schema.
        ListenError: the port of the probes is taken.
        ExtraMissingError, CertificatesError: as `channel_of` does.
    """
    ways = ways or Ways()
    stats = stats or NotifyStats(one.name for one in endpoints)
    channels = [channel_of(endpoint, ways.resolver) for endpoint in endpoints]
    connection = Connection(settings)
    async with open_store(settings.database_url, connections=2, pooler=settings.pooler) as store:
        deliveries = DeliveryLog(store, stats)
        client: ClientNow = lambda: connection.client  # noqa: E731 - the client of the moment
        around = Surroundings(
            prefix=settings.unlock_prefix,
            now=now_milliseconds,
            read_since=partial(read_since, client, settings.unlock_stream),
            log=deliveries.add,
        )

        def courier_of(one: Endpoint, channel: Channel) -> Courier:
            traces = DeliveryTraces(spans or NoSpans(), settings.unlock_stream, consumer_name(one.name), one)
            consumer = consumer_of(client, settings, one.name)
            return Courier(one, consumer, channel, around, stats.endpoints[one.name], traces)

        couriers = [courier_of(one, channel) for one, channel in zip(endpoints, channels, strict=True)]
        try:
            async with anyio.create_task_group() as company:
                if settings.health_port is not None:
                    readiness = _readiness(settings, connection, couriers)
                    probes = Probes(stuck=str, ready=readiness.reasons, metrics=render_of(stats, now_milliseconds))
                    await company.start(serve, probes, settings.health_host, settings.health_port)
                    company.start_soon(readiness.run)
                company.start_soon(watch_schema, store)
                company.start_soon(_stop_couriers, stop, couriers, company.cancel_scope, connection)
                await connection.open()
                log.info("notifying", nats=shown(settings.nats_url), endpoints=[one.name for one in endpoints])
                company.start_soon(deliveries.prune, lambda: now_milliseconds() * 1000)
                async with anyio.create_task_group() as writing:
                    writing.start_soon(deliveries.run)
                    async with anyio.create_task_group() as working:
                        for courier in couriers:
                            working.start_soon(courier.run)
                        if ways.on_ready is not None:
                            working.start_soon(_when_ready, couriers, ways.on_ready)
                    deliveries.stop()
                company.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await _flush(connection)
                await connection.close()
    return stats


async def _stop_couriers(
    stop: anyio.Event, couriers: Sequence[Courier], everything: anyio.CancelScope, connection: Connection
) -> None:
    await stop.wait()
    log.info("stopping")
    for courier in couriers:
        courier.stop()
    if not connection.clients:  # still waiting for the broker
        everything.cancel()


async def _flush(connection: Connection) -> None:
    """Let acknowledgements arrive."""
    if connection.connected:
        try:
            await connection.flush()
        except OUT_OF_REACH:
            log.debug("not flushed")


async def _when_ready(couriers: Sequence[Courier], on_ready: Callable[[], None]) -> None:
    for courier in couriers:
        await courier.readied.wait()
    on_ready()


def _readiness(settings: Settings, connection: Connection, couriers: Sequence[Courier]) -> Readiness:
    def amiss() -> tuple[list[str], list[str]]:
        ready = not connection.connected or all(courier.ready for courier in couriers)
        return ([] if ready else [f"stream {settings.unlock_stream}"]), []

    return Readiness({NATS: connection.answers}, amiss)
