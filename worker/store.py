"""PostgreSQL: the only module that knows asyncpg.

Instants are whole microseconds since the Unix epoch on this side and `timestamptz` on the other, exact both ways.
Every error that leaves here is one of two: `UnavailableError` (try the same again) or `RefusedError` (the data are at
fault, and trying again is of no use); anything else is a defect and ends the worker.

Measured and tried: docs/decisions/0008-hot-path/socket-buffer.md.
"""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import anyio
import asyncpg

import sql
from worker.network_errors import in_words
from worker.settings import ENCODED
from worker.urls import redacted

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator

    from asyncpg.pool import PoolConnectionProxy

CONNECT_SECONDS: Final = 5.0
"""Until a connection stands, or the server counts as down."""
COMMAND_SECONDS: Final = 60.0
"""Until the client gives up on a statement that the server has not ended itself."""
SEND_BYTES: Final = 4 * 1024 * 1024
"""That a local connection may have on their way to the server, as far as the system allows. A large batch is a
megabyte: with the usual 208 KiB each further part of it would wait for the event loop to come round."""
_COPY_SECONDS: Final = 86_400.0
"""Until the client gives up on a copy of a whole table."""
PAGE_ROWS: Final = 2000
"""Rows that a cursor holds in memory at a time."""

SETTINGS: Final = {
    "application_name": "ach",
    "timezone": "UTC",
    "statement_timeout": "45s",
    "lock_timeout": "20s",
    "idle_in_transaction_session_timeout": "60s",
    "jit": "off",
    # Every statement here goes by key, some hundred keys at a time: one index search each, whatever statistics say.
    # Tables that have grown since they were analysed make the planner read them as a whole instead (26 ms, not 1).
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
}
"""Of every connection; a test looks at the plans that come of them."""

_PATIENT: Final = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}

_EPOCH_MICROSECONDS: Final = 946_684_800_000_000
"""PostgreSQL counts from 2000-01-01."""

_RETRYABLE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.exceptions.TransactionRollbackError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.ObjectNotInPrerequisiteStateError,
    asyncpg.exceptions.InvalidTransactionStateError,
    asyncpg.exceptions.InvalidCachedStatementError,
    asyncpg.exceptions.PostgresSystemError,
    OSError,
    TimeoutError,
)
_REFUSED: Final = (
    asyncpg.exceptions.DataError,
    asyncpg.exceptions.IntegrityConstraintViolationError,
    asyncpg.exceptions.ProgramLimitExceededError,
)

_SCHEMA_MISSING: Final = (
    asyncpg.exceptions.UndefinedTableError,
    asyncpg.exceptions.UndefinedColumnError,
    asyncpg.exceptions.UndefinedFunctionError,
)
_UNUSABLE: Final = (
    asyncpg.exceptions.InvalidAuthorizationSpecificationError,
    asyncpg.exceptions.InvalidCatalogNameError,
    asyncpg.exceptions.InsufficientPrivilegeError,
    *_SCHEMA_MISSING,
)
"""An operator has to act: a password, a database, a right or the schema is missing."""

T = TypeVar("T")


class UnavailableError(Exception):
    """The database is away, busy or shutting down: the same may be tried again as a whole."""


class UnusableError(UnavailableError):
    """The database answers and cannot be used: a password, a right, the database itself or its schema is missing.

    A command gives up at once. A worker that has been at work waits, as for a database that is away: rights and
    passwords change while it runs.
    """


class RefusedError(Exception):
    """The database refuses the data as such."""


