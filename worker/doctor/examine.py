"""All checks, over all facts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

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
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.doctor.facts import BrokerFacts, DatabaseFacts

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
        mend = _mend_names(settings, "stream" if same else "prefix")
        return [
            Finding("settings streams", Level.ERROR, f"{said}: announcements come back as events", mend, refuses=True)
        ]
    return [Finding("settings streams", Level.OK, "two streams, and no subject in both", "", refuses=False)]


def _mend_names(settings: Settings, what: str) -> str:
    """Return what sets the streams or the prefixes back to their defaults, as far as they have others."""
    usual, named = msgspec.structs.asdict(Settings()), msgspec.structs.asdict(settings)
    both = [f"input_{what}", f"unlock_{what}"]
    return f"export {' '.join(f'ACH_{one.upper()}={usual[one]}' for one in both if named[one] != usual[one])}"


def without_subjects(findings: list[Finding]) -> list[Finding]:
    """Leave out what is said of the subjects of streams: it has no meaning where the settings name the wrong ones."""
    return [one for one in findings if not one.check.endswith(" subjects")]


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
