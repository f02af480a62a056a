"""A private nats-server and PostgreSQL in a data folder, from the wheels of the `embedded` extra."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import asynccontextmanager, closing, suppress
from typing import TYPE_CHECKING, Final

import anyio

from worker.local.locks import EmbeddedError, FolderLock, writable
from worker.local.nats_server import NatsServer
from worker.local.postgres import DATABASE, USER, PostgresServer, remove_socket_dir
from worker.local.process_tree import LOOPBACK, STOP_SECONDS, ProcessTree, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

_SERVERS: Final = ("nats", "postgres")


class Servers:
    """The running servers of one data folder. Made by `embedded`, and valid inside it."""

    def __init__(self, data_dir: Path, nats: NatsServer | None, postgres: PostgresServer | None) -> None:
        self.data_dir: Final = data_dir
        self._nats: Final = nats
        self._postgres: Final = postgres

    @property
    def nats_url(self) -> str:
        """Where nats-server listens."""
        return f"nats://{LOOPBACK}:{self._need_nats().port}"

    @property
    def database_url(self) -> str:
        """The database over its Unix socket: the fastest way, and private to the server's user."""
        return self.url_of(DATABASE)

    @property
    def database_tcp_url(self) -> str:
        """The database over TCP, with its password: for graphical clients, containers and proxies."""
        postgres = self._need_postgres()
        return f"postgresql://{USER}:{postgres.password}@{LOOPBACK}:{postgres.port}/{DATABASE}"

    @property
    def ports(self) -> tuple[int, int]:
        """The ports of nats-server and of PostgreSQL."""
        return self._need_nats().port or 0, self._need_postgres().port or 0

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the servers that run."""
        servers = (self._nats, self._postgres)
        return tuple(server.tree.pid for server in servers if server and server.tree.pid)

    def url_of(self, database: str) -> str:
        """Return the URL of another database of the same server, over the Unix socket."""
        postgres = self._need_postgres()
        return f"postgresql://{USER}@/{database}?host={postgres.socket_dir}&port={postgres.port}"

    async def start_nats(self) -> None:
        """Start nats-server again: the same port and store as before."""
        await self._need_nats().start()

    async def kill_nats(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Kill nats-server without notice, and wait until it is gone."""
        await self._need_nats().tree.end(how)

    async def start_postgres(self) -> None:
        """Start PostgreSQL again: the same port and data as before; it recovers first if it has to."""
        await self._need_postgres().start()

    async def kill_postgres(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Kill PostgreSQL without notice (SIGQUIT: its own immediate shutdown), and wait until it is gone."""
        await self._need_postgres().tree.end(how)

    async def stop(self) -> None:
        """Stop the servers that run, and wait until they have ended; harmless when none does."""
        async with anyio.create_task_group() as tasks:
            for server in (self._nats, self._postgres):
                if server:
                    tasks.start_soon(server.stop)

    def disown(self) -> None:
        """Leave the servers running, and forget them."""
        for server in (self._nats, self._postgres):
            if server:
                server.tree.disown()

    def _need_nats(self) -> NatsServer:
        if self._nats is None:
            raise EmbeddedError("this data folder was opened without nats-server")
        return self._nats

    def _need_postgres(self) -> PostgresServer:
        if self._postgres is None:
            raise EmbeddedError("this data folder was opened without PostgreSQL")
        return self._postgres


@asynccontextmanager
async def embedded(  # noqa: PLR0913 - each is a choice of its own, named at the call
    data_dir: Path,
    *,
    durable: bool = True,
    nats: bool = True,
    postgres: bool = True,
    nats_port: int | None = None,
    pg_port: int | None = None,
    detach: bool = False,
) -> AsyncGenerator[Servers]:
    """Run private servers on `data_dir` for the length of a block.

    Args:
        data_dir: Made if missing; everything that the servers keep is in it.
        durable: Whether PostgreSQL waits for the disk. If not, data survive a crash of the server, but not one of the
            machine.
        nats: Whether to run nats-server (with JetStream).
        postgres: Whether to run PostgreSQL.
        nats_port: A port on the loopback address; a free one by default.
        pg_port: The same for PostgreSQL.
        detach: Leave the servers running at the end of the block; `stop_detached` stops them.

    Raises:
        EmbeddedError: they cannot be started; the error has a hint, and nothing is left running.
    """
    folder = writable(data_dir)
    with closing(FolderLock(folder)):
        servers = Servers(
            folder,
            NatsServer(folder, nats_port, detach=detach) if nats else None,
            PostgresServer(folder, pg_port, durable=durable, detach=detach) if postgres else None,
        )
        started = False
        try:
            if postgres:
                await servers.start_postgres()
            if nats:
                await servers.start_nats()
            started = True
            yield servers
        finally:
            if detach and started:
                servers.disown()
            else:
                with anyio.CancelScope(shield=True):
                    await servers.stop()


async def stop_detached(data_dir: Path) -> tuple[int, ...]:
    """Stop the servers that a detached (or killed) run left in `data_dir`; return their process ids."""
    if not await anyio.Path(data_dir).exists():
        return ()
    folder = writable(data_dir)
    stopped: list[int] = []
    with closing(FolderLock(folder)):
        for name in _SERVERS:
            tree = ProcessTree(folder, name, detach=True)
            if (holder := tree.holder()) and holder.pid:
                with suppress(ProcessLookupError):
                    os.kill(holder.pid, signal.SIGINT)
                if not await until(lambda tree=tree: tree.holder() is None, STOP_SECONDS):
                    raise EmbeddedError(f"{name} (pid {holder.pid}) does not stop", f"kill -9 {holder.pid}")
                stopped.append(holder.pid)
        remove_socket_dir(folder)
    return tuple(stopped)


def empty(data_dir: Path) -> None:
    """Delete a data folder and all that its servers keep; harmless where there is none.

    Raises:
        EmbeddedError: its servers run. A folder that is deleted under them leaves servers that no command finds again.
    """
    if not data_dir.exists():
        return
    folder = writable(data_dir)
    with closing(FolderLock(folder)):
        for name in _SERVERS:
            if holder := ProcessTree(folder, name, detach=True).holder():
                raise EmbeddedError(
                    f"{name} (pid {holder.pid}) runs in {data_dir}",
                    f"ach demo --stop --data {data_dir} ends it; or choose another data folder with --data",
                )
        remove_socket_dir(folder)
        shutil.rmtree(folder)
