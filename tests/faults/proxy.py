"""A TCP proxy that is a bad network: it cuts, resets, delays, falls silent, and swallows the answers to commits."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

CHUNK: Final = 65536
COMMIT: Final = b"COMMIT;\0"
"""How PostgreSQL is asked for a commit, in a message of the simple protocol."""


class Fate(Enum):
    """What becomes of a commit."""

    PASS = "pass"
    LOST = "lost"
    """The connection is reset before the server has received it."""
    UNKNOWN = "unknown"
    """The server carries it out, and the connection is reset in place of the answer."""


class Proxy:
    """Stands before one server. Made by `proxy`; what it does can be changed at any time."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._pairs: set[_Pair] = set()
        self._carried: set[asyncio.Task[None]] = set()
        self.port = 0
        self.fate: Callable[[], Fate] = lambda: Fate.PASS
        """Asked at each commit."""
        self.budget: Callable[[], int] = lambda: 0
        """Asked at each connection: bytes after which it is reset, in both directions together; 0 for no limit."""
        self.delay = 0.0
        """Seconds that every piece of data is held back."""
        self.cuts = 0
        self.heard_commits = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._open = True

    @property
    def connections(self) -> int:
        """How many connections go through it."""
        return len(self._pairs)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side, or the proxy, ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._carried.add(task)
        try:
            if self._open:
                await self._carry(reader, writer)
        finally:
            await _gone(writer)
            self._carried.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_connection(*self._target)
        except OSError:
            return
        pair = _Pair(self, (reader, writer), server)
        self._pairs.add(pair)
        try:
            await pair.carry()
        finally:
            self._pairs.discard(pair)
            await _gone(server[1])

    async def end(self) -> None:
        """End every connection, also one that has just come; return once all are closed."""
        self._open = False
        carried = list(self._carried)
        for task in carried:
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection."""
        for pair in list(self._pairs):
            pair.cut()

    def silence(self) -> None:
        """Let every connection stand, and nothing go through any more: half-open, as after a power cut."""
        self._flowing.clear()

    def part(self) -> None:
        """Cut everything, and take no connections."""
        self._open = False
        self.cut()

    def heal(self) -> None:
        """Be a good network; whatever stood silent is reset, as a network does with what it has forgotten."""
        if not self._flowing.is_set():
            self.cut()
        self._flowing.set()
        self._open = True
        self.delay = 0.0
        self.fate = lambda: Fate.PASS
        self.budget = lambda: 0

    async def flow(self) -> None:
        """Wait until data may go through."""
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._flowing.wait()


class _Pair:
    """Both halves of one connection."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._left = proxy.budget() or None
        self._swallow = False
        self._tasks: list[asyncio.Task[None]] = []

    async def carry(self) -> None:
        """Carry data both ways until one side ends."""
        self._tasks = [
            asyncio.ensure_future(self._up(self._client[0], self._server[1])),
            asyncio.ensure_future(self._down(self._server[0], self._client[1])),
        ]
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut(counted=False)
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, *, counted: bool = True) -> None:
        """Reset both halves."""
        self._proxy.cuts += counted
        for _, writer in (self._client, self._server):
            _reset(writer)
        for task in self._tasks:
            task.cancel()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if COMMIT in data:
                    self._proxy.heard_commits += 1
                    fate = self._proxy.fate()
                    if fate is Fate.LOST:
                        self._proxy.cuts += 1
                        return
                    self._swallow = fate is Fate.UNKNOWN
                if not await self._pass(data, writer):
                    return

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if self._swallow:
                    self._proxy.cuts += 1
                    return
                if not await self._pass(data, writer):
                    return

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> bool:
        """Pass data on; False where the connection has carried all that it may."""
        await self._proxy.flow()
        if self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                writer.write(data[: max(0, len(data) + self._left)])
                self._proxy.cuts += 1
                return False
        writer.write(data)
        await writer.drain()
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """Abort a connection: the other side gets a reset, and nothing that was still on its way."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _gone(writer: asyncio.StreamWriter) -> None:
    """Abort a connection, and wait until nothing of it is left."""
    _reset(writer)
    with suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def proxy(host: str, port: int) -> AsyncGenerator[Proxy]:
    """Run a proxy before a server for the length of a block."""
    made = Proxy(host, port)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.heal()
        await made.end()
