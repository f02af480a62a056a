"""A producer of a load: what is not acknowledged is sent again, and may be there twice."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
from nats.aio.client import Client, Srv
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from tests.faults.oracle import Published

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from nats.js import JetStreamContext

    from tests.faults.load import Sent

PUBLISH_SECONDS: Final = 2.0
TRIES: Final = 40


class Producer:
    """Publishes a load as a careful producer does: what is not acknowledged is sent again, and may be there twice."""

    def __init__(self, nats_url: str, sent: Iterable[Sent]) -> None:
        self._nats_url = nats_url
        self._sent = list(sent)
        self.published: list[Published] = []
        self.done = anyio.Event()

    async def run(self, pause: float = 0.0) -> None:
        """Publish everything, in order."""
        client = _TidyClient()
        await client.connect(
            self._nats_url.split(","),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.05,  # pyright: ignore[reportArgumentType] - a float does
            error_cb=_ignore,
            ping_interval=2,
            max_outstanding_pings=1,
        )
        jetstream = client.jetstream(timeout=PUBLISH_SECONDS)
        try:
            for one in self._sent:
                self.published.append(Published(one, await self._publish(jetstream, one)))
                if pause:
                    await anyio.sleep(pause)
        finally:
            await client.close()
            self.done.set()

    async def _publish(self, jetstream: JetStreamContext, one: Sent) -> bool:
        for _ in range(TRIES):
            try:
                await jetstream.publish(one.subject, one.body)
            except (NatsError, APIError, OSError, TimeoutError):
                await anyio.sleep(0.05)
            else:
                return True
        return False

    @property
    def unsure(self) -> int:
        """How many messages were never acknowledged."""
        return sum(not one.acknowledged for one in self.published)


class _TidyClient(Client):
    """Closes the connection to a server that died before it said who it was: nats-py leaves it to the collector."""

    async def _connect_to_server(self, s: Srv) -> None:
        if self._transport is not None:
            self._transport.close()
        await super()._connect_to_server(s)


async def _ignore(_: Exception) -> None:
    pass


@asynccontextmanager
async def producing(nats_url: str, sent: Iterable[Sent], *, pause: float = 0.0) -> AsyncGenerator[Producer]:
    """Publish beside a block; at its end everything is published."""
    producer = Producer(nats_url, sent)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(producer.run, pause)
        yield producer
        with anyio.fail_after(3600):
            await producer.done.wait()
