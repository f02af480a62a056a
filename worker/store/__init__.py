"""PostgreSQL: the only room that knows asyncpg.

Instants are whole microseconds since the Unix epoch on this side and `timestamptz` on the other, exact both ways.
Every error that leaves here is one of two: `UnavailableError` (try the same again) or `RefusedError` (the data are at
fault, and trying again is of no use); anything else is a defect and ends the worker.
"""

from worker.store.connection import SEND_BYTES, SETTINGS, make_room
from worker.store.errors import (
    AnsweredError,
    DatabaseUrlError,
    DiskFullError,
    NotMigratedError,
    OvertakenError,
    ReadOnlyError,
    RefusedError,
    SchemaMismatchError,
    UnavailableError,
    UnusableError,
)
from worker.store.pool import Store, open_store
from worker.store.session import Columns, Session

__all__ = [
    "SEND_BYTES",
    "SETTINGS",
    "AnsweredError",
    "Columns",
    "DatabaseUrlError",
    "DiskFullError",
    "NotMigratedError",
    "OvertakenError",
    "ReadOnlyError",
    "RefusedError",
    "SchemaMismatchError",
    "Session",
    "Store",
    "UnavailableError",
    "UnusableError",
    "make_room",
    "open_store",
]
