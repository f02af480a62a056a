"""The bad network leaves nothing behind, or a later test would fail for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import anyio
import pytest

from tests.faults.proxy import proxy

pytestmark = pytest.mark.anyio

CONNECTIONS: Final = 20
PATIENCE: Final = 10.0


async def test_no_connection_outlives_it() -> None:
    """Not even one that has just come, whose other half is still being opened."""
    kept: list[asyncio.StreamWriter] = []
    behind = await asyncio.start_server(lambda _, writer: kept.append(writer), "127.0.0.1", 0)
    async with proxy(*behind.sockets[0].getsockname()) as net:
        clients = [await asyncio.open_connection("127.0.0.1", net.port) for _ in range(CONNECTIONS)]
    with anyio.fail_after(PATIENCE):
        for reader, writer in clients:
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
    assert net.connections == 0
    behind.close()
    for writer in kept:
        writer.close()
