"""What goes wrong on servers, in words for an operator."""

from __future__ import annotations

from typing import Final

from worker.admin.changes import NotNowError, UnknownChangeError
from worker.admin.journal import JournalError
from worker.admin.lease import BuildEndedError, SupersededError
from worker.admin.pending import NotPendingError, PolicyRefusedError
from worker.admin.results import StaleError, UnreadableError
from worker.admin.rollout import BeginsEarlierError, MeaningChangedError, StalePlanError
from worker.broker.streams import BrokerAwayError, BrokerMismatchError
from worker.doctor.gather import UnsafeError
from worker.engine.rule_set import RulesRefusedError
from worker.probes.http import ListenError
from worker.recording import RecordingError
from worker.settings import Settings, shown
from worker.store import DatabaseUrlError, DiskFullError, SchemaMismatchError, UnavailableError

PLAIN: Final = (
    DatabaseUrlError,
    SchemaMismatchError,
    BrokerMismatchError,
    RulesRefusedError,
    MeaningChangedError,
    StaleError,
    UnreadableError,
    SupersededError,
    RecordingError,
    BeginsEarlierError,
    BuildEndedError,
    NotNowError,
    NotPendingError,
    PolicyRefusedError,
    StalePlanError,
    UnknownChangeError,
)
"""Errors whose own words say all."""


def in_words(error: Exception, settings: Settings) -> tuple[str, str | None] | None:
    """Return what an error of servers and rules says, with the server that it is of, and a hint; None of any other."""
    match error:
        case UnavailableError():
            return f"PostgreSQL at {shown(settings.database_url)}: {error}", _hint(settings, error)
        case BrokerAwayError():
            return f"NATS at {shown(settings.nats_url)}: {error}", "is NATS_URL right?"
        case JournalError():
            return str(error), "nothing was done; ACH_JOURNAL names the file"
        case UnsafeError():
            return str(error), "`ach doctor` checks all of it; `ach run --unsafe` starts all the same"
        case ListenError():
            return str(error), "set ACH_HEALTH_HOST and ACH_HEALTH_PORT to an address that is free"
        case _ if isinstance(error, PLAIN):
            return str(error), None
        case _:
            return None


def _hint(settings: Settings, error: UnavailableError) -> str:
    if isinstance(error, DiskFullError):
        return "make room on its disk and run the command again: it goes on where it was"
    if settings.database_url == Settings().database_url:
        return "set DATABASE_URL; or `ach dev rules/` runs private servers, which commands in the same folder find"
    return "is DATABASE_URL right?"
