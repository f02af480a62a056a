"""The HTTP server: uvicorn, with bounds on clients that send or take too slowly."""

from __future__ import annotations

import resource
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from worker.probes.http import ListenError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator

    from starlette.types import ASGIApp

HEAD_SECONDS: Final = 10.0
"""For a request's line and headers to arrive, from its first byte on or from that of the connection."""
WRITE_SECONDS: Final = 20.0
"""For which a client may take nothing while the buffer is full."""
SPARE_CONNECTIONS: Final = 1000
"""Beside those of live streams."""
BACKLOG: Final = 2048


class Bounds(NamedTuple):
    """What a server grants its clients together and each of them."""

    connections: int
    """At a time, at most."""
    head_bytes: int = 16 * 1024
    """Of a request's line and headers."""
    idle_seconds: int = 30
    """For which a connection is kept between two requests."""
    stop_seconds: int = 5
    """For requests under way to end when the server stops."""


class Bounded(H11Protocol):
    """One connection."""

    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take a connection."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        self._cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        super().data_received(data)
        waits_for_head = self.conn.their_state is h11.IDLE
        if not waits_for_head and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        elif waits_for_head and self._head_timer is None and not self.transport.is_closing():
            self._await_head()

    def pause_writing(self) -> None:
        """Note that the client takes less than is sent."""
        self.flow.pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that it has caught up."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        self.flow.resume_writing()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _cancel(self) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()


class Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to the program that runs it."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave them alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._on_ready()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit` is set, or cancelled: the event loop must know before the socket goes."""
        try:
            await super().serve(sockets)
        finally:
            for one in getattr(self, "servers", ()):
                one.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 asks for a free one.

    Raises:
        ListenError: the address is not free, or none of this machine.
    """
    found: socket.socket | None = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(BACKLOG)
    except OSError as error:
        if found is not None:
            found.close()
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return found


def address_of(listening: socket.socket) -> str:
    """Return `http://host:port` of a socket that is bound."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server_of(app: ASGIApp, bounds: Bounds, on_ready: Callable[[], None]) -> Server:
    """Return a server that is not running yet."""
    options: dict[str, Any] = {
        "http": Bounded,
        "ws": "none",
        "lifespan": "off",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "h11_max_incomplete_event_size": bounds.head_bytes,
        "timeout_keep_alive": bounds.idle_seconds,
        "timeout_graceful_shutdown": bounds.stop_seconds,
        "limit_concurrency": bounds.connections,
        "backlog": BACKLOG,
    }
    return Server(uvicorn.Config(app, **options), on_ready)


def allow_files(wanted: int) -> None:
    """Raise the limit on open files, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
