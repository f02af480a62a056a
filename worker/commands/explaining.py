"""`ach explain`: why somebody has an achievement, or why not yet, from recorded streams or from the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dsl.analyze import names
from dsl.calendar import format_instant
from dsl.compile import scope_of
from dsl.diagnostics import nearest
from dsl.explain import Asked, Explanation, MeantError, explain, tiers_of
from dsl.explain.text import render
from dsl.outcome import Subject, by_subject
from worker.commands.replaying import SKEW
from worker.contract.strict_reader import Contract
from worker.engine.replay import Intake
from worker.recording import RecordingError, lines
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.compile import Program
    from dsl.event import Event
    from dsl.schema import Rules
    from worker.rulefiles import RuleSet
    from worker.settings import Settings
    from worker.store import Store


LISTED: Final = 20
"""Names of achievements that are listed where none was meant."""


class Request(msgspec.Struct, frozen=True):
    """What was asked for. `now` in microseconds, None for the latest instant there is; `clock` is the wall clock."""

    subject: str
    achievement: str
    clock: int
    tenant: str | None = None
    occurrence: str | None = None
    now: int | None = None
    form: str = "text"
    events: int = 20

    @property
    def name(self) -> str:
        """The achievement without its tier."""
        return self.achievement.partition(".")[0]

    @property
    def tier(self) -> str | None:
        """The tier, None where none is named."""
        return self.achievement.partition(".")[2] or None


class Contested(msgspec.Struct, frozen=True):
    """An unlock that was granted, and is kept though the events do not support it any more; instants as RFC 3339."""

    achievement: str
    tier: str | None
    occurrence: str | None
    earned_at: str
    contested_at: str


class Told(msgspec.Struct, frozen=True):
    """What `--format json` prints: an explanation a tier, and what the database has contested of what they name."""

    explanations: list[Explanation]
    contested: list[Contested]


class _Row(msgspec.Struct, frozen=True):
    """A contested unlock as stored: empty text for none, instants in microseconds."""

    achievement: str
    tier: str
    occurrence: str
    earned_at: int
    contested_at: int

    def shown(self) -> Contested:
        earned, since = format_instant(self.earned_at), format_instant(self.contested_at)
        return Contested(self.achievement, self.tier or None, self.occurrence or None, earned, since)


class CannotExplainError(Exception):
    """What is asked for is not there; the message says so, and `hint` what is."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def explain_command(rules: RuleSet, streams: Sequence[str], request: Request) -> bool:
    """Explain from recorded streams; tell whether there was something to explain."""
    if rules.program is None:
        raise AssertionError(rules.problems)
    try:
        _check_named(rules.rules, request)
        events = _read(rules.rules, rules.program, streams, request.clock)
        subject, heard = _subject(rules.rules, rules.program, events, request)
        now = request.now if request.now is not None else max((event.at for event in events), default=request.clock)
        tell(rules.rules, subject, heard, request, now)
    except RecordingError as error:
        screen.fail(str(error))
    except CannotExplainError as error:
        screen.fail(str(error), error.hint)
    else:
        return True
    return False


async def explain_ledger(settings: Settings, request: Request) -> None:
    """Explain from the database, by the rules in force.

    Raises:
        UnavailableError: the database is away.
        CommandError: what is asked for is not there.
    """
    # The database's driver, only where it is asked for.
    from worker.server_errors import CommandError  # noqa: PLC0415
    from worker.store import open_store  # noqa: PLC0415

    async with open_store(settings.database_url) as store:
        try:
            await _explain_stored(store, settings, request)
        except CannotExplainError as error:
            raise CommandError(str(error), error.hint) from error


async def _explain_stored(store: Store, settings: Settings, request: Request) -> None:
    from worker.engine.state_cache import BEGINNING  # noqa: PLC0415
    from worker.pipeline.ledger import read_back  # noqa: PLC0415
    from worker.server_errors import rules_in_force  # noqa: PLC0415
    from worker.settings import Clock  # noqa: PLC0415

    deployed = await rules_in_force(store, settings)
    _check_named(deployed.rules, request)
    scope = scope_of(deployed.rules.achievements[request.name][0])
    tenant = request.subject if scope == "tenant" else request.tenant
    if tenant is None:
        raise CannotExplainError("the ledger holds the events of many tenants: name one", "--tenant TENANT")
    subject = Subject(tenant, scope, request.subject)
    async with store.transaction(patient=True) as session:
        pages = read_back(session, deployed, scope, {subject: BEGINNING})
        events = [event async for page in pages for _, event in page]
        latest = await session.value(int, "latest_instant") if settings.clock is Clock.STREAM else None
        named = sorted(_named(deployed.rules, request.name))
        rows = await session.rows(_Row, "contested_of_subject", **subject._asdict(), achievements=named)
    now = request.now if request.now is not None else request.clock if latest is None else latest
    tell(deployed.rules, subject, events, request, now, [row.shown() for row in rows if _asked_for(row, request)])


