"""All checks, over all facts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.doctor.books import BOOKS_CHECKS, SCHEMA_CHECKS
from worker.doctor.consumers import CONSUMER_CHECKS
from worker.doctor.facts import StreamSeen
from worker.doctor.finding import Finding, Level, Unknown, judged
from worker.doctor.servers import (
    ACCOUNT_CHECKS,
    CLOCK_CHECKS,
    DATABASE_CHECKS,
    RIGHTS_CHECKS,
    SERVER_CHECKS,
    TABLE_CHECKS,
)
from worker.doctor.streams import STREAM_CHECKS
from worker.doctor.subjects import overlap

if TYPE_CHECKING:
    from worker.doctor.facts import BrokerFacts, DatabaseFacts
    from worker.settings import Settings

BROKER: Final = "nats"
DATABASE: Final = "postgresql"


def names(settings: Settings) -> list[Finding]:
    """Return what is to be said of the settings alone."""
    same = settings.input_stream == settings.unlock_stream
    if same or overlap(f"{settings.input_prefix}.>", f"{settings.unlock_prefix}.>"):
        said = (
            f"events and unlocks share the stream {settings.input_stream}"
            if same
            else f"events on {settings.input_prefix}.> and unlocks on {settings.unlock_prefix}.> share subjects"
        )
        mend = "export ACH_UNLOCK_STREAM=UNLOCKS ACH_UNLOCK_PREFIX=unlocks"
        return [
            Finding("settings streams", Level.ERROR, f"{said}: announcements come back as events", mend, refuses=True)
        ]
    return [Finding("settings streams", Level.OK, "two streams, and no subject in both", "", refuses=False)]


def zones(flaw: str) -> list[Finding]:
    """Return what is to be said of this machine's time zones; `flaw` is "" where they can be read."""
    if not flaw:
        return [Finding("machine time zones", Level.OK, "readable", "", refuses=False)]
    said = f"time zones cannot be read: {flaw}"
    return [Finding("machine time zones", Level.ERROR, said, "apt-get install tzdata", refuses=True)]


def broker(facts: BrokerFacts) -> list[Finding]:
    """Return what all checks say of the broker."""
    return [
        *judged(BROKER, SERVER_CHECKS, facts.server),
        *judged(BROKER, CLOCK_CHECKS, facts.skew),
        *judged(BROKER, ACCOUNT_CHECKS, facts.account),
        *judged(BROKER, RIGHTS_CHECKS, facts.rights),
        *streams(facts),
    ]


def streams(facts: BrokerFacts) -> list[Finding]:
    """Return what all checks say of streams and consumer."""
    return [
        *judged(_area("events", facts.events), STREAM_CHECKS, facts.events),
        *judged(_area("unlocks", facts.unlocks), STREAM_CHECKS, facts.unlocks),
        *judged("consumer", CONSUMER_CHECKS, facts.consumer),
    ]


def _area(role: str, seen: StreamSeen | Unknown) -> str:
    return f"stream {seen.name}" if isinstance(seen, StreamSeen) else f"stream of {role}"


def database(facts: DatabaseFacts) -> list[Finding]:
    """Return what all checks say of the database, and of what is in it."""
    return [
        *judged(DATABASE, DATABASE_CHECKS, facts.database),
        *judged("engine", SCHEMA_CHECKS, facts.schema),
        *judged("engine", TABLE_CHECKS, facts.lacking),
        *judged("engine", BOOKS_CHECKS, facts.books),
    ]
