"""Connections that are kept, lent and given back."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from ssl import SSLCertVerificationError
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import asyncpg

from sql.record import Applied
from worker.secret_files import SecretFileError
from worker.settings import Pooler
from worker.store import pooled
from worker.store.ahead import build_ahead
from worker.store.connection import COMMAND_SECONDS, CONNECT_SECONDS, PATIENT, SETTINGS, leave_as_is, prepare
from worker.store.errors import (
    POOLER_HINT,
    RETRYABLE,
    UNUSABLE,
    DatabaseUrlError,
    UnavailableError,
    UnusableError,
    in_words,
    translated,
    unavailable,
    unusable,
)
from worker.store.schema import Books, missing, to_be_migrated
from worker.store.session import Session
from worker.store.url_files import check_files
from worker.urls import redacted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asyncpg.pool import PoolConnectionProxy

    import sql

_UNKNOWN_PARAMETER: Final = (
    asyncpg.exceptions.UndefinedObjectError,
    asyncpg.exceptions.InvalidParameterValueError,
    asyncpg.exceptions.CantChangeRuntimeParamError,
)
"""The server takes a parameter of the URL for one of its settings, and has no such one, or not that value."""
_STATEMENTS: Final = 100
"""Prepared statements that a connection keeps: the default of the client."""


class Store:
    """A pool of connections that opens them when they are needed. Made by `open_store`."""

    def __init__(self, pool: asyncpg.Pool, database_url: str, pooler: Pooler) -> None:
        self._pool = pool
        self._url = database_url
        self._pooler = pooler
        self._pooled = pooler is not Pooler.NONE

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._pool.get_size()

    @asynccontextmanager
    async def transaction(self, *, patient: bool = False) -> AsyncGenerator[Session]:
        """Run a block in one transaction (read committed), on a connection of its own.

        `patient` lifts the limits on long statements, for migrations and backfills.

        Raises:
            UnavailableError: nothing is known to have happened, it may be tried again. Where the commit itself failed,
                it may also have taken place.
            RefusedError: nothing has happened, and nothing will.
        """
        with translated():
            if self._pooled:
                begin = pooled.PATIENT if patient else pooled.BEGIN
                async with self._connection() as connection, pooled.transaction(connection, begin):
                    yield pooled.PooledSession(connection)
                return
            async with self._connection() as connection, connection.transaction():
                if patient:
                    for setting, value in PATIENT.items():
                        await connection.execute(f"SET LOCAL {setting} = {value}")
                yield Session(connection)

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[Session]:
        """Run a block in which each statement is a transaction by itself, on one connection.

        Raises:
            UnavailableError, RefusedError: as in `transaction`, of the statement that failed.
        """
        with translated():
            async with self._connection() as connection:
                yield Session(cast("PoolConnectionProxy", pooled.EachAlone(connection)) if self._pooled else connection)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[PoolConnectionProxy]:
        connection = await self._acquire()
        try:
            yield connection
        finally:
            await self._release(connection)

    async def _acquire(self) -> PoolConnectionProxy:
        # While a connection is made, client and server quote what they were given: pieces of the URL, that is. So
        # nothing of theirs goes further, neither as a cause nor as a context.
        wrong: Exception
        try:
            return await self._pool.acquire(timeout=CONNECT_SECONDS)
        except UNUSABLE as error:
            wrong = UnusableError(redacted(unusable(error), self._url))
        except SSLCertVerificationError as error:
            # It is refused again until an operator gives another certificate, authority or host.
            wrong = UnusableError(redacted(in_words(error), self._url))
        except asyncpg.exceptions.ProtocolViolationError as error:
            # No server says this to its client, but poolers do, of whatever they cannot give.
            said = redacted(in_words(error), self._url)
            wrong = UnavailableError(said) if self._pooled else UnusableError(f"{said}; {POOLER_HINT}")
        except (*RETRYABLE, asyncpg.PostgresError) as error:
            if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
                wrong = DatabaseUrlError()
            else:
                kind = UnusableError if isinstance(error, _UNKNOWN_PARAMETER) else unavailable(error)
                wrong = kind(redacted(in_words(error), self._url))
        except (ValueError, OverflowError, TypeError, LookupError):
            wrong = DatabaseUrlError()
        raise wrong

    async def _release(self, connection: PoolConnectionProxy) -> None:
        # By now the transaction has ended, or failed. A connection that breaks while it is given back says nothing
        # more; after a cancellation, no caller is left to handle it.
        with anyio.CancelScope(shield=True), suppress(*RETRYABLE):
            await self._pool.release(connection, timeout=CONNECT_SECONDS)

    def kept(self) -> Store:
        """Return this store for a single task: it keeps its connection between two uses.

        To take one from the pool and to give it back takes half a millisecond, and a batch waits for both.
        """
        return _Kept(self._pool, self._url, self._pooler)

    def shared(self, connections: int) -> Store:
        """Return this store for many short uses side by side: up to so many connections are kept between two uses.

        They are all that its pool has, so the pool itself must not be used any more.
        """
        return _Shared(self._pool, self._url, self._pooler, connections)

    async def migrate(self, *, now: int) -> list[str]:
        """Bring the schema up to date, one migrator at a time; return the names of what was applied.

        Raises:
            SchemaMismatchError: an applied migration is unknown here, or was edited since; or the role may not migrate.
            UnavailableError: the database is away.
        """
        books, lacking = await self._lacking()
        if not lacking:
            return []
        if not books.may_migrate:
            raise to_be_migrated(books, lacking)
        if books.made and not self._pooled:
            with translated():
                async with self._connection() as connection:
                    await build_ahead(connection, lacking)
        async with self.transaction(patient=True) as session:
            await session.run("lock_migrations")
            await session.run("create_migration_table")
            await session.run("extend_migration_table")
            new = missing(await session.rows(Applied, "applied_migrations"))
            for migration in new:
                await session.script(migration.text)
                await session.run(
                    "insert_migration",
                    number=migration.number,
                    migration_name=migration.name,
                    checksum=migration.checksum,
                    compatible_from=migration.compatible_from,
                    now=now,
                )
            return [f"{migration.number:04d}_{migration.name}" for migration in new]

    async def check_schema(self) -> None:
        """See whether this release can work with the schema; reads alone.

        Raises:
            SchemaMismatchError: it cannot; the message says what to run.
            UnavailableError: the database is away.
        """
        books, lacking = await self._lacking()
        if lacking:
            raise to_be_migrated(books, lacking)

    async def _lacking(self) -> tuple[Books, list[sql.Migration]]:
        async with self.transaction() as session:
            books = await session.row(Books, "migration_books")
            if books is None:
                raise AssertionError("a query without FROM has one row")
            return books, missing(await session.rows(Applied, "applied_migrations") if books.made else ())

    async def ping(self) -> None:
        """Ask for nothing, and get an answer.

        Raises:
            UnavailableError: or none.
        """
        async with self.transaction() as session:
            await session.run("count_partitions")

    async def close(self) -> None:
        """Close all connections, without waiting for what a dead server will never answer."""
        self._pool.terminate()


class _Kept(Store):
    """A store that keeps its connection until something goes wrong."""

    def __init__(self, pool: asyncpg.Pool, database_url: str, pooler: Pooler) -> None:
        super().__init__(pool, database_url, pooler)
        self._own: PoolConnectionProxy | None = None
        """The connection while it is idle."""

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[PoolConnectionProxy]:
        connection, self._own = self._own, None
        if connection is not None and _is_gone(connection):
            await self._release(connection)
            connection = None
        if connection is None:
            connection = await self._acquire()
        try:
            yield connection
        except BaseException:
            await self._release(connection)
            raise
        if self._own is None:
            self._own = connection
        else:
            await self._release(connection)


class _Shared(Store):
    """A store that keeps its connections until something goes wrong, and lends each to one task at a time."""

    def __init__(self, pool: asyncpg.Pool, database_url: str, pooler: Pooler, connections: int) -> None:
        super().__init__(pool, database_url, pooler)
        self._idle: list[PoolConnectionProxy] = []
        self._free = anyio.Semaphore(connections, fast_acquire=True)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[PoolConnectionProxy]:
        await self._wait()
        try:
            while self._idle and _is_gone(self._idle[-1]):
                await self._release(self._idle.pop())
            connection = self._idle.pop() if self._idle else await self._acquire()
            try:
                yield connection
            except BaseException:
                await self._release(connection)
                raise
            self._idle.append(connection)
        finally:
            self._free.release()

    async def _wait(self) -> None:
        """Wait for a turn.

        Raises:
            UnavailableError: others take too long.
        """
        try:
            self._free.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(CONNECT_SECONDS) as waited:
                await self._free.acquire()
            if waited.cancelled_caught:
                raise UnavailableError("all connections are in use") from None


def _is_gone(connection: PoolConnectionProxy) -> bool:
    """Tell whether a connection has ended; of one that the server has ended the client says nothing more."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


