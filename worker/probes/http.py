"""A small HTTP server for probes and scrapes: /healthz, /readyz, /metrics. GET and HEAD, one request a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
from anyio.abc import SocketAttribute

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import SocketStream, TaskStatus

    from worker.probes.families import Scrape

MAX_REQUEST_BYTES: Final = 8192
REQUEST_SECONDS: Final = 5.0
MOST_CLIENTS: Final = 100
"""Connections at a time; those beyond are closed unanswered."""
_TEXT: Final = "text/plain; charset=utf-8"
_OK: Final = "200 OK"
_NOT_READY: Final = "503 Service Unavailable"


class ListenError(Exception):
    """The server cannot listen on the address: another program has it, or it is not an address of this machine."""


class Probes(NamedTuple):
    """The sources of the answers.

    `stuck` returns why the worker makes no progress and has to be restarted, `ready` returns why it is not ready, as
    `listed` of worker/probes/readiness.py writes it; both return "" where all is well. `metrics` answers a scrape that
    accepts something.
    """

    stuck: Callable[[], str]
    ready: Callable[[], Awaitable[str]]
    metrics: Callable[[str], Scrape]


async def serve(
    probes: Probes, host: str, port: int, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Answer requests until cancelled. Reports the port once it listens; port 0 asks for a free one.

    Raises:
        ListenError: the server cannot listen on the address.
    """
    try:
        listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
    except OSError as error:
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    async with listener:
        task_status.started(listener.extra(SocketAttribute.local_port))  # noqa: S610 - no Django

        room = anyio.Semaphore(MOST_CLIENTS)

        async def answer(client: SocketStream) -> None:
            async with client:
                try:
                    room.acquire_nowait()
                except anyio.WouldBlock:
                    return
                try:
                    with anyio.move_on_after(REQUEST_SECONDS):
                        await _answer(probes, client)
                finally:
                    room.release()

        await listener.serve(answer)


async def _answer(probes: Probes, client: SocketStream) -> None:
    try:
        method, path, accept = await _read_request(client)
        status, content_type, body = await _respond(probes, path, accept)
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        # The answer to HEAD has the headers of the answer to GET, and no body (RFC 9110, 9.3.2).
        await client.send(head.encode() if method == "HEAD" else head.encode() + body)
    except (anyio.BrokenResourceError, anyio.EndOfStream):
        return  # the client closed the connection


async def _read_request(client: SocketStream) -> tuple[str, str, str]:
    """Return the method, the path without its query, and what is accepted; "" for a request that is not GET or HEAD."""
    request = b""
    while b"\r\n\r\n" not in request and len(request) < MAX_REQUEST_BYTES:
        request += await client.receive()
    first, *headers = request.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) > 1 and parts[0] in {"GET", "HEAD"}:
        accepted = [value for name, _, value in (line.partition(":") for line in headers) if name.lower() == "accept"]
        return parts[0], parts[1].partition("?")[0], ",".join(accepted)
    return parts[0], "", ""


async def _respond(probes: Probes, path: str, accept: str) -> tuple[str, str, bytes]:
    """Return status, content type and body."""
    if path == "/metrics":
        scrape = probes.metrics(accept)
        return _OK, scrape.content_type, scrape.body
    if path == "/healthz":
        stuck = probes.stuck()
        return (_NOT_READY, _TEXT, f"{stuck}\n".encode()) if stuck else (_OK, _TEXT, b"ok\n")
    if path == "/readyz":
        reasons = await probes.ready()
        return (_NOT_READY, _TEXT, f"{reasons}\n".encode()) if reasons else (_OK, _TEXT, b"ready\n")
    return "404 Not Found", _TEXT, b"/healthz /readyz /metrics\n"
