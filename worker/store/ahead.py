"""Indexes that are built before the migration that needs them, beside those who write.

A migration is one transaction, and an index that is built in one keeps writers out until it is there: minutes, on a
large ledger. So it is built by itself before (`CREATE INDEX CONCURRENTLY`), and the migration finds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from worker.store.session import COPY_SECONDS, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    import sql

_BINS: Final = "bins"
"""The migration."""
_AGAIN_SECONDS: Final = 0.5
"""Between two looks whether another process has built them."""


class _Ledger(NamedTuple):
    """A table that lacks the index: `public.event`."""

    table: str
    name: str
    """Of the index; where it is empty, PostgreSQL chooses one."""
    unfinished: str | None
    """The index that an interruption has left, with its schema."""


async def build_ahead(connection: PoolConnectionProxy, lacking: Sequence[sql.Migration]) -> None:
    """Build the indexes of migrations that a database lacks, on a connection of its own, outside of any transaction.

    One process does so at a time, and others wait. After an interruption it begins anew.
    """
    if all(one.name != _BINS for one in lacking):
        return
    session = Session(connection)
    while True:
        if await session.value(bool, "try_lock_indexes"):
            break
        await anyio.sleep(_AGAIN_SECONDS)
    try:
        # Building waits for transactions that began before, however long these take.
        await session.script("SET statement_timeout = 0; SET lock_timeout = 0")
        tables = await session.rows(_Ledger, "ledgers_without_bins")
        if tables:
            await session.run("define_bins")
        for table, name, unfinished in tables:
            if unfinished is not None:
                await session.script(f"DROP INDEX CONCURRENTLY IF EXISTS {unfinished}")
            await connection.execute(
                f"CREATE INDEX CONCURRENTLY {name} ON {table} (tenant_id, user_id, bin_of(occurred_at))",
                timeout=COPY_SECONDS,
            )
    finally:
        with anyio.CancelScope(shield=True):
            await session.script("RESET statement_timeout; RESET lock_timeout")
            await session.value(bool, "unlock_indexes")