async def _connect(database_url: str, *args: Any, **options: Any) -> asyncpg.Connection:  # noqa: ANN401 - the pool's
    try:
        check_files(database_url, os.environ, _home())
    except SecretFileError as error:
        # Files are read at each connection, so that an operator may replace them.
        raise UnusableError(redacted(str(error), database_url)) from None
    return await asyncpg.connect(*args, **options)


def _home() -> Path | None:
    try:
        return Path.home()
    except (RuntimeError, KeyError):
        return None


@asynccontextmanager
async def open_store(database_url: str, *, connections: int = 4, pooler: Pooler = Pooler.NONE) -> AsyncGenerator[Store]:
    """Give a store for the length of a block. Nothing is connected until it is used.

    `pooler` says what stands between here and the server.

    Raises:
        DatabaseUrlError: the URL is none, here or when it is first used.
    """
    store: Store | None = None
    with suppress(asyncpg.InterfaceError, ValueError):
        pool = asyncpg.create_pool(
            database_url,
            min_size=0,
            max_size=connections,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings=SETTINGS if pooler is Pooler.NONE else pooled.STARTING,
            # Through a pooler no statement has a name, and so none can be kept.
            statement_cache_size=_STATEMENTS if pooler is Pooler.NONE else 0,
            connect=partial(_connect, database_url),
            init=prepare,
            reset=leave_as_is,
        )
        store = Store(await pool, database_url, pooler)
    if store is None:
        raise DatabaseUrlError
    try:
        yield store
    finally:
        await store.close()
