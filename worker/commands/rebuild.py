"""`ach rebuild`: states thrown away and folded again from the ledger, beside live workers."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

import anyio
import click

from dsl.outcome import full_name
from worker.admin.lease import Limits
from worker.admin.ledger_replay import Part, replay_ledger
from worker.admin.rebuild import STATE, Difference, Orders, Rebuilt, rebuild
from worker.admin.rebuild_target import Target, UnknownAchievementError, scopes_of
from worker.app import wall_clock
from worker.commands.headway import remark_of
from worker.commands.operator_word import by_option
from worker.commands.options import NAMED, json_object_option, lag_option, quiet_option, rate_option
from worker.commands.servers import CommandError, on_servers, rules_in_force, whoami, with_store
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Unpack

    from worker.admin.ledger_replay import Replayed
    from worker.engine.pace import Headway
    from worker.settings import Settings
    from worker.store import Store

SHOWN: Final = 20
"""Differences that are listed; the rest is counted."""


class _Options(TypedDict):
    tenant: str | None
    user: str | None
    aggregate: str | None
    dry_run: bool
    anew: bool
    rate: int | None
    max_lag: int | None
    by: str | None
    as_json: bool
    quiet: bool


class _Request(NamedTuple):
    target: Target
    options: _Options


@click.command("rebuild")
@click.option("--tenant", "-t", type=NAMED, metavar="T", help="Of one tenant alone.")
@click.option("--user", "-u", type=NAMED, metavar="U", help="Of one user; needs --tenant.")
@click.option("--aggregate", type=NAMED, metavar="A", help="Of the subjects that hear what the achievement A reads.")
@click.option("--dry-run", is_flag=True, help="Fold, and say what differs; write nothing.")
@click.option("--anew", is_flag=True, help="Begin anew where a rebuild was interrupted.")
@rate_option
@lag_option
@by_option
@quiet_option
@json_object_option
def command(**options: Unpack[_Options]) -> None:
    """Throw states away and fold them again from the ledger, beside live workers.

    What comes out should be what was there. If it is not, there is a defect, or others have written to the database:
    every difference is printed and corrected, and the exit code is 1. After an interruption, the same command goes on.
    """
    target = Target(options["tenant"], options["user"], options["aggregate"])
    if target.user is not None and target.tenant is None:
        raise screen.usage("--user needs --tenant: many tenants may have a user of that name")
    if target.user is not None and target.achievement is not None:
        raise screen.usage("--user goes without --aggregate: all states of a user are one row")
    if options["dry_run"] and (options["anew"] or target.achievement is not None):
        raise screen.usage(
            "--dry-run goes without --aggregate and --anew: it folds all subjects, or those of a tenant or user"
        )
    request = _Request(target, options)
    work = _preview if options["dry_run"] else _rebuild
    if not on_servers(partial(work, request=request)):
        raise SystemExit(1)


async def _rebuild(settings: Settings, *, request: _Request) -> bool:
    target, options = request
    with _bar(quiet=options["quiet"]) as watch:
        orders = Orders(
            options["by"] or whoami(),
            wall_clock,
            Limits(options["rate"], options["max_lag"]),
            anew=options["anew"],
            watch=watch,
        )
        try:
            done = await with_store(settings, lambda store: rebuild(store, settings, target, orders))
        except UnknownAchievementError as error:
            raise CommandError(str(error), error.hint) from error
        except anyio.get_cancelled_exc_class():
            screen.err().print("interrupted: the same command goes on with it", markup=False)
            raise
    if done.is_as_it_was:
        _check_named(target, done.subjects, done.events)
    if options["as_json"]:
        screen.say_json(_as_json(done))
    else:
        _print(done)
    return done.is_as_it_was


def _check_named(target: Target, subjects: int, events: int) -> None:
    """Refuse a name behind which nothing was found: most often it is misspelt, and all is well with another one.

    Raises:
        CommandError: nothing was done.
    """
    if target.user is not None and not events:
        whose = f"of {target.user!r} in tenant {target.tenant!r}"
    elif target.tenant is not None and not subjects:
        whose = f"of tenant {target.tenant!r}"
    else:
        return
    raise CommandError(f"no event {whose} is heard by a rule in force; nothing was done", "is the name right?")


@contextmanager
def _bar(*, quiet: bool) -> Generator[Callable[[Headway], None]]:
    """Yield a function that shows how far a rebuild is, on a terminal."""
    with screen.progress("rebuilding", quiet=quiet) as move:
        shown = 0

        def watch(headway: Headway) -> None:
            nonlocal shown
            move(headway.subjects - shown, remark_of(headway))
            shown = headway.subjects

        yield watch


def _as_json(done: Rebuilt) -> dict[str, object]:
    return {
        "subjects": done.subjects,
        "events": done.events,
        "states": done.states,
        "decisions": done.decisions,
        "kinds": dict(sorted(done.kinds.items())),
        "differences": done.differences,
        "went_on": done.went_on,
    }


def _print(done: Rebuilt) -> None:
    out = screen.out()
    if done.went_on:
        out.print("went on with a rebuild that was interrupted; counts are of both")
    folded = f"{screen.plural(done.subjects, 'subject')} folded again, {screen.plural(done.events, 'event')} read"
    out.print(folded)
    if done.is_as_it_was:
        out.print("everything was as the events make it", style="bold green")
        return
    found = f"{screen.plural(done.states, 'state')} differed, {screen.plural(done.decisions, 'decision')} about unlocks"
    out.print(found, style="bold")
    columns = ["", "tenant", "scope", "subject", "achievement", "version", "earned at"]
    screen.table("", columns, [_row(one) for one in done.differences[:SHOWN]], ids=(3,))
    more = done.states + done.decisions - min(SHOWN, len(done.differences))
    if more > 0:
        out.print(f"... and {more:,} more; --json lists up to 1,000")
    screen.err().print(
        "a difference means a defect, or that others have written to the database: please report it with the table",
        markup=False,
    )


def _row(one: Difference) -> tuple[str, ...]:
    name = "" if one.achievement is None else full_name(one.achievement, one.tier, one.occurrence)
    what = "another state" if one.kind == STATE else one.kind
    version = "" if one.version is None else str(one.version)
    return (what, one.tenant_id, one.scope, one.subject, name, version, one.earned_at or "")


# -- a dry run ---------------------------------------------------------------------------------------------------------


async def _preview(settings: Settings, *, request: _Request) -> bool:
    target, options = request

    async def read(store: Store) -> Replayed:
        rules = await rules_in_force(store, settings)
        scopes_of(rules, target)
        part = Part(tenant=target.tenant, user=target.user)
        with screen.progress("folding", quiet=options["quiet"]) as move:
            (found,) = await replay_ledger(store, rules, part, moved=lambda folded: move(folded, ""))
        return found

    found = await with_store(settings, read)
    if not found.disagreed:
        _check_named(target, found.subjects, found.folded)
    wrong = Counter({why: n for why, n in found.disagreed.items() if not why.is_word_of_operator})
    if options["as_json"]:
        screen.say_json(
            {
                "subjects": found.subjects,
                "events": found.folded,
                "disagreed": {why.value: n for why, n in sorted(wrong.items())},
                "disagreements": found.disagreements,
            }
        )
    else:
        out = screen.out()
        out.print(
            f"would fold {screen.plural(found.subjects, 'subject')} again, "
            f"from {screen.plural(found.folded, 'event')}; nothing was done"
        )
        said = ", ".join(f"{n:,} {why.value}" for why, n in sorted(wrong.items()))
        out.print(f"unlocks that would be corrected: {said or 'none'}")
        if said:
            out.print("`ach replay --from-ledger` names them")
    return not wrong
