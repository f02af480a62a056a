"""`ach rules retire`: an achievement that leaves the rules in force."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.admin.backfill import change_to_build
from worker.admin.pending import Terms
from worker.admin.rollout import Applied, apply_rules, deployed_versions, in_force
from worker.admin.rule_book import without
from worker.app import wall_clock
from worker.commands.applied import as_json_of, check_message, note, print_applied
from worker.commands.backfill import print_report, run_backfill
from worker.commands.going_on import go_on
from worker.commands.options import NAMED, json_object_option
from worker.commands.renamed import tell_renamed
from worker.commands.servers import CommandError, on_servers, rules_in_force, whoami, with_store
from worker.engine.rule_set import RulesRefusedError, read_rules
from worker.pipeline.rules_in_force import read_renames
from worker.report import screen

if TYPE_CHECKING:
    from worker.engine.rule_set import Deployed
    from worker.pipeline.rules_in_force import RuleSetRow
    from worker.settings import Settings
    from worker.store import Store


@click.command("retire")
@click.argument("name", type=NAMED, metavar="NAME")
@click.option("--reason", required=True, metavar="TEXT", help="Why; the message of the change.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be retired, and do nothing.")
@json_object_option
def command(name: str, reason: str, *, dry_run: bool, as_json: bool) -> None:
    """Take an achievement out of the rules in force, as a change of its own; what it granted stays.

    Take it out of your rule files as well: the next `ach apply` brings back what they have.
    """
    check_message("--reason", reason)
    if not reason.strip():
        raise screen.usage("--reason: expected a text, got an empty one: it is the message of the change")
    on_servers(partial(_retire, name=name, reason=reason, dry_run=dry_run, as_json=as_json))


async def _retire(settings: Settings, *, name: str, reason: str, dry_run: bool, as_json: bool) -> None:
    applied: Applied | None = None

    async def work(store: Store) -> None:
        nonlocal applied
        # The database may go away while it is built: by then it is retired, by our hand.
        if applied is None:
            applied = await _applied(store, settings, name=name, reason=reason, dry_run=dry_run)
            if applied.changed and not as_json:
                print_applied(applied, dry_run=dry_run)
        if not applied.changed:
            await go_on(store, settings, applied, as_json=as_json, dry_run=dry_run)
        else:
            report = None if dry_run else await run_backfill(store, settings)
            if as_json:
                screen.say_json(as_json_of(applied, report))
            elif report is not None:
                print_report(report)
        if not (as_json or dry_run):
            named = (await read_renames(store)).named(name)
            said = f"take {named} out of your rule files too: the next `ach apply` brings back what they have"
            screen.out().print(said)

    await with_store(settings, work)


async def _applied(store: Store, settings: Settings, *, name: str, reason: str, dry_run: bool) -> Applied:
    rules, row = await rules_in_force(store, settings), await in_force(store)
    tell_renamed(rules.renames, name)
    name = rules.renames.named(name)
    if name not in rules.written.achievements and row is not None and await _was_interrupted(store, rules, row, name):
        return Applied(row.epoch, changed=False, change_id=row.change_id)
    if name not in rules.written.achievements or row is None:
        raise CommandError(f"no achievement {name} is in force", "`ach rules list` has those that are")
    files = without(row.files(), name)
    if tuple(files) == tuple(row.files()):
        said = f"{name} is made by a family, for an element of its list; nothing was done"
        raise CommandError(said, "take the element out of the list, and `ach apply`")
    try:
        read_rules(files)
    except RulesRefusedError as error:
        for problem in error.problems:
            screen.show_problem(problem)
        said = f"the other rules do not stand without {name}; nothing was done"
        raise CommandError(said, "apply rule files that do without it") from error
    return await apply_rules(
        store,
        files,
        settings,
        by=whoami(),
        now=wall_clock(),
        terms=Terms(reason, epoch=row.epoch),
        dry_run=dry_run,
        said=note,
    )


async def _was_interrupted(store: Store, rules: Deployed, row: RuleSetRow, name: str) -> bool:
    """Tell whether the rules in force have retired an achievement, and not all subjects are up to date with them."""
    if await change_to_build(store, row.epoch) is None:
        return False
    first = rules.renames.first(name)
    known = await deployed_versions(store)
    return any(one.achievement == first and one.retired_at == row.applied_at for one in known)
