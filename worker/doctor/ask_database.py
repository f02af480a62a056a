"""Asks the database what the checks judge. Each step has a bound, and so has all of it."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

import sql
from sql.record import Applied
from worker.doctor.facts import (
    Books,
    BooksSeen,
    DatabaseFacts,
    DatabaseSeen,
    DatabaseSettings,
    Lacking,
    Letters,
    Schema,
    Skew,
)
from worker.doctor.finding import Level, Unknown
from worker.engine.rule_set import RulesRefusedError
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import shown
from worker.store import DatabaseUrlError, RefusedError, UnavailableError, open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.settings import Settings
    from worker.store import Session, Store

DATABASE_SECONDS: Final = 10.0
"""For all of it."""
LOOK_MILLISECONDS: Final = 5000
"""For one statement."""

T = TypeVar("T")


async def ask_database(settings: Settings, *, now: Callable[[], float] = time) -> DatabaseFacts:
    """Return all that is known of the database, within DATABASE_SECONDS. `now` is this machine's clock, in seconds."""
    try:
        with anyio.move_on_after(DATABASE_SECONDS):
            async with open_store(settings.database_url, connections=1, pooler=settings.pooler) as store:
                return await _ask_all(store, settings, now)
    except DatabaseUrlError as error:
        return _away(str(error))
    return _away(f"PostgreSQL at {shown(settings.database_url)}: no answer within {DATABASE_SECONDS:g} s")


def _away(said: str) -> DatabaseFacts:
    why = Unknown(said, Level.ERROR, "export DATABASE_URL=postgresql://USER@HOST:5432/DATABASE", refuses=True)
    rest = Unknown("PostgreSQL is not reached")
    return DatabaseFacts(why, rest, rest, rest)


async def _ask_all(store: Store, settings: Settings, now: Callable[[], float]) -> DatabaseFacts:
    try:
        database = await ask_settings(store, settings, now=now)
    except (UnavailableError, RefusedError) as error:
        return _away(f"PostgreSQL at {shown(settings.database_url)}: {error}")
    schema = await _or_unknown(store, _schema)
    if isinstance(schema, Unknown) or not schema.applied:
        rest = Unknown("the schema is not known" if isinstance(schema, Unknown) else "there is no schema yet")
        return DatabaseFacts(database, schema, rest, rest)
    lacking = await _or_unknown(store, _lacking)
    books = await _or_unknown(store, _books)
    if isinstance(books, Unknown):
        return DatabaseFacts(database, schema, lacking, books)
    return DatabaseFacts(database, schema, lacking, BooksSeen(books, None, await _flaw(store, settings)))


async def ask_settings(store: Store, settings: Settings, *, now: Callable[[], float] = time) -> DatabaseSeen:
    """Return what the server says of itself.

    Raises:
        UnavailableError: it is away.
    """
    async with store.transaction() as session:
        await session.run("look", milliseconds=str(LOOK_MILLISECONDS))
        began = now()
        found = await session.row(DatabaseSettings, "doctor_settings")
        ended = now()
    assert found is not None  # noqa: S101 - it has one row
    skew = Skew(found.clock / 1_000_000 - (began + ended) / 2, (ended - began) / 2)
    return DatabaseSeen(found, skew, settings)


async def _or_unknown(store: Store, read: Callable[[Session], Awaitable[T]]) -> T | Unknown:
    try:
        async with store.transaction() as session:
            await session.run("look", milliseconds=str(LOOK_MILLISECONDS))
            return await read(session)
    except (UnavailableError, RefusedError) as error:
        return Unknown(str(error), Level.ERROR)


async def _schema(session: Session) -> Schema:
    known = [Applied(one.number, one.name, one.checksum) for one in sql.migrations()]
    if not await session.value(bool, "doctor_is_migrated"):
        return Schema([], known)
    return Schema(await session.rows(Applied, "applied_migrations"), known)


async def _lacking(session: Session) -> list[Lacking]:
    return await session.rows(Lacking, "doctor_lacking")


async def _books(session: Session) -> Books:
    found = await session.row(Books, "doctor_books")
    assert found is not None  # noqa: S101 - it has one row
    return found._replace(letters=[Letters(*one) for one in found.letters])


async def _flaw(store: Store, settings: Settings) -> str:
    """Return why the rules in force cannot be used, "" if they can."""
    try:
        await load_deployed(store, settings)
    except (RulesRefusedError, UnavailableError) as error:
        return str(error).partition("\n")[0]
    return ""
