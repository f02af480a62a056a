"""`ach erase`: a user erased for good, and what the erasure does not reach."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import click

from dsl.outcome import Subject
from worker.admin.backfill import backfill, bring_up_to_date
from worker.admin.erasure import erase_user, is_known
from worker.admin.purge import Purged, PurgeRefusedError, purge_streams
from worker.app import wall_clock
from worker.broker.streams import BrokerAwayError
from worker.commands.erase_undo import undo
from worker.commands.operator_word import by_option
from worker.commands.options import NAMED, json_object_option, must_not_ask
from worker.commands.servers import CommandError, on_servers, whoami, with_store
from worker.contract.partition import token
from worker.report import screen
from worker.urls import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from worker.admin.erasure import Erased
    from worker.settings import Settings
    from worker.store import Store


class _Options(TypedDict):
    yes: bool
    purge: bool
    undo: bool
    reason: str
    by: str | None
    as_json: bool


@click.command("erase")
@click.argument("user", metavar="USER", type=NAMED)
@click.option("--tenant", "-t", required=True, type=NAMED, metavar="TENANT", help="The user's tenant.")
@click.option("--yes", is_flag=True, help="Do not ask, even if nothing is known of the user.")
@click.option("--purge-streams", "purge", is_flag=True, help="Also remove their messages from the broker's streams.")
@click.option("--undo", is_flag=True, help="Take their events again from now on; what was erased stays gone.")
@click.option("--reason", default="", metavar="TEXT", help="Why, with --undo; it is recorded.")
@by_option
@json_object_option
def command(user: str, tenant: str, **options: Unpack[_Options]) -> None:
    """Erase a user for good: events, progress, unlocks. Their events stay out, even of a replay of the stream.

    It prints what it could not reach. Running it again is harmless, and finishes an erasure that was interrupted.

    --undo lifts the tombstone, and removes the announcements of the erased unlocks from the broker's stream.
    """
    yes, purge, as_json, by = options["yes"], options["purge"], options["as_json"], options["by"] or whoami()
    must_not_ask(as_json=as_json, yes=yes)
    if options["undo"]:
        undo(Subject(tenant, "user", user), by, options["reason"], purge=purge, yes=yes, as_json=as_json)
        return
    if options["reason"]:
        raise screen.usage("--reason goes with --undo: an erasure keeps none")
    if not yes:
        on_servers(partial(_must_be_known, tenant=tenant, user=user))
        screen.confirm(f"erase everything of {user!r} in tenant {tenant!r}, for good?")
    on_servers(partial(_erase_user, tenant=tenant, user=user, by=by, purge=purge, as_json=as_json))


async def _must_be_known(settings: Settings, tenant: str, user: str) -> None:
    """Make sure that there is something to erase.

    Raises:
        CommandError: nothing is kept of the user, who may be misspelt.
    """
    if not await with_store(settings, lambda store: is_known(store, settings, tenant, user)):
        raise CommandError(
            f"nothing is known of {user!r} in tenant {tenant!r}: no event, progress, unlock or dead letter; "
            "nothing was done",
            "is the name right? with --yes, events of a user of that name stay out for ever all the same",
        )


async def _erase_user(settings: Settings, tenant: str, user: str, *, by: str, purge: bool, as_json: bool) -> None:
    """Erase a user, fold again what they had a part in, and remove their messages if that is asked for.

    Raises:
        CommandError: the database is done, and a stream is not.
    """

    async def work(store: Store) -> tuple[Erased, int]:
        erased = await erase_user(store, settings, tenant, user, by=by, now=wall_clock())
        if not as_json:
            _print(erased)
        if erased.again:  # it may have been interrupted right here
            report = await backfill(store, settings, now=wall_clock)
        else:
            report = await bring_up_to_date(store, settings, erased.since, now=wall_clock)
        return erased, report.subjects

    erased, folded = await with_store(settings, work)
    found = await _purge(settings, tenant, user) if purge else None
    beyond = list(_beyond(settings, tenant, user, purged=isinstance(found, Purged)))
    if as_json:
        screen.say_json(_as_json(erased, folded, found, beyond))
    else:
        _print_reach(settings, folded, found, beyond)
    if isinstance(found, _NotPurged):
        raise CommandError(*found)


def _as_json(erased: Erased, folded: int, found: Purged | _NotPurged | None, beyond: list[str]) -> dict[str, object]:
    return {
        "events": erased.events,
        "renamed": erased.renamed,
        "unlocks": erased.unlocks,
        "dead_letters": erased.dead_letters,
        "folded_again": folded,
        "purged": found._asdict() if isinstance(found, Purged) else None,
        "not_reached": beyond,
    }


def _print(erased: Erased) -> None:
    # An erasure whose commit was not answered is done, and has left nothing to count.
    done = "was erased before; erased now: " if erased.again else "erased "
    screen.out().print(
        f"{done}{screen.plural(erased.events, 'event')}, {screen.plural(erased.unlocks, 'unlock')}, "
        f"{screen.plural(erased.dead_letters, 'dead letter')}; their events stay out for ever"
    )
    if erased.renamed:
        screen.out().print(
            f"{screen.plural(erased.renamed, 'event')} that concern others too stay, with a pseudonym for the name"
        )


def _print_reach(settings: Settings, folded: int, found: Purged | _NotPurged | None, beyond: list[str]) -> None:
    """Print whatever else the erasure has changed, and what it has not reached."""
    out = screen.out()
    if folded:
        out.print(f"folded again, as they had a part in it: {screen.plural(folded, 'subject')}")
    if isinstance(found, Purged):
        events = screen.plural(found.events, "message")
        announcements = screen.plural(found.announcements, "announcement")
        out.print(f"purged {events} from {settings.input_stream}, {announcements} from {settings.unlock_stream}")
    out.print("not reached:")
    for line in beyond:
        out.say(f"  {line}")


class _NotPurged(NamedTuple):
    """Why messages could not be removed."""

    what: str
    hint: str


async def _purge(settings: Settings, tenant: str, user: str) -> Purged | _NotPurged:
    """Remove a user's messages; return how many, or why that could not be done."""
    again = "the database is done; run the command again for the streams"
    try:
        return await purge_streams(settings, tenant, user)
    except BrokerAwayError as error:
        said = f"the streams were not purged: NATS at {shown(settings.nats_url)}: {error}"
        return _NotPurged(said, f"is NATS_URL right? {again}")
    except PurgeRefusedError as error:
        return _NotPurged(f"the streams were not purged: {error}", f"does the stream deny purges? {again}")


def _beyond(settings: Settings, tenant: str, user: str, *, purged: bool) -> Iterator[str]:
    """Yield what an erasure does not reach."""
    address, prefix = f"{token(tenant)}.{token(user)}", settings.input_prefix
    if not purged:
        yield (
            f"{settings.input_stream} {prefix}.{address}.> and {settings.unlock_stream} "
            f"{settings.unlock_prefix}.{address}.>, until their retention ends (--purge-streams removes them)"
        )
    yield (
        f"{settings.input_stream} {prefix}.{token(tenant)}, {prefix}.{token(tenant)}.~... and {prefix}.raw: "
        "arrays there hold events of several users, until their retention ends"
    )
    yield f"{settings.input_stream}: events of others that name the user in their payload, until their retention ends"
    yield "the announcement of the erasure, which names the user and the unlocks"
    yield "mirrors of the streams, other lanes, and what consumers have kept of announcements"
    yield "backups of the database, its write-ahead log, and logs"
    yield "their event ids, in decisions and unlocks of teams and tenants that rested on them"
