"""The servers of the benchmark, and a fresh place on them for each run.

The servers are embedded ones with the settings of a database that matters: PostgreSQL with fsync, full pages and
synchronous commits (which is looked at, not believed), JetStream with file storage. They run for the whole benchmark;
each run gets a database of its own, and streams made anew.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from bench.events import prefix_of
from bench.processes import BenchError, cpu_seconds
from worker.broker.choice import new_client
from worker.broker.streams import open_broker
from worker.local.postgres import DATABASE
from worker.local.sandbox import deploy
from worker.local.servers import embedded
from worker.rulefiles import load
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from asyncpg import Connection
    from nats.js.api import ConsumerInfo

    from worker.broker.client import BrokerClient
    from worker.local.servers import Servers

RULES: Final = Path(__file__).with_name("rules.ach")
DURABLE: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class Cpu(NamedTuple):
    """CPU seconds of the two servers."""

    database: float
    broker: float


class Backlog(NamedTuple):
    """What the broker says of the input's consumer, in messages."""

    waiting: int
    """Not delivered yet."""
    unacked: int


class Arena:
    """A database and streams for one run: `EVENTS` with its consumer, or one for each lane, and `UNLOCKS`.

    Made by `Rig.arena`.
    """

    def __init__(
        self, rig: Rig, lanes: Sequence[Settings], connection: Connection, scratch: Path, database: str
    ) -> None:
        self.lanes: Final = lanes
        """The settings of a worker for each lane."""
        self.database: Final = database
        """The name of the run's database."""
        self.scratch: Final = scratch
        """An empty folder."""
        self.connection: Final = connection
        """To the run's database, for whoever looks at it."""
        self._rig = rig

    @property
    def client(self) -> BrokerClient:
        """The benchmark's own connection to the broker."""
        return self._rig.client

    @property
    def settings(self) -> Settings:
        """What all workers have in common, and the stream of the first."""
        return self.lanes[0]

    @property
    def environments(self) -> list[dict[str, str]]:
        """The variables of the worker, or of any other peer, of each lane."""
        return [
            {
                "NATS_URL": lane.nats_url,
                "DATABASE_URL": lane.database_url,
                "ACH_ACK_WAIT": str(lane.ack_wait),
                "ACH_INPUT_STREAM": lane.input_stream,
                "ACH_INPUT_PREFIX": lane.input_prefix,
                "BENCH_SCRATCH": str(self.scratch),
            }
            for lane in self.lanes
        ]

    async def deploy(self, rules: Path = RULES) -> None:
        """Make the worker's tables, and put rules into force."""
        await deploy(self.settings, load([rules]), by="bench")

    async def ledger(self) -> None:
        """Make the worker's tables, without rules."""
        from worker.app import wall_clock  # noqa: PLC0415
        from worker.store import open_store  # noqa: PLC0415

        async with open_store(self.settings.database_url) as store:
            await store.migrate(now=wall_clock())

    async def backlog(self) -> Backlog:
        """Ask the broker how far the consumers have come."""
        infos = [await self._consumer(lane) for lane in self.lanes]
        return Backlog(
            sum([info.num_pending or 0 for info in infos]), sum([info.num_ack_pending or 0 for info in infos])
        )

    async def pulled(self) -> bool:
        """Tell whether somebody asks for the messages of each lane."""
        return all([(await self._consumer(lane)).num_waiting for lane in self.lanes])

    async def _consumer(self, lane: Settings) -> ConsumerInfo:
        return await self.client.jetstream().consumer_info(lane.input_stream, lane.consumer)

    async def announced(self) -> int:
        """Return how many announcements the broker keeps."""
        info = await self.client.jetstream().stream_info(self.settings.unlock_stream)
        return info.state.messages

    async def wal(self) -> int:
        """Return how many bytes of log the database server has written."""
        return await self.connection.fetchval("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint")

    async def table_bytes(self) -> int:
        """Return what the tables of the run take, indexes and all."""
        return await self.connection.fetchval(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )

    def cpu(self) -> Cpu:
        """Return what the servers have used so far."""
        return self._rig.cpu()


