"""Engines on real servers, with rules applied and nothing running."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.databases import fresh_database
from tests.integration.buckets import Store, bucket_on, s3_server
from tests.integration.console_world import fill
from tests.integration.engine import Engine, own_streams
from tests.integration.ingesting import connected, ingesting
from worker.broker.streams import open_broker
from worker.settings import Settings
from worker.store import Session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    import httpx

    from worker.local.servers import Servers


@pytest.fixture
async def engine(migrated_url: str, nats_url: str) -> Engine:
    """An engine on servers that it shares with other tests."""
    made = Engine(Settings(nats_url=nats_url, database_url=migrated_url, batch_size=100, consumer=f"c{uuid4().hex}"))
    await made.apply()
    return made


@pytest.fixture
async def own_engine(own_servers: Servers) -> Engine:
    """An engine whose servers the test may kill."""
    made = Engine(Settings(nats_url=own_servers.nats_url, database_url=own_servers.database_url, batch_size=50))
    await made.apply()
    return made


@pytest.fixture(scope="session")
async def world(servers: Servers) -> AsyncGenerator[Engine]:
    """A deployment with recorded streams, in a database of its own; tests that change it put things back."""
    async with fresh_database(servers) as url:
        own = f"c{uuid4().hex}"
        yield await fill(Settings(nats_url=servers.nats_url, database_url=url, consumer=own, **own_streams()))


@pytest.fixture
async def settings(nats_url: str) -> Settings:
    """Settings of a broker that has its streams; what they say of a database is not there."""
    made = Settings(nats_url=nats_url)
    async with open_broker(made):
        return made


@pytest.fixture
async def ingest_client(settings: Settings) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of `ach ingest`, without a key."""
    async with ingesting(settings) as made:
        await connected(made)
        yield made


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is carried out, by name."""
    carried: list[str] = []
    run = Session.run

    async def noting(session: Session, name: str, **args: object) -> int:
        carried.append(name)
        return await run(session, name, **args)

    monkeypatch.setattr(Session, "run", noting)
    return carried


@pytest.fixture(scope="session")
def s3_endpoint() -> Generator[str]:
    """A server that speaks S3, which all tests of a process share."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def store(s3_endpoint: str) -> Store:
    """A bucket of the test's own."""
    return bucket_on(s3_endpoint)
