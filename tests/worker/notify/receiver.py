"""An HTTP receiver on a real socket, that answers as a test says."""

from __future__ import annotations

import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from anyio.abc import ByteStream

PATIENCE = 30.0


class Request(NamedTuple):
    """What was received."""

    line: str
    headers: dict[str, str]
    body: bytes
    server_name: str = ""

    @property
    def said(self) -> dict[str, Any]:
        """The body as JSON."""
        return json.loads(self.body)


def respond(status: int = 204, body: bytes = b"", **headers: str) -> bytes:
    """Return a response; `_` in the name of a header stands for `-`."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", "connection: close", *lines])
    return head.encode() + b"\r\n\r\n" + body


class Receiver:
    """Notes every request; `answer` returns the bytes that go back, or None for none at all."""

    def __init__(self, answer: Callable[[Request], bytes | None]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.port = 0
        self.names: list[str] = []
        self._moved = anyio.Event()

    async def until(self, number: int) -> list[Request]:
        """Wait until so many requests have come."""
        with anyio.fail_after(PATIENCE):
            while len(self.requests) < number:
                await self._moved.wait()
        return self.requests

    async def serve(self, stream: ByteStream) -> None:
        """Take one request of a connection."""
        async with stream:
            try:
                request = await _read(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return
            self.requests.append(request)
            self._moved.set()
            self._moved = anyio.Event()
            said = self.answer(request)
            if said is None:
                await anyio.sleep_forever()
            else:
                await stream.send(said)


async def _read(stream: ByteStream) -> Request:
    said = b""
    while b"\r\n\r\n" not in said:
        said += await stream.receive()
    head, _, body = said.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += await stream.receive()
    return Request(line, headers, body)


@asynccontextmanager
async def receiver(
    answer: Callable[[Request], bytes | None] = lambda _: respond(), *, certificate: Path | None = None, port: int = 0
) -> AsyncGenerator[Receiver]:
    """Give a receiver for the length of a block; with a certificate (and key) it speaks TLS."""
    made = Receiver(answer)
    listener: Any = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    made.port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no Django
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.sni_callback = lambda _socket, name, _context: made.names.append(name or "")
        listener = TLSListener(listener, context, standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, made.serve)
        yield made
        tasks.cancel_scope.cancel()
