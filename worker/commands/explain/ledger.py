"""`ach explain --from-ledger`: the events and the rules are those of the database."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dsl.compile import scope_of
from dsl.outcome import Subject, full_name
from worker.commands.explain.answer import print_answer
from worker.commands.renamed import tell_renamed
from worker.commands.servers import CommandError, on_servers, rules_in_force, with_store
from worker.engine.why import CannotExplainError, check_named
from worker.settings import Clock
from worker.view.why import read_evidence

if TYPE_CHECKING:
    from dsl.event import Event
    from dsl.schema import Rules
    from worker.commands.explain.answer import Request
    from worker.engine.why import Contested
    from worker.settings import Settings
    from worker.store import Store


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
        request = msgspec.structs.replace(request, achievement=full_name(stored.name, request.tier))
        print_answer(stored.rules, stored.subject, stored.events, request, stored.now, stored.contested)
    except CannotExplainError as error:
        raise CommandError(str(error), error.hint) from error


class _Stored(NamedTuple):
    """What the database has of a subject; `now` in microseconds."""

    rules: Rules
    name: str
    """Of the achievement that is asked about, as it is called now."""
    subject: Subject
    events: list[Event]
    now: int
    contested: list[Contested]


async def _read(store: Store, settings: Settings, request: Request) -> _Stored:
    deployed = await rules_in_force(store, settings)
    rules, renames = deployed.written, deployed.renames
    tell_renamed(renames, request.name)
    question = request.question._replace(achievement=renames.named(request.name))
    check_named(rules, question)
    scope = scope_of(rules.achievements[question.achievement][0])
    tenant = request.subject if scope == "tenant" else request.tenant
    if tenant is None:
        raise CannotExplainError("the ledger holds the events of many tenants: name one", "--tenant TENANT")
    subject = Subject(tenant, scope, request.subject)
    stream_clock = settings.clock is Clock.STREAM
    read = await read_evidence(store, deployed, subject, question, stream_clock=stream_clock)
    now = request.now if request.now is not None else request.clock if read.latest is None else read.latest
    return _Stored(rules, question.achievement, subject, read.events, now, renames.shown_in(read.contested))
