"""Real servers for tests: a nats-server and a PostgreSQL per process, a fresh database and broker per test.

Asynchronous tests run under anyio's plugin: ``pytestmark = pytest.mark.anyio``.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import nats
import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.acceptance.herd import herd
from tests.databases import fresh_database, name_of
from worker.app import wall_clock
from worker.local.servers import Servers, embedded
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

    from tests.acceptance.herd import Herd

# What a case takes says how busy the machine is, and nothing of the code: a slow draw is no failure.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_finish() -> None:
    """Take all that was collected out of the collector's sight: each full look at it takes a third of a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Generator[None]:
    """Take back what a command that ran in this process has set, such as the level."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """nats-py and asyncpg know asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Servers]:
    """The servers that all tests of a process share. Do not kill them: that is what `own_servers` is for."""
    async with embedded(tmp_path_factory.mktemp("servers"), durable=False) as running:
        yield running


@pytest.fixture
async def own_servers(tmp_path: Path) -> AsyncGenerator[Servers]:
    """Servers of the test's own, to kill and start again."""
    async with embedded(tmp_path / "own", durable=False) as running:
        yield running


@pytest.fixture
async def database_url(servers: Servers) -> AsyncGenerator[str]:
    """A fresh database, gone after the test with whatever is still connected to it."""
    async with fresh_database(servers) as url:
        yield url


@pytest.fixture(scope="session")
async def migrated(servers: Servers) -> AsyncGenerator[str]:
    """The name of a database that has the schema, to be copied; nothing may be connected to it."""
    async with fresh_database(servers) as url:
        async with open_store(url) as store:
            await store.migrate(now=wall_clock())
        yield name_of(url)


@pytest.fixture
async def migrated_url(servers: Servers, migrated: str) -> AsyncGenerator[str]:
    """A fresh database with the schema, gone as `database_url` is."""
    async with fresh_database(servers, migrated) as url:
        yield url


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Generator[Herd]:
    """What runs commands without importing them each time. A shell starts others as a person does."""
    with herd(tmp_path_factory.mktemp("commands")) as running:
        yield running


@pytest.fixture
async def nats_url(servers: Servers) -> AsyncGenerator[str]:
    """A broker without streams: a process runs one test at a time, so the names are the test's to choose."""
    yield servers.nats_url
    client = await nats.connect(servers.nats_url)
    try:
        jetstream = client.jetstream()
        for stream in await jetstream.streams_info():
            await jetstream.delete_stream(stream.config.name or "")
    finally:
        await client.close()
