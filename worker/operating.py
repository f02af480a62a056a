"""What an operator's commands do, on the servers that the environment names."""

from __future__ import annotations

import getpass
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import msgspec

from dsl.calendar import format_instant
from dsl.fold import standings
from dsl.values import canonical_number
from worker import terminal
from worker.app import at_once, wall_clock
from worker.app import run as run_worker
from worker.backfill import SupersededError, backfill
from worker.dead import FOR_EVER, list_letters, purge_letters, replay_letter, show_letter
from worker.deployed import RulesRefusedError
from worker.emit import outgoing, tell_published
from worker.loop import spare_collector
from worker.recording import RecordingError, lines
from worker.results import StaleError, read_results, read_subject
from worker.rules import MeaningChangedError, apply_rules, load_deployed
from worker.sandbox import publish, rule_files
from worker.settings import Settings, shown
from worker.signals import stop_on_signals
from worker.store import SchemaMismatchError, Store, UnavailableError, open_store
from worker.stream import BrokerAwayError, BrokerMismatchError, open_broker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from dsl.outcome import Subject
    from dsl.progress import State
    from worker.backfill import Report
    from worker.dead import DeadLetter
    from worker.deployed import Deployed
    from worker.rulefiles import RuleSet
    from worker.stats import Stats
    from worker.verdict import Reason

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
    except (
        SchemaMismatchError,
        BrokerMismatchError,
        RulesRefusedError,
        MeaningChangedError,
        StaleError,
        SupersededError,
        RecordingError,
    ) as error:
        raise CommandError(str(error)) from error


