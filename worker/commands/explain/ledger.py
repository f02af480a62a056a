"""`ach explain --from-ledger`: the events and the rules are those of the database."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dsl.analyze import names
from dsl.calendar import format_instant
from dsl.compile import scope_of
from dsl.outcome import Subject
from worker.commands.explain.answer import CannotExplainError, Contested, check_named, print_answer
from worker.commands.servers import CommandError, on_servers, rules_in_force, with_store
from worker.engine.state_cache import BEGINNING
from worker.pipeline.ledger import read_back
from worker.settings import Clock

if TYPE_CHECKING:
    from dsl.event import Event
    from dsl.schema import Rules
    from worker.commands.explain.answer import Request
    from worker.settings import Settings
    from worker.store import Store


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


def explain_ledger(request: Request) -> None:
    """Explain from the database that the environment names."""
    on_servers(partial(answer_from_ledger, request=request))


async def answer_from_ledger(settings: Settings, request: Request) -> None:
    """Explain from the database, by the rules in force.

    Raises:
        UnavailableError: the database is away.
        CommandError: what is asked for is not there.
    """
    try:
        stored = await with_store(settings, partial(_read, settings=settings, request=request))
        print_answer(stored.rules, stored.subject, stored.events, request, stored.now, stored.contested)
    except CannotExplainError as error:
        raise CommandError(str(error), error.hint) from error


class _Stored(NamedTuple):
    """What the database has of a subject; `now` in microseconds."""

    rules: Rules
    subject: Subject
    events: list[Event]
    now: int
    contested: list[Contested]


async def _read(store: Store, settings: Settings, request: Request) -> _Stored:
    deployed = await rules_in_force(store, settings)
    check_named(deployed.rules, request)
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
    return _Stored(deployed.rules, subject, events, now, [row.shown() for row in rows if _is_asked_for(row, request)])


def _named(rules: Rules, achievement: str) -> set[str]:
    """Return an achievement and those that its versions name in `after` and `unlocked`."""
    others = (other for version in rules.achievements[achievement] for other, _ in names(version))
    return {achievement, *others}


def _is_asked_for(row: _Row, request: Request) -> bool:
    """Return False for other tiers and occurrences of the achievement itself, where one was asked for."""
    if row.achievement != request.name:
        return True
    return request.tier in {None, row.tier} and request.occurrence in {None, row.occurrence}
