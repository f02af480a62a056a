"""Checks of the engine's tables: schema, rules, outbox, dead letters, workers. Pure.

None keeps a worker from starting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sql.record import compared
from worker.doctor.finding import Check, Verdict, error, ok, warning

if TYPE_CHECKING:
    from worker.doctor.facts import BooksSeen, Schema

LATE: Final = 60_000_000
"""Microseconds; a relay announces within ten seconds, and tries again within half a minute what is refused."""
VERY_LATE: Final = 600_000_000
FAULTS: Final = ("defect", "refused")
"""Reasons of dead letters that are about the engine, and not about a producer."""
_DAY: Final = 86_400_000_000
COUNTED: Final = 10_000
"""Unlocks of the outbox that are counted, at most."""


def _schema(schema: Schema) -> Verdict:
    found = compared(schema.applied, {one.number: one.checksum for one in schema.known})
    if found.barring:
        one = found.barring[0]
        return error(f"migration {one.number:04d}_{one.name} is unknown here: this release of ach is older")
    if found.edited:
        one = found.edited[0]
        return error(f"migration {one.number:04d}_{one.name} was edited after it was applied")
    if found.lacking:
        what = f"migration {found.lacking[0]:04d} is missing" if schema.applied else "there is no schema"
        return error(what, "ach migrate")
    beside = f", and {len(found.newer)} of a newer release, which this one runs beside" if found.newer else ""
    return ok(f"{len(schema.known)} migrations{beside}")


SCHEMA_CHECKS: Final[tuple[Check[Schema], ...]] = (Check("schema", _schema),)


def _rules(seen: BooksSeen) -> Verdict:
    books = seen.books
    if seen.rules:
        return error(f"the rules in force cannot be used: {seen.rules}", "ach apply RULES")
    if not books.epoch:
        return warning("no rules are in force: events are stored, and nothing is granted", "ach apply RULES")
    if books.building:
        said = f"epoch {books.epoch}; a backfill has yet to bring {', '.join(books.building)} up to date"
        return warning(said, "ach backfill")
    return ok(f"epoch {books.epoch}")


def _outbox(seen: BooksSeen) -> Verdict:
    books = seen.books
    oldest = min((at for at in (books.oldest, books.corrected) if at is not None), default=None)
    if oldest is None:
        return ok("empty")
    waiting = books.waiting + books.corrections
    number = f"more than {COUNTED}" if waiting > COUNTED else str(waiting)
    age = (books.now - oldest) // 1_000_000
    said = f"{number} wait to be announced, the oldest for {max(age, 0)} s"
    if books.now - oldest < LATE:
        return ok(said)
    if not books.workers:
        return warning(f"{said}, and no worker is at work", "ach run")
    said += ": the broker refuses them, or does not answer; the worker's log names each with the reason"
    return error(said) if books.now - oldest >= VERY_LATE else warning(said)


def _letters(seen: BooksSeen) -> Verdict:
    counts = [one for one in seen.books.letters if one.letters]
    if not counts:
        return ok("none in the last day")
    said = f"in the last day {', '.join(f'{one.letters} {one.reason}' for one in counts)}"
    faults = [one.reason for one in counts if one.reason in FAULTS]
    return warning(said, f"ach dead list --reason {faults[0]}" if faults else "ach dead list")


def _workers(seen: BooksSeen) -> Verdict:
    books = seen.books
    lost = f", {books.lost} lost in the last day" if books.lost else ""
    if books.workers:
        return ok(f"{books.workers} at work{lost}")
    if seen.backlog:
        return warning(f"none at work{lost}, and {seen.backlog} messages wait", "ach run")
    return ok(f"none at work{lost}")


def _archive(seen: BooksSeen) -> Verdict:
    books = seen.books
    if books.archived_before is None:
        return ok("nothing is archived")
    days = max(0, books.now - books.archived_before) // _DAY
    last = "the last day" if days == 1 else f"the last {days} days"
    said = f"the ledger has what was received in {last}, and the archive has what is older"
    if books.archiving:
        return warning(f"{said}; a run is at work, or was interrupted", f"ach archive --older-than {days or 1}d")
    return ok(said)


BOOKS_CHECKS: Final[tuple[Check[BooksSeen], ...]] = (
    Check("rules", _rules),
    Check("outbox", _outbox),
    Check("dead letters", _letters),
    Check("workers", _workers),
    Check("archive", _archive),
)
