"""What listens while a worker works: live streams, answers, the first page of the console, a receiver of webhooks.

`bench.company` runs it as a process of its own, so that its CPU is apart from that of what it listens to. It takes
the file of an `Audience` and the place of a file of `Ports`. It writes `receiving PORT`, and `listening` once that file
is there and all of its streams are open; then it goes on until it is killed.
"""

from __future__ import annotations

import asyncio
import re
import sys
from itertools import cycle
from pathlib import Path
from typing import Final

import msgspec

PAUSE_SECONDS: Final = 0.2
"""Between two answers that are asked for."""
LIMIT: Final = 1 << 20
LOOPBACK: Final = "127.0.0.1"
_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_COOKIE: Final = re.compile(rb"set-cookie: ([^;\r]+)", re.IGNORECASE)


class Audience(msgspec.Struct):
    """What it listens to, and as what."""

    tenant: str
    users: list[str]
    key: str
    token: str
    """Of the console."""


class Ports(msgspec.Struct):
    """Where the services are."""

    serve: int
    console: int


async def _receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take webhooks over one connection."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            size = _LENGTH.search(head)
            await reader.readexactly(0 if size is None else int(size[1]))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _listen(port: int, path: str, header: str, begin: bytes) -> asyncio.StreamReader:
    """Open a stream of events; return it once it has begun."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port, limit=LIMIT)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode())
    await reader.readuntil(begin)
    return reader


async def _drop(reader: asyncio.StreamReader) -> None:
    while await reader.read(LIMIT):
        pass


async def _ask(audience: Audience, port: int) -> None:
    """Ask for one user's answer after another."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port, limit=LIMIT)
    for user in cycle(audience.users):
        path = f"/v1/tenants/{audience.tenant}/users/{user}/achievements"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {audience.key}\r\n\r\n".encode())
        size = _LENGTH.search(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(0 if size is None else int(size[1]))
        await asyncio.sleep(PAUSE_SECONDS)


async def _log_in(port: int, token: str) -> str:
    """Return the cookie of a session of the console."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port, limit=LIMIT)
    body = f"token={token}".encode()
    head = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    found = _COOKIE.search(await reader.readuntil(b"\r\n\r\n"))
    writer.close()
    if found is None:
        raise ConnectionError("the console lets nobody in")
    return found[1].decode()


def _ports(place: Path) -> Ports | None:
    return msgspec.json.decode(place.read_bytes(), type=Ports) if place.exists() else None


async def run(audience: Audience, place: Path) -> None:
    """Listen until killed; `place` is where the ports of the services will be written."""
    receiver = await asyncio.start_server(_receive, LOOPBACK, 0, limit=LIMIT)
    print(f"receiving {receiver.sockets[0].getsockname()[1]}", flush=True)
    while (ports := _ports(place)) is None:  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.05)
    bearer = f"Authorization: Bearer {audience.key}"
    streams = [
        await _listen(ports.serve, f"/v1/tenants/{audience.tenant}/users/{user}/live", bearer, b"event: ready")
        for user in audience.users
    ]
    cookie = await _log_in(ports.console, audience.token)
    streams.append(await _listen(ports.console, "/now/live", f"Cookie: {cookie}", b"data: "))
    print("listening", flush=True)
    await asyncio.gather(_ask(audience, ports.serve), *map(_drop, streams))


if __name__ == "__main__":
    asyncio.run(run(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Audience), Path(sys.argv[2])))
