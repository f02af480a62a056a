"""Facts and checks put together.

A command makes all checks, and a worker at its start those that need no further right.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import anyio
import structlog

from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, in_words
from worker.doctor import examine
from worker.doctor.ask_broker import ask_broker, ask_streams
from worker.doctor.ask_database import ask_database, ask_settings
from worker.doctor.facts import ConsumerSeen, DatabaseFacts
from worker.doctor.finding import Level, Unknown
from worker.store import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.broker.client import BrokerClient
    from worker.doctor.facts import BrokerFacts
    from worker.doctor.finding import Finding
    from worker.settings import Settings
    from worker.store import Store

START_SECONDS: Final = 10.0
"""For both servers to answer a worker that starts; it waits for them afterwards."""

log = structlog.get_logger()


class UnsafeError(Exception):
    """Servers are set up so that a guarantee does not hold; the message has a line for each setting."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        lines = [f"{one.check}: {one.said}" + (f"\n  mend it: {one.mend}" if one.mend else "") for one in findings]
        super().__init__("\n".join(lines))
        self.findings = findings


async def examine_all(settings: Settings, *, now: Callable[[], float] = time) -> list[Finding]:
    """Return what all checks say. `now` is this machine's clock, in seconds."""
    found: list[DatabaseFacts] = []

    async def of_database() -> None:
        found.append(await ask_database(settings, now=now))

    # Beside each other: two servers that do not answer take no longer than one.
    brokers: list[BrokerFacts] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(of_database)
        brokers.append(await ask_broker(settings, now=now))
    (broker,), (database,) = brokers, found
    backlog = broker.consumer.info.num_pending if isinstance(broker.consumer, ConsumerSeen) else None
    return [
        *examine.names(settings),
        *examine.zones(_zone_flaw()),
        *_as_named(settings, examine.broker(broker)),
        *examine.database(database.beside(backlog)),
    ]


def check_names(settings: Settings, *, unsafe: bool) -> None:
    """Refuse settings that mix events and unlocks, before anything is made at the broker.

    Raises:
        UnsafeError: they do.
    """
    refused = [one for one in examine.names(settings) if one.refuses]
    if refused and not unsafe:
        raise UnsafeError(refused)


def _as_named(settings: Settings, findings: list[Finding]) -> list[Finding]:
    mixed = any(one.refuses for one in examine.names(settings))
    return examine.without_subjects(findings) if mixed else findings


async def examine_at_start(store: Store, client: BrokerClient, settings: Settings) -> list[Finding]:
    """Return what the checks say that a worker makes at its start; none where a server is away, which it waits for."""
    findings = [*examine.names(settings), *examine.zones(_zone_flaw())]
    try:
        with anyio.fail_after(START_SECONDS):
            findings += _as_named(settings, examine.streams(await ask_streams(client, settings)))
            rest = Unknown("it is not needed at the start")
            findings += examine.database(DatabaseFacts(await ask_settings(store, settings), rest, rest, rest))
    except (UnavailableError, RefusedError, BrokerAwayError, *OUT_OF_REACH) as error:
        log.warning("the settings of the servers are not checked", said=in_words(error))
    return findings


class WorkerChecks:
    """What a worker checks: at its start, and again when a stream or its consumer was made anew while it works.

    `unsafe` only logs what keeps a worker from starting otherwise.
    """

    def __init__(self, *, unsafe: bool) -> None:
        self._unsafe = unsafe
        self._logged: set[tuple[str, str]] = set()

    async def __call__(self, store: Store, client: BrokerClient, settings: Settings) -> None:
        """Log what is not as the guarantees assume, each finding once. Only the first call may refuse.

        Raises:
            UnsafeError: a guarantee does not hold.
        """
        findings = await examine_at_start(store, client, settings)
        refused = [one for one in findings if one.level is Level.ERROR and one.refuses]
        if refused and not self._unsafe:
            raise UnsafeError(refused)
        self._unsafe = True
        for one in findings:
            if one.level in {Level.WARNING, Level.ERROR} and (one.check, one.said) not in self._logged:
                self._logged.add((one.check, one.said))
                log.warning("a setting is not as it should be", check=one.check, said=one.said, mend=one.mend or None)


def _zone_flaw() -> str:
    try:
        ZoneInfo("Europe/Berlin")
    except (ZoneInfoNotFoundError, OSError) as error:
        return str(error)
    return ""
