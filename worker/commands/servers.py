"""The servers that a command works on: those of the environment, or private ones.

A command waits a while for a server that is down, and says in one sentence what is wrong.
"""

from __future__ import annotations

import getpass
import os
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import anyio
import click

from worker.environment import load_settings
from worker.local.here import servers_here
from worker.local.locks import EmbeddedError
from worker.pipeline.rules_in_force import load_deployed
from worker.process.loop import run_async
from worker.process.signals import ImpatientError, ignore_log_signals
from worker.report import screen
from worker.retry import PATIENCE_SECONDS
from worker.settings import Settings, SettingsError, shown
from worker.store import (
    Store,
    UnavailableError,
    UnusableError,
    open_store,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from worker.engine.rule_set import Deployed

T = TypeVar("T")

RETRY_SECONDS = 1.0


class CommandError(Exception):
    """A command cannot do what it should; the message says why, `hint` what may help."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def on_servers(work: Callable[[Settings], Awaitable[T]], *, as_service: bool = False, logs_nothing: bool = False) -> T:
    """Return what `work` returns on the servers of the environment; where it fails, print why and end the command.

    `as_service` writes all of its log, in the form that the settings ask for. What `logs_nothing` loads no log.

    Raises:
        click.UsageError: the environment has settings that cannot be used.
    """
    try:
        settings = load_settings(_environment())
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    if not logs_nothing:
        _log(settings, as_service=as_service)
    try:
        with command_errors(settings):
            return run_async(partial(work, settings))
    except CommandError as error:
        screen.fail(str(error), error.hint)
        sys.exit(1)
    except (ImpatientError, KeyboardInterrupt):
        sys.exit(130)


def _log(settings: Settings, *, as_service: bool) -> None:
    from worker.process import logs  # noqa: PLC0415 - it takes long to import, and some commands have nothing to log

    if as_service:
        ignore_log_signals()
        logs.configure(settings.log_format, logs.LEVELS[settings.log_level])
    else:
        logs.quiet()


def _environment() -> dict[str, str]:
    """Return the environment; where it names no servers, with those of an `ach dev` that runs in this folder."""
    environment = {**os.environ}
    found = servers_here(environment, Path.cwd())
    if found is None:
        return environment
    folder, variables = found
    screen.err().print(f"on the servers of `ach dev` in {folder} (NATS_URL and DATABASE_URL are not set)", markup=False)
    return environment | variables


def on_private_servers(work: Callable[[], Awaitable[bool]]) -> bool:
    """Return what `work` returns, which runs servers of its own; print why and return False where it fails."""
    _log(Settings(), as_service=False)
    try:
        return run_async(work)
    except CommandError as error:
        screen.fail(str(error), error.hint)
    except EmbeddedError as error:
        screen.fail(str(error))  # with its hint
    except (ImpatientError, KeyboardInterrupt):
        pass
    return False


@contextmanager
def command_errors(settings: Settings) -> Generator[None]:
    """Turn the errors of servers and rules into `CommandError`, which names the server and what to look at."""
    try:
        yield
    except CommandError:
        raise
    except Exception as error:
        # All that may go wrong takes as long to import as a short command: that is done where something has.
        from worker.commands.server_errors import in_words

        said = in_words(error, settings)
        if said is None:
            raise
        raise CommandError(*said) from error


async def rules_in_force(store: Store, settings: Settings) -> Deployed:
    """Return the rules in force, for a command that is of no use without any.

    Raises:
        CommandError: there are none.
        UnavailableError, RulesRefusedError: as in `load_deployed`.
    """
    rules = await load_deployed(store, settings)
    if not rules.epoch:
        raise CommandError("no rules are in force", "run `ach apply`")
    return rules


async def with_store(settings: Settings, work: Callable[[Store], Awaitable[T]], *, check: bool = True) -> T:
    """Return what `work` returns on the database; wait up to PATIENCE_SECONDS for one that is down.

    `work` is done again as a whole where the database fails in the middle. Unless it makes the schema itself, `check`
    sees to it first that this release can use the schema.

    Raises:
        UnavailableError, SchemaMismatchError: as in `patiently` and `Store.check_schema`.
    """

    async def checked(store: Store) -> T:
        if check:
            await store.check_schema()
        return await work(store)

    async with open_store(settings.database_url, pooler=settings.pooler) as store:
        return await patiently(settings, partial(checked, store))


async def patiently(settings: Settings, work: Callable[[], Awaitable[T]]) -> T:
    """Return what `work` returns, once the database is there for it; see `with_store`.

    Raises:
        UnavailableError: the database was down for PATIENCE_SECONDS, or cannot be used at all.
    """
    until = monotonic() + PATIENCE_SECONDS
    said = False
    while True:
        try:
            return await work()
        except UnusableError:
            raise
        except UnavailableError as error:
            if monotonic() > until:
                raise
            if not said:
                _print_wait(settings, error)
            said = True
        await anyio.sleep(RETRY_SECONDS)


def _print_wait(settings: Settings, error: UnavailableError) -> None:
    server, seconds = shown(settings.database_url), f"{PATIENCE_SECONDS:.0f}"
    line = f"PostgreSQL at {server} cannot be reached ({error}); trying for {seconds} s"
    screen.err().print(line, markup=False)


def write_file(path: Path, content: bytes) -> None:
    """Write a file.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror or error}") from error


def whoami() -> str:
    """Return the login of the user who runs the command, for the books."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"
