"""How a command meets the servers: it waits a while for one that is down, and says in words what is wrong."""

from __future__ import annotations

import getpass
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from worker.admin.backfill import SupersededError
from worker.admin.results import StaleError, UnreadableError
from worker.admin.rollout import MeaningChangedError
from worker.broker.streams import BrokerAwayError, BrokerMismatchError
from worker.engine.rule_set import RulesRefusedError
from worker.pipeline.rules_in_force import load_deployed
from worker.probes.http import ListenError
from worker.recording import RecordingError
from worker.report import screen
from worker.settings import Settings, shown
from worker.store import (
    DatabaseUrlError,
    SchemaMismatchError,
    Store,
    UnavailableError,
    UnusableError,
    open_store,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from worker.engine.rule_set import Deployed

T = TypeVar("T")

PATIENCE_SECONDS: Final = 15.0
"""How long a command that does one thing waits for a server that is down."""
RETRY_SECONDS: Final = 1.0


class CommandError(Exception):
    """A command cannot do what it should; the message says why, `hint` what may help."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@contextmanager
def told(settings: Settings) -> Generator[None]:
    """Turn what servers and rules can do wrong into `CommandError`, with the server's name and no stack trace."""
    try:
        yield
    except UnavailableError as error:
        raise CommandError(
            f"PostgreSQL at {shown(settings.database_url)}: {error}", "is DATABASE_URL right?"
        ) from error
    except BrokerAwayError as error:
        raise CommandError(f"NATS at {shown(settings.nats_url)}: {error}", "is NATS_URL right?") from error
    except ListenError as error:
        raise CommandError(str(error), "set ACH_HEALTH_HOST and ACH_HEALTH_PORT to an address that is free") from error
    except (
        DatabaseUrlError,
        SchemaMismatchError,
        BrokerMismatchError,
        RulesRefusedError,
        MeaningChangedError,
        StaleError,
        UnreadableError,
        SupersededError,
        RecordingError,
    ) as error:
        raise CommandError(str(error)) from error


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


async def patiently(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    """Do something with the database; wait a while for one that is down."""
    until = monotonic() + PATIENCE_SECONDS
    said = False
    async with open_store(settings.database_url) as store:
        while True:
            try:
                return await work(store)
            except UnusableError:
                raise
            except UnavailableError as error:
                if monotonic() > until:
                    raise
                if not said:
                    _say_patient(settings, error)
                said = True
            await anyio.sleep(RETRY_SECONDS)


def _say_patient(settings: Settings, error: UnavailableError) -> None:
    server, seconds = shown(settings.database_url), f"{PATIENCE_SECONDS:.0f}"
    said = f"PostgreSQL at {server} cannot be reached ({error}); trying for {seconds} s"
    screen.err().print(said, markup=False)


def whoami() -> str:
    """Return who runs the command, for the books."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"
