"""`ach rollback`: the rules of an earlier epoch, in force again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click

from worker.admin.backfill import change_to_build
from worker.admin.changes import open_changes
from worker.admin.pending import Terms
from worker.admin.rollout import apply_rules, in_force
from worker.admin.rule_book import rule_set_of
from worker.app import wall_clock
from worker.commands.applied import as_json_of, check_message, note, print_applied
from worker.commands.backfill import print_report, run_backfill
from worker.commands.going_on import go_on
from worker.commands.options import NUMBER, json_object_option, message_option, yes_option
from worker.commands.servers import CommandError, on_servers, whoami, with_store
from worker.report import screen

if TYPE_CHECKING:
    from worker.admin.rollout import Applied
    from worker.pipeline.rules_in_force import RuleSetRow
    from worker.settings import Settings
    from worker.store import Store


@click.command("rollback")
@click.argument("epoch", metavar="EPOCH", type=NUMBER)
@message_option
@click.option(
    "--accept-contracts",
    is_flag=True,
    help="Accept that a version gets back the meaning that it had under contracts, `once per` or traits of that time.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, say what would change, and do nothing.")
@yes_option
@json_object_option
def command(epoch: int, message: str, *, accept_contracts: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Put the rule files of an earlier epoch into force again, as a new epoch. It shows what changes, and asks.

    What the changes since have granted and not announced by then is never announced. What they have granted stays; `ach
    revoke --change` takes it back. `ach rules history` lists epochs.
    """
    check_message("--message", message)
    if as_json and not (yes or dry_run):
        raise screen.usage("--json goes with --yes or --dry-run: it cannot ask")
    back = Back(epoch, message, accept_contracts=accept_contracts)
    if dry_run or not yes:
        would = on_servers(partial(_preview, back=back))
        if not would.changed:
            on_servers(partial(_go_on, applied=would, dry_run=dry_run, as_json=as_json))
            return
        if as_json:
            screen.say_json(as_json_of(would, None))
        else:
            print_applied(would, f", with the rules of epoch {epoch}", dry_run=True)
        if dry_run:
            return
        screen.confirm(f"put the rules of epoch {epoch} into force again?")
        back = back._replace(against=would.epoch - 1)
    on_servers(partial(_roll_back, back=back, as_json=as_json))


class Back(NamedTuple):
    """Where to go back to, and why."""

    epoch: int
    message: str
    accept_contracts: bool
    against: int | None = None
    """The epoch that was in force when it was shown; None where it was not."""


async def _preview(settings: Settings, back: Back) -> Applied:
    return await with_store(settings, lambda store: _apply(store, settings, back, dry_run=True))


async def _go_on(settings: Settings, applied: Applied, *, dry_run: bool, as_json: bool) -> None:
    """Go on with a rollback that was interrupted: its rules are in force, and not all subjects are up to date."""
    await with_store(settings, lambda store: go_on(store, settings, applied, as_json=as_json, dry_run=dry_run))


async def _roll_back(settings: Settings, back: Back, *, as_json: bool) -> None:
    applied: Applied | None = None

    async def work(store: Store) -> None:
        nonlocal applied
        # The database may go away while it is built: by then the rules are in force, by our hand.
        if applied is None:
            applied = await _apply(store, settings, back, dry_run=False)
            if applied.changed and not as_json:
                _print_in_force(applied, back)
        if not applied.changed:
            await go_on(store, settings, applied, as_json=as_json)
            return
        built = await run_backfill(store, settings)
        if as_json:
            screen.say_json({**as_json_of(applied, built), "silenced": applied.silenced})
        else:
            print_report(built)

    await with_store(settings, work)


def _print_in_force(applied: Applied, back: Back) -> None:
    print_applied(applied, f", with the rules of epoch {back.epoch}", dry_run=False)
    if applied.silenced:
        screen.out().print(f"  silenced: {screen.plural(applied.silenced, 'unlock')} not announced by then")


async def _apply(store: Store, settings: Settings, back: Back, *, dry_run: bool) -> Applied:
    wanted, now = await _looked_up(store, back)
    return await apply_rules(
        store,
        wanted.files(),
        settings,
        by=whoami(),
        now=wall_clock(),
        accept_contracts=back.accept_contracts,
        terms=Terms(back.message or f"back to epoch {back.epoch}", epoch=now, back_to=back.epoch),
        dry_run=dry_run,
        said=note,
    )


async def _looked_up(store: Store, back: Back) -> tuple[RuleSetRow, int]:
    """Return the rules to go back to, and the epoch in force.

    Raises:
        CommandError: they cannot be put into force now.
    """
    wanted, now = await rule_set_of(store, back.epoch), await in_force(store)
    if wanted is None or now is None:
        raise CommandError(f"there is no epoch {back.epoch}; nothing was done", "`ach rules history` lists epochs")
    if wanted.epoch == now.epoch:
        raise CommandError(f"epoch {back.epoch} is in force; nothing was done", "`ach rules history` lists epochs")
    if wanted.hash == now.hash:
        if await change_to_build(store, now.epoch) is not None:  # it was interrupted
            return wanted, now.epoch
        said = f"epoch {now.epoch} is in force, with the rules of epoch {back.epoch}; nothing was done"
        raise CommandError(said, "`ach rules history` lists epochs")
    if back.against not in {None, now.epoch}:
        raise CommandError(
            f"epoch {now.epoch} has come into force meanwhile; nothing was done", "run the command again"
        )
    for change in await open_changes(store):
        if change.state != "pending":
            raise CommandError(
                f"change {change.change_id} is {change.state}; nothing was done",
                f"wait for its end (`ach change status`), or stop it first: ach change cancel {change.change_id}",
            )
    return wanted, now.epoch
