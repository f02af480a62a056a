"""`ach reconcile`: what a change of rules has decided."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

import click

from dsl.compile import USER
from dsl.outcome import full_name
from worker.admin.changes import UnknownChangeError
from worker.admin.reconciliation import NoChangeError, of_subject, one_by_one, reconciliation
from worker.commands.options import NAMED, NUMBER, PATHS, limit_option
from worker.commands.reconcile.page import LISTED, about, cells_of, html_of, who, words
from worker.commands.servers import CommandError, on_servers, with_store, write_file
from worker.engine.reconciliation import DECISIONS
from worker.pipeline.rules_in_force import read_renames
from worker.report import screen

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Unpack

    from worker.engine.reconciliation import Decided, Reconciliation
    from worker.settings import Settings
    from worker.store import Store

_COLUMNS: Final = ("change", "achievement", "version", "decision", "tenant", "subject", "earned at", "decided at")


class _Given(TypedDict):
    """Options as they were given."""

    user: str | None
    tenant: str | None
    scope: str
    limit: int
    listed: bool
    as_json: bool
    html: Path | None


class _Asked(NamedTuple):
    change_id: int | None
    given: _Given


@click.command("reconcile")
@click.argument("change_id", metavar="[CHANGE]", required=False, type=NUMBER)
@click.option("--user", "-u", type=NAMED, metavar="U", help="What changes have decided about one user; needs --tenant.")
@click.option("--tenant", "-t", type=NAMED, metavar="T", help="With --user: the tenant.")
@click.option("--scope", default=USER, show_default=True, metavar="S", help="With --user: it names a subject of S.")
@limit_option
@click.option("--list", "listed", is_flag=True, help="Print every decision, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with --list, one more a decision.")
@click.option("--html", metavar="FILE", type=PATHS, help="Write one HTML page.")
def command(change_id: int | None, **given: Unpack[_Given]) -> None:
    """Print what a change of rules has decided, by rule version; without CHANGE, the latest one.

    Workers and the build of a change write the same books, so the numbers do not depend on who has folded a subject.
    """
    if (given["user"] is None) != (given["tenant"] is None):
        raise click.UsageError("--user and --tenant go together: the books hold the subjects of many tenants")
    if given["user"] is not None and given["html"] is not None:
        raise click.UsageError("--html is of a change, and not of one user")
    on_servers(partial(_reconcile, asked=_Asked(change_id, given)))


async def _reconcile(settings: Settings, *, asked: _Asked) -> None:
    work = _of_change if asked.given["user"] is None else _of_subject
    try:
        await with_store(settings, partial(work, asked=asked))
    except (UnknownChangeError, NoChangeError) as error:
        raise CommandError(str(error)) from error


# -- a change ----------------------------------------------------------------------------------------------------------


async def _of_change(store: Store, *, asked: _Asked) -> None:
    found, given = await reconciliation(store, asked.change_id), asked.given
    renames = await read_renames(store)
    found = renames.shown_in(found)
    if given["html"] is not None:
        _write(found, renames.shown_in(await _first(store, found.change_id)), given["html"])
    if given["as_json"]:
        screen.say_json(found)
    else:
        _print(found)
    if given["listed"]:
        async for page in one_by_one(store, found.change_id):
            for one in renames.shown_in(page):
                if given["as_json"]:
                    screen.say_json(one)
                else:
                    screen.out().say(_line(one))


def _print(found: Reconciliation) -> None:
    screen.out().say(about(found), style="bold")
    kinds = [kind for kind in DECISIONS if kind in found.total]
    if not kinds:
        screen.out().print(f"it has decided nothing; {screen.plural(found.unchanged, 'unlock')} unchanged")
        return
    rows = [cells_of(row, kinds) for row in found.rows]
    total = ("all", "", *(f"{found.total[kind]:,}" for kind in kinds), f"{found.unchanged:,}")
    columns = ["achievement", "version", *map(words, kinds), "unchanged"]
    screen.table("", columns, [*rows, total], right=range(1, len(columns)))


def _line(one: Decided) -> str:
    name = full_name(one.achievement, one.tier, one.occurrence)
    return f"{name}  v{one.version}  {words(one.decision)}  {one.tenant_id}  {who(one)}  {one.earned_at}"


async def _first(store: Store, change_id: int) -> list[Decided]:
    """Return the first decisions, one more than a page lists if there are so many."""
    listed: list[Decided] = []
    async with aclosing(one_by_one(store, change_id)) as pages:
        async for page in pages:
            listed += page
            if len(listed) > LISTED:
                break
    return listed[: LISTED + 1]


def _write(found: Reconciliation, listed: list[Decided], path: Path) -> None:
    """Write the page.

    Raises:
        CommandError: the file cannot be written.
    """
    write_file(path, html_of(found, listed[:LISTED], more=len(listed) > LISTED).encode())
    screen.err().print(f"written to {path}", markup=False)


# -- one subject -------------------------------------------------------------------------------------------------------


async def _of_subject(store: Store, *, asked: _Asked) -> None:
    given, limit = asked.given, asked.given["limit"]
    key = given["tenant"] or "", given["scope"], given["user"] or ""
    renames = await read_renames(store)
    found = renames.shown_in(await of_subject(store, *key, change_id=asked.change_id, limit=limit))
    if given["as_json"]:
        screen.say_json(found)
        return
    if not found:
        screen.out().say(f"no change of rules has decided anything about {key[2]} of {key[0]}")
        return
    rows = [_row(one) for one in found]
    screen.table("", _COLUMNS, rows, right=(0, 2), ids=(5,))
    if len(found) == limit:
        screen.out().print(f"the latest {limit:,}; --limit prints more")


def _row(one: Decided) -> tuple[object, ...]:
    name = full_name(one.achievement, one.tier, one.occurrence)
    decision = one.version, words(one.decision)
    return one.change_id, name, *decision, one.tenant_id, who(one), one.earned_at, one.decided_at[:19]