class OvertakenError(Exception):
    """A statement that took for granted how things are has found them otherwise, and done nothing.

    `reason` is what the statement passes to the function `overtaken`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _StatementOvertaken(asyncpg.PostgresError):
    """What the client raises for the code of the function `overtaken`; it finds the class by `sqlstate`."""

    sqlstate = "OV001"


class DatabaseUrlError(ValueError):
    """DATABASE_URL is none that the client can read; the message quotes nothing of it, as it may hold a password."""

    def __init__(self) -> None:
        super().__init__(
            f"DATABASE_URL cannot be read: expected postgresql://user@host:port/database?parameter=value; {ENCODED}"
        )


class SchemaMismatchError(Exception):
    """The database was made by other migrations than these; the message says which."""


class Session:
    """One connection within one transaction. Queries and their arguments go by their names in `sql/queries`.

    Raises:
        TypeError: an argument of a query is missing or unknown; nothing has been sent.
    """

    def __init__(self, connection: asyncpg.Connection | PoolConnectionProxy) -> None:
        self._connection = connection

    async def rows(self, shape: Callable[..., T], name: str, /, **args: object) -> list[T]:
        """Return all rows, made by `shape` from the query's columns in order (a NamedTuple, as a rule)."""
        query = sql.query(name)
        return [shape(*row) for row in await self._connection.fetch(query.text, *query.arguments(args))]

    async def row(self, shape: Callable[..., T], name: str, /, **args: object) -> T | None:
        """Return the first row, or None where there is none."""
        query = sql.query(name)
        row = await self._connection.fetchrow(query.text, *query.arguments(args))
        return None if row is None else shape(*row)

    async def value(self, kind: type[T], name: str, /, **args: object) -> T | None:
        """Return the first column of the first row; None where there is no row, or it is null."""
        query = sql.query(name)
        value: object = await self._connection.fetchval(query.text, *query.arguments(args))
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{name}: expected {kind.__name__}, got {type(value).__name__}")
        return value

    async def run(self, name: str, /, **args: object) -> int:
        """Carry out a statement; return how many rows it touched."""
        query = sql.query(name)
        status: str = await self._connection.execute(query.text, *query.arguments(args))
        words = status.split()
        return int(words[-1]) if words and words[-1].isdigit() else 0

    async def script(self, text: str) -> None:
        """Carry out a script of several statements without arguments."""
        await self._connection.execute(text)

    async def pages(self, shape: Callable[..., T], name: str, /, **args: object) -> AsyncIterator[list[T]]:
        """Yield rows through a cursor, many at a time, so that a long history never lies in memory as a whole."""
        query = sql.query(name)
        cursor = await self._connection.cursor(query.text, *query.arguments(args))
        full = True
        while full:
            rows = await cursor.fetch(PAGE_ROWS)
            full = len(rows) == PAGE_ROWS
            yield [shape(*row) for row in rows]

    async def copy(self, sink: Callable[[bytes], Coroutine[Any, Any, None]], name: str, /, **args: object) -> None:
        """Hand all rows to `sink` as CSV, piece by piece: null is empty, and empty text is quoted."""
        query = sql.query(name)
        text, given = query.text.removesuffix(";"), query.arguments(args)
        await self._connection.copy_from_query(text, *given, output=sink, format="csv", timeout=_COPY_SECONDS)


class Store:
    """A pool of connections that opens them when they are needed. Made by `open_store`."""

    def __init__(self, pool: asyncpg.Pool, database_url: str) -> None:
        self._pool = pool
        self._url = database_url

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
        with _translated():
            async with self._connection() as connection, connection.transaction():
                if patient:
                    for setting, value in _PATIENT.items():
                        await connection.execute(f"SET LOCAL {setting} = {value}")
                yield Session(connection)

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[Session]:
        """Run a block in which each statement is a transaction by itself, on one connection.

        Raises:
            UnavailableError, RefusedError: as in `transaction`, of the statement that failed.
        """
        with _translated():
            async with self._connection() as connection:
                yield Session(connection)

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
        except _UNUSABLE as error:
            wrong = UnusableError(redacted(_unusable(error), self._url))
        except (*_RETRYABLE, asyncpg.PostgresError) as error:
            if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
                wrong = DatabaseUrlError()
            else:
                wrong = UnavailableError(redacted(_in_words(error), self._url))
        except (ValueError, OverflowError, TypeError, LookupError):
            wrong = DatabaseUrlError()
        raise wrong

    async def _release(self, connection: PoolConnectionProxy) -> None:
        # By now the transaction has ended, or failed. A connection that breaks while it is given back says nothing
        # more; after a cancellation, no caller is left to handle it.
        with anyio.CancelScope(shield=True), suppress(*_RETRYABLE):
            await self._pool.release(connection, timeout=CONNECT_SECONDS)

    def kept(self) -> Store:
        """Return this store for a single task: it keeps its connection between two uses.

        To take one from the pool and to give it back takes half a millisecond, and a batch waits for both.
        """
        return _Kept(self._pool, self._url)

    def shared(self, connections: int) -> Store:
        """Return this store for many short uses side by side: up to so many connections are kept between two uses.

        They are all that its pool has, so the pool itself must not be used any more.
        """
        return _Shared(self._pool, self._url, connections)

    async def migrate(self, *, now: int) -> list[str]:
        """Bring the schema up to date, one migrator at a time; return the names of what was applied.

        Raises:
            SchemaMismatchError: an applied migration is unknown here, or was edited since.
            UnavailableError: the database is away.
        """
        async with self.transaction(patient=True) as session:
            await session.run("lock_migrations")
            await session.run("create_migration_table")
            known = {row.number: row for row in await session.rows(_Applied, "applied_migrations")}
            missing = _missing(known)
            for migration in missing:
                await session.script(migration.text)
                await session.run(
                    "insert_migration",
                    number=migration.number,
                    migration_name=migration.name,
                    checksum=migration.checksum,
                    now=now,
                )
            return [f"{migration.number:04d}_{migration.name}" for migration in missing]

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

    def __init__(self, pool: asyncpg.Pool, database_url: str) -> None:
        super().__init__(pool, database_url)
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

    def __init__(self, pool: asyncpg.Pool, database_url: str, connections: int) -> None:
        super().__init__(pool, database_url)
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