async def _patiently(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    """Do something with the database; wait a while for one that is down."""
    until = monotonic() + PATIENCE_SECONDS
    said = False
    async with open_store(settings.database_url) as store:
        while True:
            try:
                return await work(store)
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
    terminal.err().print(said, markup=False)


# -- the worker -------------------------------------------------------------------------------------------------------


async def run(settings: Settings, *, drain: bool) -> Stats:
    """Run a worker until it is told to stop by a signal or, with `drain`, until nothing is left to do."""
    spare_collector()
    async with stop_on_signals() as stop:
        return await run_worker(settings, stop=stop, drain=at_once() if drain else None)


# -- schema and rules -------------------------------------------------------------------------------------------------


async def migrate(settings: Settings) -> None:
    """Bring the schema up to date."""
    applied = await _patiently(settings, lambda store: store.migrate(now=wall_clock()))
    for name in applied:
        terminal.out().print(f"applied {name}")
    if not applied:
        terminal.out().print("the schema is up to date")


async def apply(settings: Settings, rules: RuleSet) -> None:
    """Put rules into force, and bring everybody up to date."""

    async def work(store: Store) -> None:
        await store.migrate(now=wall_clock())
        applied = await apply_rules(store, rule_files(rules), settings, by=_me(), now=wall_clock())
        if not applied.changed:
            terminal.out().print(f"nothing changed: these rules are in force already (epoch {applied.epoch})")
            return
        terminal.out().print(f"in force: epoch {applied.epoch}, {len(rules.rules.achievements)} achievements")
        for what, versions in (("new", applied.new), ("retired", applied.retired)):
            for name, number in versions:
                terminal.out().print(f"  {what}: {name} version {number}")
        await _backfill(store, settings)

    await _patiently(settings, work)


async def bring_up_to_date(settings: Settings) -> None:
    """Run the backfill of the rules in force, or go on with one that was interrupted."""
    await _patiently(settings, lambda store: _backfill(store, settings))


async def _backfill(store: Store, settings: Settings) -> None:
    report = await backfill(store, settings, now=wall_clock)
    tell_report(report)


def tell_report(report: Report) -> None:
    """Print the reconciliation report."""
    terminal.out().print(f"backfill: {terminal.plural(report.subjects, 'subject')} folded again")
    if not report.tallies:
        return
    columns = ("granted", "settling", "amended", "restored", "contested", "withdrawn", "unchanged")
    rows = [
        (name, version, *(f"{getattr(tally, column):,}" for column in columns))
        for (name, version), tally in sorted(report.tallies.items())
    ]
    terminal.table("", ["achievement", "version", *columns], rows, right=range(1, 9))


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"


# -- streams and results ----------------------------------------------------------------------------------------------


async def emit(settings: Settings, streams: Sequence[str]) -> None:
    """Publish recorded streams to the input stream."""
    began = monotonic()
    total = None if "-" in streams else sum(1 for _ in lines(streams))
    with terminal.progress("publishing", total) as move:
        done = 0

        def on_progress(stored: int) -> None:
            nonlocal done
            move(stored - done, "")
            done = stored

        messages = outgoing(lines(streams), settings.input_prefix)
        published = await publish(settings, messages, on_progress)
    tell_published(published, monotonic() - began)
    if published.refused:
        raise CommandError(f"{terminal.plural(len(published.refused), 'message')} were not published")


async def digest(settings: Settings, *, as_json: bool) -> None:
    """Print the digest of what the database holds."""

    async def work(store: Store) -> None:
        stored = await read_results(store, await load_deployed(store, settings))
        if as_json:
            said = {"digest": stored.digest, "unlocks": stored.unlocks, "contested": stored.contested}
            print(msgspec.json.encode(said).decode())  # noqa: T201
            return
        unlocks, contested = len(stored.unlocks), len(stored.contested)
        terminal.out().print(f"digest {stored.digest}")
        subjects = terminal.plural(len(stored.states), "subject")
        terminal.out().print(f"{terminal.plural(unlocks, 'unlock')}, {contested:,} contested, {subjects}")

    await _patiently(settings, work)


class Progress(msgspec.Struct, frozen=True):
    """How far a subject is with one achievement and tier: `percent`, and for what is counted, the numbers."""

    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str | None
    version: int
    current: str | None
    target: str | None
    percent: int
    earned: bool


async def progress(settings: Settings, tenant: str, name: str, *, as_json: bool) -> None:
    """Print how far one subject is with everything."""

    async def work(store: Store) -> list[Progress]:
        rules = await load_deployed(store, settings)
        states = await read_subject(store, rules, tenant, name)
        return [row for subject, state in states.items() for row in _progress(rules, subject, state)]

    rows = await _patiently(settings, work)
    if as_json:
        print(msgspec.json.encode(rows).decode())  # noqa: T201
        return
    if not rows:
        raise CommandError(f"nothing that the rules hear is known of {name!r} in tenant {tenant!r}")
    columns = ["scope", "achievement", "tier", "progress", "%", "earned"]
    terminal.table(
        f"{tenant} {name}",
        columns,
        [
            (row.scope, row.achievement, row.tier or "", _ratio(row), row.percent, "yes" if row.earned else "")
            for row in rows
        ],
        right=(3, 4),
    )


def _progress(rules: Deployed, subject: Subject, state: State) -> Iterator[Progress]:
    for standing in standings(rules.program.scopes[subject.scope], state, wall_clock()):
        measure = standing.measure
        yield Progress(
            *subject,
            standing.achievement,
            standing.tier,
            standing.version,
            None if measure.current is None else canonical_number(measure.current),
            None if measure.target is None else canonical_number(measure.target),
            # Never 100 before it is reached.
            int(measure.fraction * 100),
            standing.earned,
        )


def _ratio(row: Progress) -> str:
    return "" if row.target is None else f"{row.current}/{row.target}"


# -- dead letters -----------------------------------------------------------------------------------------------------


async def dead_list(settings: Settings, *, reason: Reason | None, replayed: bool, limit: int) -> None:
    """Print dead letters, newest first."""
    letters = await _patiently(
        settings, lambda store: list_letters(store, reason=reason, replayed=replayed, limit=limit)
    )
    rows = [
        (letter.dead_letter_id, letter.reason, format_instant(letter.died_at)[:19], letter.nats_subject, letter.detail)
        for letter in letters
    ]
    terminal.table(terminal.plural(len(rows), "dead letter"), ["id", "reason", "died at", "subject", "detail"], rows)


async def dead_show(settings: Settings, letter_id: int) -> None:
    """Print one dead letter with its bytes."""
    letter = await _letter(settings, letter_id)
    console = terminal.out()
    for name, value in _described(letter):
        console.print(f"{name:>12}  {value}", markup=False)
    console.print()
    console.print(letter.body.decode("utf-8", "backslashreplace"), markup=False)


def _described(letter: DeadLetter) -> Iterator[tuple[str, object]]:
    yield "reason", letter.reason
    yield "detail", letter.detail
    yield "subject", letter.nats_subject
    yield "headers", letter.headers
    yield "stream", f"{letter.stream} sequence {letter.stream_seq}, element {letter.element}"
    yield "deliveries", letter.deliveries
    yield "died at", format_instant(letter.died_at)
    if letter.replayed_at is not None:
        yield "replayed at", format_instant(letter.replayed_at)
    yield "bytes", len(letter.body)


async def dead_replay(settings: Settings, ids: Sequence[int], body: Path | None) -> None:
    """Send dead letters again, with another body where one was mended."""
    mended = None if body is None else await anyio.Path(body).read_bytes()
    letters = [await _letter(settings, letter_id) for letter_id in ids]
    async with open_store(settings.database_url) as store, open_broker(settings) as broker:
        for letter in letters:
            await replay_letter(store, broker, letter, now=wall_clock(), body=mended)
    terminal.out().print(f"sent {terminal.plural(len(letters), 'dead letter')} again")


async def dead_purge(settings: Settings, ids: Sequence[int], *, reason: Reason | None, before: int | None) -> None:
    """Delete dead letters."""
    purged = await _patiently(
        settings,
        lambda store: purge_letters(
            store, ids=ids or None, reason=reason, before=FOR_EVER if before is None else before
        ),
    )
    terminal.out().print(f"deleted {terminal.plural(purged, 'dead letter')}")


async def _letter(settings: Settings, letter_id: int) -> DeadLetter:
    letter = await _patiently(settings, lambda store: show_letter(store, letter_id))
    if letter is None:
        raise CommandError(f"there is no dead letter {letter_id}", "ach dead list")
    return letter
