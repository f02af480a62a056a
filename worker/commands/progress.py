"""`ach progress`: where a subject stands with every achievement."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypedDict

import click
import msgspec

from dsl.calendar import format_instant
from dsl.compile import TENANT, USER
from dsl.diagnostics import nearest
from dsl.outcome import Subject
from dsl.values import canonical_number
from worker.admin.results import read_named
from worker.app import wall_clock
from worker.commands.options import json_option
from worker.commands.servers import CommandError, on_servers, rules_in_force, with_store
from worker.engine.reconcile import State as Stands
from worker.engine.standing import Status, Whole, standing_of, status_of
from worker.report import screen
from worker.settings import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dsl.progress import Amount
    from worker.admin.results import Named
    from worker.engine.reconcile import Stored
    from worker.engine.rule_set import Deployed
    from worker.engine.standing import Item, Reached
    from worker.settings import Settings
    from worker.store import Store


@click.command("progress")
@click.argument("subject", metavar="SUBJECT")
@click.option("--tenant", "-t", required=True, metavar="TENANT", help="The tenant of the subject.")
@click.option(
    "--scope", "-s", metavar="SCOPE", help="The scope of SUBJECT, such as team (default: all scopes that know it)."
)
@json_option
def command(subject: str, tenant: str, scope: str | None, *, as_json: bool) -> None:
    """Print where a user stands with every achievement (or a team or a tenant that is named SUBJECT).

    If an achievement repeats, status and progress are those of the current occurrence.
    """
    on_servers(partial(show_progress, tenant=tenant, name=subject, scope=scope, as_json=as_json))


class Progress(msgspec.Struct, frozen=True):
    """Where a subject stands with one achievement and tier; instants as RFC 3339.

    An unlock that was left by rules no longer in force has a row too, without progress.
    """

    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str | None
    version: int
    in_force: bool
    status: Status
    earned: bool
    current: str | None
    target: str | None
    more_than: bool
    percent: int | None
    held_back: bool
    occurrence: str | None
    last_occurrence: str | None
    times: int
    earned_at: str | None
    settles_at: str | None
    granted_at: str | None
    by_hand: bool


async def show_progress(settings: Settings, tenant: str, name: str, scope: str | None, *, as_json: bool) -> None:
    """Print where one subject stands with everything.

    An unknown subject is at the beginning of everything; standard error says that it is unknown.
    """

    async def work(store: Store) -> tuple[Deployed, Named]:
        rules = await rules_in_force(store, settings)
        return rules, await read_named(store, rules, tenant, name)

    rules, named = await with_store(settings, work)
    subjects = _subjects(rules, named, Subject(tenant, scope or "", name))
    now = named.clock if settings.clock is Clock.STREAM else wall_clock()
    found = {one: standing_of(rules, one, named.states.get(one), named.unlocks.get(one, ()), now) for one in subjects}
    if as_json:
        screen.say_json([row for one, whole in found.items() for row in _rows(one, whole)])
    else:
        _print(Subject(tenant, scope or "", name), found)


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


def _rows(subject: Subject, whole: Whole) -> Iterator[Progress]:
    for item in whole.items:
        reached = item.reached
        yield Progress(
            *subject,
            item.achievement,
            item.tier,
            item.version,
            in_force=True,
            status=item.status,
            earned=item.status is Status.EARNED,
            current=_number(reached.current),
            target=_number(reached.target),
            more_than=reached.more_than,
            percent=reached.percent,
            held_back=reached.held_back,
            occurrence=item.occurrence,
            last_occurrence=None if item.last is None else item.last.occurrence or None,
            times=item.times,
            **_granted(item.unlock),
        )
    for row in whole.kept:
        earned = status_of(row) is Status.EARNED
        yield Progress(
            *subject,
            row.achievement,
            row.tier or None,
            row.version,
            in_force=False,
            status=status_of(row),
            earned=earned,
            current=None,
            target=None,
            more_than=False,
            percent=None,
            held_back=False,
            occurrence=row.occurrence or None,
            last_occurrence=row.occurrence or None if earned else None,
            times=int(earned),
            **_granted(row),
        )


class _Granted(TypedDict):
    """What an unlock says, in the form of `Progress`."""

    earned_at: str | None
    settles_at: str | None
    granted_at: str | None
    by_hand: bool


def _granted(row: Stored | None) -> _Granted:
    if row is None:
        return _Granted(earned_at=None, settles_at=None, granted_at=None, by_hand=False)
    settles = row.settles_at if status_of(row) is Status.SETTLING else None
    by_hand = row.state is Stands.BY_HAND
    earned, settles_at, granted = (_instant(at) for at in (row.earned_at, settles, row.granted_at))
    return _Granted(earned_at=earned, settles_at=settles_at, granted_at=granted, by_hand=by_hand)


def _instant(at: int | None) -> str | None:
    return None if at is None else format_instant(at)


def _number(amount: Amount | None) -> str | None:
    return None if amount is None else canonical_number(amount)


def _print(asked: Subject, found: Mapping[Subject, Whole]) -> None:
    columns = ["scope", "achievement", "tier", "progress", "%", "status", "occurrence", "last", "times"]
    items = [(one.scope, item) for one, whole in found.items() for item in whole.items]
    title = f"{asked.tenant_id} {asked.subject}"
    screen.table(title, columns, [(scope, *_cells(item)) for scope, item in items], right=(4, 8), ids=(1, 2))
    if not items:
        screen.out().print("no rule in force judges it")
    kept = [(one.scope, row) for one, whole in found.items() for row in whole.kept]
    if kept:
        screen.out().print()
        columns = ["scope", "achievement", "tier", "occurrence", "status", "earned at"]
        rows = [
            (scope, row.achievement, row.tier, row.occurrence, _status(status_of(row), row), _date(row.earned_at))
            for scope, row in kept
        ]
        screen.table("kept from rules no longer in force", columns, rows, ids=(1, 2, 3))


def _cells(item: Item) -> tuple[object, ...]:
    last = "" if item.last is None else item.last.occurrence or _date(item.last.earned_at)
    status = _status(item.status, item.unlock)
    return (
        item.achievement,
        item.tier or "",
        _ratio(item.reached),
        item.reached.percent,
        f"{status}, held back" if item.reached.held_back else status,
        item.occurrence or "",
        last,
        item.times or "",
    )


def _status(status: Status, row: Stored | None) -> str:
    said = status.value.replace("_", " ")
    return f"{said}, by hand" if row is not None and row.state is Stands.BY_HAND else said


def _date(at: int) -> str:
    return format_instant(at)[:19]


def _ratio(reached: Reached) -> str:
    current, target = _number(reached.current), _number(reached.target)
    if current is None or target is None:
        return ""
    return f"{current} of more than {target}" if reached.more_than else f"{current}/{target}"
