"""A reading of a stream is whole, or says that it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.faults.proxy import proxy
from tests.integration.engine import PATIENCE
from tests.integration.notices import claimed, make_stream, publish
from worker.broker.connection import Connection
from worker.broker.durable import PAGE, read_since
from worker.broker.errors import BrokerAwayError
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.faults.proxy import Proxy

pytestmark = pytest.mark.anyio

MANY = PAGE + 20
"""Announcements: more than one page of them."""
CUT_AFTER = 6000
"""Bytes: in the middle of the first page."""


async def _until_clients(connection: Connection, number: int) -> None:
    while connection.clients < number:  # noqa: ASYNC110 - has no signal
        await anyio.sleep(0.01)


async def _read(connection: Connection, settings: Settings) -> list[int]:
    """Read all there is, and take one's time with what has come: until there is another client."""
    found: list[int] = []
    messages = read_since(lambda: connection.client, settings.unlock_stream, f"{settings.unlock_prefix}.>", 0)
    async for message in messages:
        found.append(message.seq)
        await _until_clients(connection, 2)
    return found


@pytest.fixture
async def away(nats_url: str) -> AsyncGenerator[Proxy]:
    host, _, port = nats_url.removeprefix("nats://").partition(":")
    async with proxy(host, int(port)) as made:
        yield made


async def test_a_reading_that_is_cut_says_so(nats_url: str, away: Proxy) -> None:
    """The broker does not send again what was lost on its way: the rest alone would be a part without a word."""
    settings = Settings(nats_url=nats_url)
    await make_stream(settings)
    await publish(settings, *(claimed(number) for number in range(MANY)))
    budgets = iter((CUT_AFTER,))
    away.budget = lambda: next(budgets, 0)
    connection = Connection(Settings(nats_url=f"nats://127.0.0.1:{away.port}"))
    await connection.open()
    try:
        with anyio.fail_after(PATIENCE):
            with pytest.raises(BrokerAwayError):
                await _read(connection, settings)
            assert away.cuts == 1
            await _until_clients(connection, 2)
            assert await _read(connection, settings) == [*range(1, MANY + 1)]
    finally:
        await connection.close()
