"""`ach grant`: an unlock granted by hand."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

import click

from dsl.compile import USER, scope_of
from dsl.outcome import Subject
from worker.admin.journal import journaled
from worker.admin.manual_grant import CannotGrantError, Granted, grant_by_hand
from worker.app import wall_clock
from worker.commands.operator_word import by_option, check_reason
from worker.commands.options import NAMED, json_object_option
from worker.commands.renamed import tell_renamed
from worker.commands.servers import CommandError, on_servers, rules_in_force, whoami, with_store
from worker.engine.journal import manual_grant
from worker.engine.reconcile import State as Stands
from worker.pipeline.fence import RulesMovedError
from worker.report import screen

if TYPE_CHECKING:
    from typing import Unpack

    from worker.settings import Settings
    from worker.store import Store


class _Place(TypedDict):
    tenant: str
    scope: str | None
    occurrence: str | None


@click.command("grant")
@click.argument("user", type=NAMED, metavar="USER")
@click.argument("achievement", type=NAMED, metavar="ACHIEVEMENT[.TIER]")
@click.option("--tenant", "-t", required=True, type=NAMED, metavar="TENANT", help="The user's tenant.")
@click.option("--scope", "-s", metavar="SCOPE", help="The scope of USER, such as team (default: the achievement's).")
@click.option("--occurrence", "-o", metavar="X", help="If the achievement repeats, such as 2026-W15.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is recorded.")
@by_option
@json_object_option
def command(
    user: str, achievement: str, reason: str, by: str | None, *, as_json: bool, **place: Unpack[_Place]
) -> None:
    """Grant an achievement by hand, whatever the events say; it is announced, and no late event contests it.

    An operator has the last word: an unlock that was revoked is granted again, and `ach revoke` takes it back.
    """
    check_reason(reason)
    meant = Meant(subject=user, achievement=achievement, **place)
    granted = on_servers(partial(_grant, meant=meant, reason=reason, by=by or whoami()))
    before = granted.before
    if as_json:
        screen.say_json({"unlock_id": granted.unlock_id, "before": None if before is None else before.name.lower()})
    else:
        what = f"{meant.achievement} of {meant.subject} in {meant.tenant}"
        screen.out().print(f"{_GRANTED[before].format(what)}: unlock {granted.unlock_id}", markup=False)


class Meant(NamedTuple):
    """An unlock as an operator names it; no scope means that of the achievement."""

    tenant: str
    subject: str
    achievement: str
    """With its tier, behind a dot."""
    scope: str | None
    occurrence: str | None


async def _grant(settings: Settings, meant: Meant, *, reason: str, by: str) -> Granted:
    """Grant an unlock whatever the events say."""
    name, _, tier = meant.achievement.partition(".")

    async def work(store: Store) -> Granted:
        while True:
            rules = await rules_in_force(store, settings)
            first = rules.renames.first(name)
            versions = rules.rules.achievements.get(first)
            scope = meant.scope or (USER if versions is None else scope_of(versions[0]))
            subject = Subject(meant.tenant, scope, meant.subject)
            at = wall_clock()
            deed = partial(manual_grant, subject=subject, key=(first, tier or None, meant.occurrence))
            with suppress(RulesMovedError), journaled(settings, deed, by=by, at=at):  # others were applied meanwhile
                granted = await grant_by_hand(
                    store, rules, subject, first, tier or None, meant.occurrence, reason=reason, by=by, now=at
                )
                tell_renamed(rules.renames, name)
                return granted

    try:
        return await with_store(settings, work)
    except CannotGrantError as error:
        raise CommandError(str(error), error.hint) from error


_GRANTED: Final[dict[Stands | None, str]] = {
    None: "granted {}",
    Stands.SETTLING: "granted {}, which was still settling",
    Stands.GRANTED: "granted {} by hand, which events had earned; no late event contests it now",
    Stands.CONTESTED: "granted {} by hand, which was contested",
    Stands.REVOKED: "granted {} again, which had been revoked",
    Stands.BY_HAND: "{} was granted by hand before; nothing changed",
}