class Rig:
    """Running servers. Made by `rig`."""

    def __init__(self, servers: Servers, client: BrokerClient, admin: Connection) -> None:
        self.servers: Final = servers
        self.client: Final = client
        self.admin: Final = admin
        self._broker_pid, self._database_pid = servers.pids

    def cpu(self) -> Cpu:
        """Return what the servers have used so far, processes that have ended included."""
        return Cpu(cpu_seconds([self._database_pid]), cpu_seconds([self._broker_pid]))

    async def versions(self) -> dict[str, str]:
        """Return what the servers call themselves."""
        version = await self.admin.fetchval("SHOW server_version")
        return {"PostgreSQL": version.split()[0], "nats-server": self._broker_version()}

    def _broker_version(self) -> str:
        version = self.client.connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}"

    @asynccontextmanager
    async def arena(
        self, lanes: int = 1, *, ack_wait: int = 30, template: str | None = None, keep: bool = False
    ) -> AsyncGenerator[Arena]:
        """Give a fresh database and fresh streams for the length of a block; `ack_wait` in seconds.

        The database begins as a copy of `template`, and stays behind as one with `keep`.
        """
        name = f"bench_{secrets.token_hex(4)}"
        await self._drop_streams()
        # Files are copied as they are: gigabytes through the log would be there for the run to wait for.
        copied = "" if template is None else f" TEMPLATE {template} STRATEGY FILE_COPY"
        await self.admin.execute(f"CREATE DATABASE {name}{copied}")
        # What the run before has left for later is done now, and not during this one: the database's own pages, and
        # files that the system would write half a minute after they were changed, while commits wait for the disk.
        await self.admin.execute("CHECKPOINT")
        await asyncio.to_thread(os.sync)
        database_url = self.servers.url_of(name)
        workers = [
            Settings(
                nats_url=self.servers.nats_url,
                database_url=database_url,
                ack_wait=ack_wait,
                input_stream=_stream_of(lane, lanes),
                input_prefix=prefix_of(lane, lanes),
            )
            for lane in range(lanes)
        ]
        for worker in workers:
            async with open_broker(worker):  # makes streams and consumer, exactly as a worker has them
                pass
        connection = await asyncpg.connect(database_url)
        try:
            with tempfile.TemporaryDirectory(prefix="ach-bench-") as scratch:
                yield Arena(self, workers, connection, Path(scratch), name)
        finally:
            await connection.close()
            if not keep:
                await self.drop(name)
            await self._drop_streams()

    async def drop(self, database: str) -> None:
        """Drop a database that an arena has left behind."""
        await self.admin.execute(f"DROP DATABASE {database} WITH (FORCE)")

    async def _drop_streams(self) -> None:
        """Delete whatever the run before has left, lanes included."""
        try:
            for stream in await self.client.jetstream().streams_info():
                await self.client.jetstream().delete_stream(stream.config.name or "")
        except (NatsError, APIError) as error:
            raise BenchError(f"cannot delete the streams of a run: {error}") from error


def _stream_of(lane: int, lanes: int) -> str:
    return Settings().input_stream if lanes == 1 else f"LANE_{lane}"


@asynccontextmanager
async def rig(folder: Path | None = None) -> AsyncGenerator[Rig]:
    """Run the benchmark's servers for the length of a block, on a folder of their own that is deleted afterwards.

    Raises:
        BenchError: they do not keep what they are given.
    """
    place = Path(tempfile.mkdtemp(prefix="ach-bench-", dir=folder))
    try:
        async with embedded(place, durable=True) as servers:
            admin = await asyncpg.connect(servers.url_of(DATABASE))
            client = new_client()
            await client.connect(servers.nats_url)
            try:
                await _check_durable(admin)
                yield Rig(servers, client, admin)
            finally:
                await client.close()
                await admin.close()
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def _check_durable(admin: Connection) -> None:
    rows: Sequence[asyncpg.Record] = await admin.fetch(
        "SELECT name, setting FROM pg_settings WHERE name = ANY($1)", list(DURABLE)
    )
    for row in rows:
        if row["setting"] != DURABLE[row["name"]]:
            raise BenchError(f"{row['name']} is {row['setting']}: not what a benchmark should run on")
