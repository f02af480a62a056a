"""`ach erase`: a user erased for good, and what the erasure does not reach."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.admin.backfill import backfill, bring_up_to_date
from worker.admin.erasure import erase_user, is_known
from worker.admin.purge import PurgeRefusedError, purge_streams
from worker.app import wall_clock
from worker.broker.streams import BrokerAwayError
from worker.commands.servers import CommandError, on_servers, whoami, with_store
from worker.contract.partition import token
from worker.report import screen
from worker.urls import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.settings import Settings
    from worker.store import Store


@click.command("erase")
@click.argument("user", metavar="USER")
@click.option("--tenant", "-t", required=True, metavar="TENANT", help="The user's tenant.")
@click.option("--yes", is_flag=True, help="Do not ask, even if nothing is known of the user.")
@click.option("--purge-streams", "purge", is_flag=True, help="Also remove their messages from the broker's streams.")
def command(user: str, tenant: str, *, yes: bool, purge: bool) -> None:
    """Erase a user for good: events, progress, unlocks. Their events stay out, even of a replay of the stream.

    It prints what it could not reach. Running it again is harmless, and finishes an erasure that was interrupted.
    """
    if not yes:
        on_servers(partial(_must_be_known, tenant=tenant, user=user))
        screen.confirm(f"erase everything of {user!r} in tenant {tenant!r}, for good?")
    on_servers(partial(_erase_user, tenant=tenant, user=user, purge=purge))


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


async def _erase_user(settings: Settings, tenant: str, user: str, *, purge: bool) -> None:
    """Erase a user, fold again what they had a part in, and remove their messages if that is asked for.

    Raises:
        CommandError: the database is done, and a stream is not.
    """
    out = screen.out()

    async def work(store: Store) -> None:
        erased = await erase_user(store, settings, tenant, user, by=whoami(), now=wall_clock())
        out.print(
            f"erased {screen.plural(erased.events, 'event')}, {screen.plural(erased.unlocks, 'unlock')}, "
            f"{screen.plural(erased.dead_letters, 'dead letter')}; their events stay out for ever"
        )
        if erased.again:  # it may have been interrupted right here
            report = await backfill(store, settings, now=wall_clock)
        else:
            report = await bring_up_to_date(store, settings, erased.since, now=wall_clock)
        if report.subjects:
            out.print(f"folded again, as they had a part in it: {screen.plural(report.subjects, 'subject')}")

    await with_store(settings, work)
    problem = await _purge(settings, tenant, user) if purge else None
    out.print("not reached:")
    for line in _beyond(settings, tenant, user, purged=purge and problem is None):
        out.say(f"  {line}")
    if problem is not None:
        raise CommandError(*problem)


async def _purge(settings: Settings, tenant: str, user: str) -> tuple[str, str] | None:
    """Remove a user's messages; return what is wrong and what may help, where it could not be done."""
    again = "the database is done; run the command again for the streams"
    try:
        purged = await purge_streams(settings, tenant, user)
    except BrokerAwayError as error:
        said = f"the streams were not purged: NATS at {shown(settings.nats_url)}: {error}"
        return said, f"is NATS_URL right? {again}"
    except PurgeRefusedError as error:
        return f"the streams were not purged: {error}", f"does the stream deny purges? {again}"
    events = screen.plural(purged.events, "message")
    announcements = screen.plural(purged.announcements, "announcement")
    screen.out().print(f"purged {events} from {settings.input_stream}, {announcements} from {settings.unlock_stream}")
    return None


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
    yield "the announcement of the erasure, which names the user and the unlocks"
    yield "mirrors of the streams, other lanes, and what consumers have kept of announcements"
    yield "backups of the database, its write-ahead log, and logs"
    yield "their event ids, in decisions and unlocks of teams and tenants that rested on them"