def _named(rules: Rules, achievement: str) -> set[str]:
    """Return an achievement and those that its versions name in `after` and `unlocked`."""
    others = (other for version in rules.achievements[achievement] for other, _ in names(version))
    return {achievement, *others}


def _asked_for(row: _Row, request: Request) -> bool:
    """Leave out the other tiers and occurrences of the achievement itself, where one was asked for."""
    if row.achievement != request.name:
        return True
    return request.tier in {None, row.tier} and request.occurrence in {None, row.occurrence}


def _check_named(rules: Rules, request: Request) -> None:
    """Look for the achievement and tier asked for.

    Raises:
        CannotExplainError: there is none of that name.
    """
    if request.name not in rules.achievements:
        guess = nearest(request.name, rules.achievements)
        first = sorted(rules.achievements)[:LISTED]
        more = ", ..." if len(rules.achievements) > LISTED else ""
        hint = f"there are: {', '.join(first) or 'none'}{more}" if guess is None else f"did you mean {guess}?"
        raise CannotExplainError(f"there is no achievement {request.name}", hint)
    tiers = tiers_of(rules, request.name)
    if request.tier is not None and request.tier not in tiers:
        named = ", ".join(tier for tier in tiers if tier is not None) or "none"
        raise CannotExplainError(f"{request.name} has no tier {request.tier}", f"its tiers: {named}")


def _read(rules: Rules, program: Program, streams: Sequence[str], clock: int) -> list[Event]:
    intake = Intake(Contract(rules.events, prefix="events", skew=SKEW), program)
    for line in lines(streams):
        intake.take(line, now=clock)
    if intake.dead:
        screen.err().print(f"{screen.plural(len(intake.dead), 'dead letter')} left out; see `ach replay`")
    return [item.event for item in intake.accepted.values()]


def _subject(
    rules: Rules, program: Program, events: Iterable[Event], request: Request
) -> tuple[Subject, Sequence[Event]]:
    """Return whom the question is about, and what is known of them.

    Raises:
        CannotExplainError: nobody has that name, or somebody in each of several tenants.
    """
    scope = scope_of(rules.achievements[request.name][0])
    found = {
        subject: heard
        for subject, heard in by_subject(program, events).items()
        if subject.scope == scope and subject.subject == request.subject and request.tenant in {None, subject.tenant_id}
    }
    if len(found) > 1:
        tenants = ", ".join(sorted(subject.tenant_id for subject in found))
        raise CannotExplainError(f"{scope} {request.subject} is known in several tenants: {tenants}", "--tenant TENANT")
    if found:
        return next(iter(found.items()))
    if request.tenant is None:
        raise CannotExplainError(f"no event that these rules hear is of {scope} {request.subject}")
    return Subject(request.tenant, scope, request.subject), ()


def tell(
    rules: Rules,
    subject: Subject,
    events: Sequence[Event],
    request: Request,
    now: int,
    contested: Sequence[Contested] = (),
) -> None:
    """Print an explanation of each tier asked for, and which unlocks are contested of those that it names.

    Raises:
        CannotExplainError: there is no such occurrence.
    """
    tiers = tiers_of(rules, request.name) if request.tier is None else [request.tier]
    asked = Asked(subject.tenant_id, subject.subject, request.name, None, request.occurrence, now)
    found, refused = list[Explanation](), list[MeantError]()
    for tier in tiers:
        try:
            found.append(explain(rules, asked._replace(tier=tier), events))
        except MeantError as error:  # another tier may have the occurrence
            refused.append(error)
    if not found:
        raise CannotExplainError(str(refused[0])) from refused[0]
    if request.form == "json":
        screen.say_json(Told(found, [*contested]), decimal_format="number")
        return
    console = screen.out()
    for number, each in enumerate(found):
        if number:
            console.print()
        head, *rest = render(each, events=request.events)
        console.say(head, style="bold")
        for line in rest:
            console.say(line)
    for kept in contested:
        console.print()
        console.say(_kept(subject.subject, kept), style="yellow")


def _kept(subject: str, unlock: Contested) -> str:
    name = unlock.achievement if unlock.tier is None else f"{unlock.achievement}.{unlock.tier}"
    which = name if unlock.occurrence is None else f"{name} [{unlock.occurrence}]"
    earned, since = (text.replace(".000000Z", "Z") for text in (unlock.earned_at, unlock.contested_at))
    return (
        f"contested: {subject} keeps {which}, granted as earned at {earned}; since {since} "
        "the events that have arrived late do not support it; `ach unlocks` lists it, `ach revoke` takes it back"
    )
