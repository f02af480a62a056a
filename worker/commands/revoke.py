"""`ach revoke`: unlocks taken back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

import click

from dsl.outcome import full_name
from worker.admin.journal import journaled
from worker.admin.revocation import of_achievement, of_change, of_ids, revoke_all
from worker.app import wall_clock
from worker.commands.operator_word import by_option, check_reason
from worker.commands.options import NAMED, NUMBER, SMALL_NUMBER, json_object_option, must_not_ask, yes_option
from worker.commands.renamed import tell_renamed
from worker.commands.servers import CommandError, on_servers, whoami, with_store
from worker.engine.journal import Revocation
from worker.pipeline.rules_in_force import read_renames
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack
    from uuid import UUID

    from worker.admin.revocation import Revocable
    from worker.settings import Settings

SHOWN: Final = 20
"""Unlocks that are named before it is asked whether to revoke them."""


class _Where(TypedDict):
    change: int | None
    achievement: str | None
    version: int | None
    tenant: str | None
    subject: str | None


@click.command("revoke")
@click.argument("ids", metavar="[UNLOCK_ID...]", nargs=-1, type=click.UUID)
@click.option(
    "--achievement", "-a", type=NAMED, metavar="NAME[.TIER]", help="In place of ids: all unlocks of this achievement."
)
@click.option(
    "--change",
    metavar="ID",
    type=NUMBER,
    help="In place of ids: all that a change of rules has granted.",
)
@click.option("--version", metavar="N", type=SMALL_NUMBER, help="With --achievement: only of this version.")
@click.option("--tenant", "-t", type=NAMED, metavar="TENANT", help="With --achievement: only of this tenant.")
@click.option(
    "--subject", "-s", type=NAMED, metavar="SUBJECT", help="With --achievement: only of this user, team or tenant."
)
@click.option("--reason", default="", metavar="TEXT", help="Why; it is recorded and announced.")
@by_option
@yes_option
@json_object_option
def command(
    ids: Sequence[UUID], reason: str, by: str | None, *, yes: bool, as_json: bool, **where: Unpack[_Where]
) -> None:
    """Revoke unlocks, by their ids (`ach unlocks` lists them), by achievement or by change. It lists them, and asks.

    No later event brings them back. Unlocks that were granted are announced as revoked.
    """
    check_reason(reason)
    if [bool(ids), where["achievement"] is not None, where["change"] is not None].count(True) != 1:
        raise click.UsageError("name unlocks either by their ids, or by --achievement, or by --change")
    if where["achievement"] is None and any(where[one] is not None for one in ("version", "tenant", "subject")):
        raise click.UsageError("--version, --tenant and --subject go with --achievement alone")
    must_not_ask(as_json=as_json, yes=yes)
    found = on_servers(partial(_find, chosen=Chosen(ids, **where)))
    if not as_json:
        _print_found(found)
    if not yes:
        screen.confirm(f"revoke {screen.plural(len(found), 'unlock')}, for good?")
    revoked = on_servers(partial(_revoke, found=found, reason=reason, by=by or whoami()))
    if as_json:
        screen.say_json({"revoked": revoked, "unlocks": [one._asdict() for one in found]})
    else:
        screen.out().print(f"revoked {screen.plural(revoked, 'unlock')}")


class Chosen(NamedTuple):
    """Which unlocks to revoke: those of ids, of a change, or of an achievement, with its tier behind a dot."""

    ids: Sequence[UUID]
    change: int | None
    achievement: str | None
    version: int | None
    tenant: str | None
    subject: str | None


async def _find(settings: Settings, chosen: Chosen) -> list[Revocable]:
    """Return the chosen unlocks.

    Raises:
        CommandError: there are none, or there is none with one of the ids.
    """
    renames = await with_store(settings, read_renames)
    if chosen.change is not None:
        number = chosen.change
        found = await with_store(settings, lambda store: of_change(store, number))
        if not found:
            raise CommandError(
                f"change {number} has granted nothing that is not revoked; nothing was done",
                "`ach unlocks` lists those that there are",
            )
    elif chosen.achievement is None:
        found = await with_store(settings, lambda store: of_ids(store, chosen.ids))
        known = {one.unlock_id for one in found}
        if missing := [unlock_id for unlock_id in chosen.ids if unlock_id not in known]:
            raise CommandError(
                f"there is no unlock {missing[0]}, or it was revoked before; nothing was done",
                "`ach unlocks` lists those that there are",
            )
    else:
        given, _, tier = chosen.achievement.partition(".")
        name = tell_renamed(renames, given)
        where = {"tenant": chosen.tenant, "subject": chosen.subject}
        found = await with_store(
            settings, lambda store: of_achievement(store, name, tier or None, version=chosen.version, **where)
        )
        if not found:
            raise CommandError(
                f"there is no such unlock of {chosen.achievement} to revoke; nothing was done",
                "`ach unlocks` lists those that there are",
            )
    return renames.shown_in(found)


def _print_found(found: Sequence[Revocable]) -> None:
    out = screen.out()
    out.print(f"{screen.plural(len(found), 'unlock')} to revoke:")
    for one in found[:SHOWN]:
        out.say(f"  {_shown(one)}")
    if len(found) > SHOWN:
        out.print(f"  and {len(found) - SHOWN:,} more")


def _shown(one: Revocable) -> str:
    return f"{full_name(one.achievement, one.tier, one.occurrence)} of {one.subject} in {one.tenant_id}"


async def _revoke(settings: Settings, found: Sequence[Revocable], *, reason: str, by: str) -> int:
    """Revoke unlocks, and return how many; late evidence does not bring them back."""
    ids, now = [one.unlock_id for one in found], wall_clock()
    with journaled(settings, lambda names: Revocation(tuple(map(names.of_unlock, ids))), by=by, at=now):
        return await with_store(settings, lambda store: revoke_all(store, ids, now=now, by=by, reason=reason))
