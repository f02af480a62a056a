"""The worker as a function: a batch of records in, the records that are to come again out.

The same decisions and statements as in `ach run`, without a process that waits and without NATS. What a function needs
beyond the library (the pipeline, the client of PostgreSQL) is imported when the first batch comes.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING, Final

from ach.delivery import Announcement, BatchResponse
from ach.errors import DatabaseError
from ach.records import ANY_TENANT

if TYPE_CHECKING:
    from asyncio import Runner

    from ach.delivery import Announce
    from ach.records import Records, Tenant
    from ach.rules import Rules
    from ach.runner import Function

__all__ = ["ANY_TENANT", "Announcement", "BatchResponse", "batch", "batch_sync"]

SECONDS: Final = 25.0
"""After which what is not committed is left to come again; below the shortest limits that are usual."""


_local: Final = threading.local()


async def batch(
    records: Records,
    *,
    tenant: Tenant,
    database_url: str | None = None,
    rules: Rules | None = None,
    announce: Announce | None = None,
    seconds: float = SECONDS,
) -> BatchResponse:
    """Commit records to the books in PostgreSQL, and return those that are to come again.

    `tenant` is whose events the queue carries: an id, a function from a record to an id, or `ANY_TENANT`. An event of
    another tenant is a dead letter. `database_url` is DATABASE_URL where it is not given; ACH_ variables are those of
    the worker. `rules` have to equal those in force, which are taken where none are given. `announce` delivers what
    is granted; without it, that waits in the outbox for a worker. What is not committed within `seconds` comes again.

    A connection is kept from call to call, by event loop.

    Raises:
        DatabaseError: the database refuses this user, has no schema, or other rules are in force than `rules`; or a
            variable of the environment is malformed.
        TypeError: `records` are none.
    """
    function = _function(database_url, rules)
    return await function.batch(records, tenant=tenant, announce=announce, seconds=seconds)


def batch_sync(
    records: Records,
    *,
    tenant: Tenant,
    database_url: str | None = None,
    rules: Rules | None = None,
    announce: Announce | None = None,
    seconds: float = SECONDS,
) -> BatchResponse:
    """Do the same as `batch`, from code without an event loop; each thread has a loop of its own, kept for later calls.

    Raises:
        RuntimeError: an event loop runs in this thread: use `batch`.
        As in `batch`.
    """
    runner = _runner()
    return runner.run(
        batch(records, tenant=tenant, database_url=database_url, rules=rules, announce=announce, seconds=seconds)
    )


def _function(database_url: str | None, rules: Rules | None) -> Function:
    """Return the function of this loop, environment and rules: the same one at every call."""
    import asyncio  # noqa: PLC0415 - the library form does without

    from ach.runner import Function, functions_of  # noqa: PLC0415
    from worker.environment import load_settings  # noqa: PLC0415
    from worker.settings import SettingsError  # noqa: PLC0415

    given = {} if database_url is None else {"DATABASE_URL": database_url}
    try:
        settings = load_settings({**os.environ, **given})
    except SettingsError as error:
        raise DatabaseError(str(error)) from error
    known = functions_of(asyncio.get_running_loop())
    if (settings, rules) not in known:
        known[settings, rules] = Function(settings, rules)
    return known[settings, rules]


def _runner() -> Runner:
    """Return what runs batches in this thread: one loop for all calls, as connections belong to their loop."""
    from asyncio import Runner, get_running_loop  # noqa: PLC0415

    try:
        get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("an event loop runs in this thread: use `await ach.batch(...)` instead of `ach.batch_sync`")
    found: Runner | None = getattr(_local, "runner", None)
    if found is None:
        found = _local.runner = Runner()
        atexit.register(_close, found)
    return found


def _close(runner: Runner) -> None:
    from ach.runner import functions_of  # noqa: PLC0415

    for function in functions_of(runner.get_loop()).values():
        runner.run(function.close())
    runner.close()
