"""What goes wrong with a database: try again, act, or give the data up."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import asyncpg

from worker.network_errors import in_words as network_words
from worker.settings import ENCODED

if TYPE_CHECKING:
    from collections.abc import Generator

RETRYABLE: Final = (
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
_NO_STATEMENT: Final = (
    asyncpg.exceptions.InvalidSQLStatementNameError,
    asyncpg.exceptions.DuplicatePreparedStatementError,
)
"""The session of the server is another one than a moment ago: a pooler has changed it."""
UNUSABLE: Final = (
    asyncpg.exceptions.InvalidAuthorizationSpecificationError,
    asyncpg.exceptions.InvalidCatalogNameError,
    asyncpg.exceptions.InsufficientPrivilegeError,
    *_SCHEMA_MISSING,
    *_NO_STATEMENT,
)
"""An operator has to act: a password, a database, a right or the schema is missing, or a pooler is in between."""

POOLER_HINT: Final = "a pooler such as PgBouncer answers there: set ACH_POOLER=transaction"


class UnavailableError(Exception):
    """The database is away, busy or shutting down: the same may be tried again as a whole."""


class AnsweredError(UnavailableError):
    """The database is there, and has given up what it was at: for a lock, a deadlock, a limit, a lack of something."""


class DiskFullError(AnsweredError):
    """The database has no room on a disk of its server: the same may be tried again once there is some."""


class ReadOnlyError(AnsweredError):
    """The database takes no changes: it is a standby, or was set so. It may become a primary."""


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


class NotMigratedError(SchemaMismatchError):
    """The database lacks migrations; the message says what to run."""


@contextmanager
def translated() -> Generator[None]:
    """Turn what the client raises within a block into the errors of this module."""
    try:
        yield
    except _StatementOvertaken as error:
        raise OvertakenError(error.detail or "") from error
    except _REFUSED as error:
        raise RefusedError(f"{type(error).__name__}: {_first_line(error)}") from error
    except UNUSABLE as error:
        raise UnusableError(unusable(error)) from error
    except RETRYABLE as error:
        if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
            # The client's own check of arguments.
            raise RefusedError(f"{type(error).__name__}: {_first_line(error)}") from error
        raise unavailable(error)(in_words(error)) from error


def unavailable(error: BaseException) -> type[UnavailableError]:
    """Return what an error is of those after which the same may be tried again."""
    match error:
        case asyncpg.exceptions.DiskFullError() | OSError(errno=errno.ENOSPC):
            return DiskFullError
        case asyncpg.exceptions.ReadOnlySQLTransactionError():
            return ReadOnlyError
        case (
            asyncpg.exceptions.TransactionRollbackError()
            | asyncpg.exceptions.QueryCanceledError()
            | asyncpg.exceptions.InsufficientResourcesError()
            | asyncpg.exceptions.ObjectNotInPrerequisiteStateError()
        ):
            return AnsweredError
        case _:
            return UnavailableError


def unusable(error: asyncpg.PostgresError) -> str:
    """Return why the database cannot be used, and what to do where that is known."""
    said = _first_line(error)
    if isinstance(error, _SCHEMA_MISSING):
        return f"{said}; the schema of this version is missing: run `ach migrate`"
    if isinstance(error, _NO_STATEMENT):
        return f"{said}; {POOLER_HINT}"
    if isinstance(error, asyncpg.exceptions.InsufficientPrivilegeError):
        return f"{said}; `ach grants` prints the SQL that gives a role its rights"
    return said


def in_words(error: BaseException) -> str:
    """Return what the server or its client says; of the network, what it means."""
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        return _first_line(error)
    if type(error) is ConnectionError:
        # So the client calls whatever goes wrong while TLS is agreed on; the system's own errors are subclasses.
        return "what listens there is no PostgreSQL, or does not agree on TLS (sslmode)"
    return network_words(error).partition("\n")[0]


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
