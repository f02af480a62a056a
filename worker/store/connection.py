"""One connection: its settings, its types, its buffers.

Measured and tried: docs/decisions/0008-hot-path/socket-buffer.md.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

    import asyncpg

CONNECT_SECONDS: Final = 5.0
"""Until a connection stands, or the server counts as down."""
COMMAND_SECONDS: Final = 60.0
"""Until the client gives up on a statement that the server has not ended itself."""
SEND_BYTES: Final = 4 * 1024 * 1024
"""That a local connection may have on their way to the server, as far as the system allows. A large batch is a
megabyte: with the usual 208 KiB each further part of it would wait for the event loop to come round."""

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

PATIENT: Final = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
"""Of transactions that may take long."""

_EPOCH_MICROSECONDS: Final = 946_684_800_000_000
"""PostgreSQL counts from 2000-01-01."""


async def prepare(connection: asyncpg.Connection) -> None:
    """Make a new connection ready: its buffer, and instants as whole microseconds."""
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


async def leave_as_is(_: asyncpg.Connection) -> None:
    """Ask nothing of the server when a connection is given back: a transaction leaves nothing behind here."""
