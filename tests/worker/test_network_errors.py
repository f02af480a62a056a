"""Errors of a network, in words."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.abc import SocketAttribute

from worker.network_errors import in_words
from worker.store import UnavailableError, open_store

if TYPE_CHECKING:
    from anyio.abc import SocketStream

pytestmark = pytest.mark.anyio

REFUSED = f"[Errno {errno.ECONNREFUSED}] Connect call failed"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), "the connection was refused"),
        (
            OSError(f"Multiple exceptions: {REFUSED} ('::1', 1, 0, 0), {REFUSED} ('127.0.0.1', 1)"),
            "the connection was refused",
        ),
        (OSError(f"Multiple exceptions: {REFUSED}, [Errno 101] Network is unreachable"), None),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "no such socket"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no such host"),
        (socket.gaierror(socket.EAI_AGAIN, "Try again"), "the name of the host cannot be looked up at the moment"),
        (TimeoutError(), "no reply before the timeout"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "no reply before the timeout"),
        (OSError(errno.EMFILE, "Too many open files"), "OSError: [Errno 24] Too many open files"),
        (ValueError("odd"), "ValueError: odd"),
        (KeyError(), "KeyError"),
    ],
)
def test_in_words(error: Exception, words: str | None) -> None:
    assert in_words(error) == (words or f"{type(error).__name__}: {error}")


async def test_another_service_than_postgresql_is_recognised() -> None:
    async def greet(stream: SocketStream) -> None:
        async with stream:
            await stream.send(b"INFO {}\r\n")
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await stream.receive()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, greet)
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - of anyio
        with pytest.raises(UnavailableError, match=r"^what listens there is no PostgreSQL"):
            async with open_store(f"postgresql://ach:x@127.0.0.1:{port}/ach") as store, store.transaction():
                pass
        tasks.cancel_scope.cancel()
