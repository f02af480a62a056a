"""One transaction: queries by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import sql

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

COPY_SECONDS: Final = 86_400.0
"""Until the client gives up on a copy of a whole table."""
PAGE_ROWS: Final = 2000
"""Rows that a cursor holds in memory at a time."""

T = TypeVar("T")
Columns: TypeAlias = "list[tuple[Any, ...]]"
"""Some rows of a query, column by column."""


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
        async for page in self.pages_of(PAGE_ROWS, shape, name, **args):
            yield page

    async def pages_of(
        self, number: int, shape: Callable[..., T], name: str, /, **args: object
    ) -> AsyncIterator[list[T]]:
        """Yield rows as `pages` does, so many at a time: for large ones."""
        async for rows in self._fetched(number, name, args):
            yield [shape(*row) for row in rows]

    async def columns(self, name: str, /, **args: object) -> AsyncGenerator[Columns]:
        """Yield what `pages` does column by column, but no empty page: for so many rows that a shape costs too much."""
        async for rows in self._fetched(PAGE_ROWS, name, args):
            if rows:
                yield [*zip(*rows, strict=True)]

    async def _fetched(self, number: int, name: str, args: dict[str, object]) -> AsyncGenerator[list[asyncpg.Record]]:
        query = sql.query(name)
        cursor = await self._connection.cursor(query.text, *query.arguments(args))
        full = True
        while full:
            rows = await cursor.fetch(number)
            full = len(rows) == number
            yield rows

    async def copy(self, sink: Callable[[bytes], Coroutine[Any, Any, None]], name: str, /, **args: object) -> None:
        """Hand all rows to `sink` as CSV, piece by piece: null is empty, and empty text is quoted."""
        query = sql.query(name)
        text, given = query.text.removesuffix(";"), query.arguments(args)
        await self._connection.copy_from_query(text, *given, output=sink, format="csv", timeout=COPY_SECONDS)
