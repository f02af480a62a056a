"""A few bytes of HTTP for probes and scrapes: /healthz, /readyz, /metrics. GET and HEAD, one request a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
from anyio.abc import SocketAttribute

from worker.probes.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import SocketStream, TaskStatus

MAX_REQUEST_BYTES: Final = 8192
REQUEST_SECONDS: Final = 5.0
_OK: Final = "200 OK"
_NOT_READY: Final = "503 Service Unavailable"


class ListenError(Exception):
    """The address of the probes cannot be had: it is taken, or is none of this machine."""


class Probes(NamedTuple):
    """What is asked. `stuck` tells why no work goes on at all, `ready` names what is missing ("" where nothing is)."""

    stuck: Callable[[], str]
    ready: Callable[[], Awaitable[str]]
    metrics: Callable[[], bytes]


async def serve(
    probes: Probes, host: str, port: int, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Answer until cancelled; reports the port, which matters where 0 asked for a free one.

    Raises:
        ListenError: nothing can listen there.
    """
    try:
        listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
    except OSError as error:
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    async with listener:
        task_status.started(listener.extra(SocketAttribute.local_port))  # noqa: S610 - no Django

        async def answer(client: SocketStream) -> None:
            async with client:
                with anyio.move_on_after(REQUEST_SECONDS):
                    await _answer(probes, client)

        await listener.serve(answer)


async def _answer(probes: Probes, client: SocketStream) -> None:
    try:
        method, path = await _request(client)
        status, kind, body = await _respond(probes, path)
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        # The answer to HEAD says how long a body would be, and has none (RFC 9110, 9.3.2).
        await client.send(head.encode() if method == "HEAD" else head.encode() + body)
    except (anyio.BrokenResourceError, anyio.EndOfStream):
        return  # the client has gone


async def _request(client: SocketStream) -> tuple[str, str]:
    """Return method and path; a path of "" for what is no request of ours."""
    request = b""
    while b"\r\n\r\n" not in request and len(request) < MAX_REQUEST_BYTES:
        request += await client.receive()
    words = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) > 1 and words[0] in {"GET", "HEAD"}:
        return words[0], words[1].partition("?")[0]
    return words[0], ""


async def _respond(probes: Probes, path: str) -> tuple[str, str, bytes]:
    plain = "text/plain; charset=utf-8"
    if path == "/metrics":
        return _OK, CONTENT_TYPE, probes.metrics()
    if path == "/healthz":
        stuck = probes.stuck()
        return (_NOT_READY, plain, f"{stuck}\n".encode()) if stuck else (_OK, plain, b"ok\n")
    if path == "/readyz":
        missing = await probes.ready()
        return (_NOT_READY, plain, f"waiting for {missing}\n".encode()) if missing else (_OK, plain, b"ready\n")
    return "404 Not Found", plain, b"/healthz /readyz /metrics\n"