class _Applied(NamedTuple):
    number: int
    name: str
    checksum: str


def _missing(known: dict[int, _Applied]) -> list[sql.Migration]:
    wanted = {migration.number: migration for migration in sql.migrations()}
    for number, applied in known.items():
        migration = wanted.get(number)
        if migration is None:
            raise SchemaMismatchError(f"migration {number:04d}_{applied.name} is unknown here: this worker is older")
        if migration.checksum != applied.checksum:
            raise SchemaMismatchError(f"migration {number:04d}_{applied.name} was edited after it was applied")
    return [migration for number, migration in sorted(wanted.items()) if number not in known]


@asynccontextmanager
async def open_store(database_url: str, *, connections: int = 4) -> AsyncGenerator[Store]:
    """Give a store for the length of a block. Nothing is connected until it is used.

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
            server_settings=SETTINGS,
            init=_prepare,
            # The default asks the server to forget everything; a transaction leaves nothing behind here.
            reset=_leave_as_is,
        )
        store = Store(await pool, database_url)
    if store is None:
        raise DatabaseUrlError
    try:
        yield store
    finally:
        await store.close()


async def _prepare(connection: asyncpg.Connection) -> None:
    make_room(connection)
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        encoder=_to_postgres,
        decoder=_from_postgres,
        format="tuple",
    )


def make_room(connection: asyncpg.Connection) -> None:
    """Let a whole statement be sent at once, where the connection is local: over a network the system sees to that."""
    transport: asyncio.Transport | None = getattr(connection, "_transport", None)
    local = None if transport is None else transport.get_extra_info("socket")
    if local is not None and local.family == socket.AF_UNIX:
        local.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)


def _to_postgres(at: int) -> tuple[int]:
    return (at - _EPOCH_MICROSECONDS,)


def _from_postgres(value: tuple[int]) -> int:
    return value[0] + _EPOCH_MICROSECONDS


async def _leave_as_is(_: asyncpg.Connection) -> None:
    pass


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except _StatementOvertaken as error:
        raise OvertakenError(error.detail or "") from error
    except _REFUSED as error:
        raise RefusedError(f"{type(error).__name__}: {_first_line(error)}") from error
    except _UNUSABLE as error:
        raise UnusableError(_unusable(error)) from error
    except _RETRYABLE as error:
        if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
            # The client's own check of arguments.
            raise RefusedError(f"{type(error).__name__}: {_first_line(error)}") from error
        raise UnavailableError(_in_words(error)) from error


def _unusable(error: asyncpg.PostgresError) -> str:
    said = _first_line(error)
    if isinstance(error, _SCHEMA_MISSING):
        return f"{said}; the schema of this version is missing: run `ach migrate`"
    return said


def _in_words(error: BaseException) -> str:
    """Return what the server or its client says; of the network, what it means."""
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        return _first_line(error)
    return in_words(error).partition("\n")[0]


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
