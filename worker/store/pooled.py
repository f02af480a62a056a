"""Transactions through a pooler, which lends a session of the server to one transaction at a time.

Between two transactions a connection has no session, so nothing may be left in one and nothing may be expected there:

- Settings are made in each transaction, by `SET LOCAL`, in the message that begins it. A pooler refuses most of them at
  the start of a connection.
- Statements have no name. The client prepares one and carries it out in two requests, so a statement by itself is
  wrapped in a transaction, or another session might get the second request.
- A cursor is declared in SQL, and arguments of a copy are put into its text: the client's own ways name a statement.

Measured, and what else was thought of: docs/decisions/0034-roles-pooler-upgrades.md.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio

import sql
from worker.store.connection import PATIENT as PATIENT_SETTINGS
from worker.store.connection import SETTINGS
from worker.store.errors import RETRYABLE
from worker.store.session import COPY_SECONDS, PAGE_ROWS, Session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping

    from asyncpg.pool import PoolConnectionProxy

T = TypeVar("T")

_AT_START: Final = ("application_name",)
STARTING: Final = {name: SETTINGS[name] for name in _AT_START}
"""What a connection may say of itself at its start: poolers keep this for each client."""


def beginning(more: Mapping[str, str]) -> str:
    """Return the statements that begin a transaction, with the settings of every connection and `more`."""
    settings = {name: value for name, value in SETTINGS.items() if name not in _AT_START} | dict(more)
    return "; ".join(["BEGIN", *(f"SET LOCAL {name} = '{value}'" for name, value in settings.items())])


BEGIN: Final = beginning({})
PATIENT: Final = beginning(PATIENT_SETTINGS)
"""Without limits on long statements."""


@asynccontextmanager
async def transaction(connection: PoolConnectionProxy, begin: str = BEGIN) -> AsyncGenerator[None]:
    """Run a block in one transaction."""
    try:
        await connection.execute(begin)
        yield
    except BaseException:
        # Also after a cancellation. A connection that cannot end its transaction is of no more use.
        with anyio.CancelScope(shield=True):
            try:
                await connection.execute("ROLLBACK")
            except RETRYABLE:
                connection.terminate()
        raise
    await connection.execute("COMMIT")


class PooledSession(Session):
    """A session within one transaction through a pooler."""

    def __init__(self, connection: PoolConnectionProxy) -> None:
        super().__init__(connection)
        self._cursors = 0

    async def pages(self, shape: Callable[..., T], name: str, /, **args: object) -> AsyncIterator[list[T]]:
        """Yield rows through a cursor, as in `Session`."""
        query = sql.query(name)
        self._cursors += 1
        cursor = f"pages_{self._cursors}"
        await self._connection.execute(f"DECLARE {cursor} NO SCROLL CURSOR FOR {query.text}", *query.arguments(args))
        full = True
        while full:
            rows = await self._connection.fetch(f"FETCH {PAGE_ROWS} FROM {cursor}")
            full = len(rows) == PAGE_ROWS
            yield [shape(*row) for row in rows]
        await self._connection.execute(f"CLOSE {cursor}")

    async def copy(self, sink: Callable[[bytes], Coroutine[Any, Any, None]], name: str, /, **args: object) -> None:
        """Hand all rows to `sink` as CSV, as in `Session`."""
        query = sql.query(name)
        text = await self._inlined(query.text.removesuffix(";"), query.arguments(args))
        await self._connection.copy_from_query(text, output=sink, format="csv", timeout=COPY_SECONDS)

    async def _inlined(self, text: str, values: list[object]) -> str:
        """Return a query with its arguments as literals, which the server itself has quoted."""
        if not values:
            return text
        statement = await self._connection.prepare(text, name="")
        kinds = [kind.name for kind in statement.get_parameters()]
        asked = ", ".join(f"quote_nullable(${n}::{kind}) || '::{kind}'" for n, kind in enumerate(kinds, start=1))
        literals: list[str] = [*(await self._connection.fetch(f"SELECT {asked}", *values))[0]]
        return _PLACE.sub(lambda found: literals[int(found[1]) - 1], text)


_PLACE: Final = re.compile(r"\$(\d+)")


class EachAlone:
    """A connection each of whose statements is a transaction by itself; what `Session` asks of a connection."""

    def __init__(self, connection: PoolConnectionProxy) -> None:
        self._connection = connection

    async def fetch(self, text: str, *args: object) -> list[Any]:
        """As the client's `fetch`."""
        async with transaction(self._connection):
            return await self._connection.fetch(text, *args)

    async def fetchrow(self, text: str, *args: object) -> Any:  # noqa: ANN401 - as the client has it
        """As the client's `fetchrow`."""
        async with transaction(self._connection):
            return await self._connection.fetchrow(text, *args)

    async def fetchval(self, text: str, *args: object) -> Any:  # noqa: ANN401 - as the client has it
        """As the client's `fetchval`."""
        async with transaction(self._connection):
            return await self._connection.fetchval(text, *args)

    async def execute(self, text: str, *args: object) -> str:
        """As the client's `execute`."""
        async with transaction(self._connection):
            return await self._connection.execute(text, *args)
