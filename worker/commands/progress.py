"""`ach progress`: where a subject stands with every achievement."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from dsl.compile import TENANT, USER
from dsl.diagnostics import nearest
from dsl.outcome import Subject
from worker.admin.results import read_named
from worker.app import wall_clock
from worker.commands.options import NAMED, json_option
from worker.commands.servers import CommandError, on_servers, rules_in_force, with_store
from worker.engine.answer import Facts, Presence, Reader, answer_of
from worker.engine.entries import Catalogue
from worker.engine.standing import Status
from worker.report import screen
from worker.settings import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.admin.results import Named
    from worker.engine.answer import Shown, Standing
    from worker.engine.rule_set import Deployed
    from worker.settings import Settings
    from worker.store import Store


@click.command("progress")
@click.argument("subject", type=NAMED, metavar="SUBJECT")
@click.option("--tenant", "-t", required=True, type=NAMED, metavar="TENANT", help="The tenant of the subject.")
@click.option(
    "--scope", "-s", metavar="SCOPE", help="The scope of SUBJECT, such as team (default: all scopes that know it)."
)
@click.option("--as-user", is_flag=True, help="Leave out what is not revealed yet, and say how many these are.")
@click.option(
    "--lang",
    "languages",
    multiple=True,
    metavar="LANG",
    help="A language of titles in JSON, the best first.",
)
@json_option
def command(
    subject: str, tenant: str, scope: str | None, *, as_user: bool, languages: tuple[str, ...], as_json: bool
) -> None:
    """Print where a user stands with every achievement (or a team or a tenant that is named SUBJECT).

    If an achievement repeats, status and progress are those of the current occurrence.
    """
    asked = Asked(tenant, subject, scope, languages, as_user)
    on_servers(partial(show_progress, asked=asked, as_json=as_json))


class Asked(NamedTuple):
    """The subject whose standing is asked for: in all scopes that know the name where `scope` is None.

    `as_user` leaves out what the subject does not see yet.
    """

    tenant: str
    name: str
    scope: str | None = None
    languages: tuple[str, ...] = ()
    as_user: bool = False


async def show_progress(settings: Settings, asked: Asked, *, as_json: bool) -> None:
    """Print where one subject stands with everything.

    An unknown subject is at the beginning of everything; standard error says that it is unknown.
    """
    stream_clock = settings.clock is Clock.STREAM

    async def work(store: Store) -> tuple[Deployed, Named]:
        rules = await rules_in_force(store, settings)
        return rules, await read_named(store, rules, asked.tenant, asked.name, stream_clock=stream_clock)

    rules, named = await with_store(settings, work)
    catalogue, reader = Catalogue(rules), Reader(asked.languages, asked.as_user)
    subject = Subject(asked.tenant, asked.scope or "", asked.name)
    now = named.clock if stream_clock else wall_clock()
    found = [answer_of(catalogue, _facts(named, one), reader, now).standing for one in _subjects(rules, named, subject)]
    if not as_json:
        _print(subject, found, as_user=asked.as_user)
    elif asked.as_user:
        screen.say_json(found)
    else:
        screen.say_json([row for standing in found for row in _rows(standing)])


def _facts(named: Named, subject: Subject) -> Facts:
    state, unlocks = named.states.get(subject), named.unlocks.get(subject, [])
    presence = Presence.KNOWN
    if subject.scope == USER and named.erased:
        presence = Presence.ERASED
    elif state is None and not unlocks:
        presence = Presence.UNKNOWN
    shown = named.shown.get(subject, frozenset())
    return Facts(subject, presence, state, unlocks, shown, "", named.building, named.clock)


def _subjects(rules: Deployed, named: Named, asked: Subject) -> list[Subject]:
    """Return the subjects of a name: in the scope asked for, or in all that know it; a user where none does.

    Raises:
        CommandError: there is no such scope, or it has no such subject.
    """
    known = sorted({*named.states, *named.unlocks})
    scopes = sorted({*rules.program.scopes, *(one.scope for one in known)})
    if asked.scope and asked.scope not in scopes:
        guess = nearest(asked.scope, scopes)
        hint = f"there are: {', '.join(scopes)}" if guess is None else f"did you mean {guess}?"
        raise CommandError(f"no rule in force is of the scope {asked.scope}", hint)
    if asked.scope == TENANT and asked.subject != asked.tenant_id:
        raise CommandError(f"in the scope tenant the subject is {asked.tenant_id} itself")
    found = [one for one in known if asked.scope in {"", one.scope}]
    if found:
        return found
    scope = asked.scope or USER
    if scope == USER and named.erased:
        what = "was erased, for good"
    elif named.building:
        what = "is not known so far, and a backfill is not finished (`ach backfill`)"
    else:
        what = "is not known: the rules have heard no event of it; this is how it begins"
    screen.err().say(f"{scope} {asked.subject!r} of tenant {asked.tenant_id!r} {what}")
    return [asked._replace(scope=scope)]


def _rows(standing: Standing) -> Iterator[dict[str, object]]:
    """Yield a row for each achievement and tier, and for each unlock of rules that are no longer in force."""
    whose = {"tenant_id": standing.tenant_id, "scope": standing.scope, "subject": standing.subject}
    for item in (*standing.items, *standing.kept):
        yield {**whose, **msgspec.structs.asdict(item), "earned": item.status is Status.EARNED}


def _print(asked: Subject, found: Sequence[Standing], *, as_user: bool) -> None:
    columns = ["scope", "achievement", "tier", "progress", "%", "status", "occurrence", "last", "times"]
    rows = [(one.scope, *_cells(item)) for one in found for item in one.items]
    title = f"{asked.tenant_id} {asked.subject}"
    screen.table(title, columns, rows, right=(4, 8), ids=(1, 2))
    hidden = sum(one.hidden for one in found) if as_user else 0
    if hidden:
        screen.out().print(f"{hidden} more, not revealed yet")
    elif not rows and not all(one.presence is Presence.ERASED for one in found):
        screen.out().print("no rule in force judges it")
    kept = [(one.scope, item) for one in found for item in one.kept]
    if kept:
        screen.out().print()
        columns = ["scope", "achievement", "tier", "occurrence", "status", "earned at"]
        rows = [
            (scope, item.achievement, item.tier or "", item.occurrence or "", _status(item), _date(item.earned_at))
            for scope, item in kept
        ]
        screen.table("kept from rules no longer in force", columns, rows, ids=(1, 2, 3))


def _cells(item: Shown) -> tuple[object, ...]:
    return (
        item.achievement,
        item.tier or "",
        _ratio(item),
        item.percent,
        f"{_status(item)}, held back" if item.held_back else _status(item),
        item.occurrence or "",
        item.last_occurrence or _date(item.last_earned_at),
        item.times or "",
    )


def _status(item: Shown) -> str:
    said = item.status.value.replace("_", " ")
    return f"{said}, by hand" if item.by_hand else said


def _date(at: str | None) -> str:
    return "" if at is None else at[:19]


def _ratio(item: Shown) -> str:
    if item.current is None or item.target is None:
        return ""
    return f"{item.current} of more than {item.target}" if item.more_than else f"{item.current}/{item.target}"
