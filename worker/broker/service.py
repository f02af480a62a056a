"""A service on NATS by the conventions of its clients: `$SRV.PING`, `$SRV.INFO`, `$SRV.STATS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from nats.micro.service import EndpointConfig, ServiceConfig
from nats.micro.service import Service as Running

from worker.broker.errors import OUT_OF_REACH, in_words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from nats.micro.request import Request

    from worker.broker.client import BrokerClient
    from worker.broker.connection import Connection

QUEUE: Final = "q"
"""Of all processes that offer the service one answers a request."""

log = structlog.get_logger()


class Reply(NamedTuple):
    """An answer; `code` and `error` are "" where nothing is wrong."""

    body: bytes
    code: str = ""
    error: str = ""


class Endpoint(NamedTuple):
    """A subject, which may have wildcards, and what answers there.

    `answer` gets the request's subject and body, and raises nothing.
    """

    name: str
    subject: str
    about: str
    answer: Callable[[str, bytes], Awaitable[Reply]]


class Service(NamedTuple):
    """What is said of a service; `version` is one of Semantic Versioning."""

    name: str
    version: str
    about: str
    endpoints: Sequence[Endpoint]
    metadata: Mapping[str, str] = {}


async def offer(connection: Connection, service: Service) -> None:
    """Answer requests from now on, over the present client and each that takes its place."""

    async def bind(client: BrokerClient) -> None:
        config = ServiceConfig(
            name=service.name,
            version=service.version,
            description=service.about,
            metadata=dict(service.metadata),
            queue_group=QUEUE,
        )
        made = Running(client, config)
        await made.start()
        for one in service.endpoints:
            await made.add_endpoint(
                EndpointConfig(
                    name=one.name, subject=one.subject, handler=_handler(one), metadata={"description": one.about}
                )
            )

    await connection.bind(bind)


def _handler(endpoint: Endpoint) -> Callable[[Request], Awaitable[None]]:
    async def handle(request: Request) -> None:
        try:
            reply = await endpoint.answer(request.subject, request.data)
            if reply.code:
                await request.respond_error(reply.code, reply.error, reply.body)
            else:
                await request.respond(reply.body)
        except ValueError:
            return  # a message that wants no reply
        except OUT_OF_REACH as error:
            log.debug("a reply was not sent", endpoint=endpoint.name, said=in_words(error))

    return handle
