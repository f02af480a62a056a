"""`ach apply`: rule files put into force, and the history folded by them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from dsl.check.rewards import check_rewards
from dsl.diagnostics import Diagnostic, Severity
from dsl.syntax import Achievement
from worker.admin.backfill import is_building
from worker.admin.rollout import MeaningChangedError, apply_rules
from worker.app import prepare_schema, wall_clock
from worker.broker.publish import announcement_limit
from worker.commands.backfill import print_report, report_json, run_backfill
from worker.commands.checked_rules import usable_rules
from worker.commands.options import json_object_option, rules_argument
from worker.commands.servers import CommandError, on_servers, whoami, with_store
from worker.engine.announcement_limits import announcements
from worker.local.sandbox import rule_files
from worker.report import screen
from worker.settings import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from dsl.ruleset import RuleSet
    from worker.admin.backfill import Report
    from worker.admin.rollout import Applied
    from worker.engine.meaning import Changed
    from worker.settings import Settings
    from worker.store import Store


@click.command("apply")
@rules_argument
@click.option(
    "--accept-contracts",
    is_flag=True,
    help="Accept that a version means something else because a contract, `once per`, a trait or an achievement that "
    "it names has changed; all users are judged again.",
)
@json_object_option
def command(paths: Sequence[Path], *, accept_contracts: bool, as_json: bool) -> None:
    """Put rule files into force, all of them together, and bring all users up to date.

    Workers take them up without a restart. A deployed version may not change its meaning: give it a new version.
    """
    on_servers(partial(_apply, rules=usable_rules(paths), accept_contracts=accept_contracts, as_json=as_json))


async def _apply(settings: Settings, rules: RuleSet, *, accept_contracts: bool, as_json: bool) -> None:
    await _check_announcements(settings, rules)

    async def work(store: Store) -> None:
        await prepare_schema(store, settings, now=wall_clock())
        try:
            applied = await apply_rules(
                store,
                rule_files(rules),
                settings,
                by=whoami(),
                now=wall_clock(),
                accept_contracts=accept_contracts,
            )
        except MeaningChangedError as error:
            for problem in meanings_changed(rules, error.changed):
                screen.show_problem(problem)
            raise
        folds = applied.changed or await is_building(store)
        if as_json:
            report = await run_backfill(store, settings) if folds else None
            screen.say_json(_as_json(applied, report))
            return
        _print(applied, len(rules.rules.achievements), folds=folds)
        if folds:
            print_report(await run_backfill(store, settings))

    await with_store(settings, work, check=False)


def _as_json(applied: Applied, report: Report | None) -> dict[str, object]:
    def versions(some: Iterable[tuple[str, int]]) -> list[dict[str, object]]:
        return [{"achievement": name, "version": number} for name, number in some]

    return {
        "epoch": applied.epoch,
        "changed": applied.changed,
        "new": versions(applied.new),
        "retired": versions(applied.retired),
        "changed_meaning": [str(one) for one in applied.changed_meaning],
        "withdrawn": applied.withdrawn,
        "backfill": None if report is None else report_json(report),
    }


def _print(applied: Applied, achievements: int, *, folds: bool) -> None:
    """Print what is in force now, and what has changed."""
    out = screen.out()
    if not applied.changed:
        if folds:
            out.print(f"in force already (epoch {applied.epoch}); continuing its backfill")
        else:
            out.print(f"nothing changed: these rules are in force already (epoch {applied.epoch})")
        return
    out.print(f"in force: epoch {applied.epoch}, {achievements} achievements")
    for what, versions in (("new", applied.new), ("retired", applied.retired)):
        for name, number in versions:
            out.print(f"  {what}: {name} version {number}")
    for one in applied.changed_meaning:
        out.print(f"  changed: {one}", markup=False)
    if applied.withdrawn:
        out.print(f"  withdrawn: {screen.plural(applied.withdrawn, 'unlock')} that had not settled")


async def _check_announcements(settings: Settings, rules: RuleSet) -> None:
    """Refuse rewards that cannot be announced, and warn of those that may be too large for some.

    Raises:
        CommandError: nothing was done.
    """
    if problems := check_rewards(rules.files):
        for problem in problems:
            screen.show_problem(problem)
        raise CommandError("a reward is too large to be announced; nothing was done")
    limit = await announcement_limit(settings)
    if limit is None:
        said = f"NATS at {shown(settings.nats_url)} did not answer: the size of announcements is not checked"
        screen.err().print(said, markup=False)
        return
    for one in announcements(rules.rules, settings.unlock_stream):
        what = f"an announcement of {one.name} version {one.version} has"
        if one.least > limit:
            raise CommandError(
                f"{what} {one.least:,} bytes or more, and the broker takes {limit:,}; nothing was done",
                "make its reward smaller, or raise max_payload of nats-server (max_msg_size of the stream)",
            )
        if one.most > limit:
            said = f"warning: {what} up to {one.most:,} bytes where ids are long, and the broker takes {limit:,}"
            screen.err().print(said, markup=False)


def meanings_changed(rules: RuleSet, changed: Iterable[Changed]) -> Iterator[Diagnostic]:
    """Yield a problem for each version that means something else than when it was deployed."""
    wanted = {(one.achievement, one.version): one for one in changed}
    for file in rules.files:
        for node in file.declarations:
            one = wanted.get((node.name.text, node.version)) if isinstance(node, Achievement) else None
            if one is None or not isinstance(node, Achievement):
                continue
            name, latest = node.name.text, rules.rules.achievements[node.name.text][-1].version
            message = f"`{name}` version {node.version} means something else than when it was deployed"
            hint = f"undo the change, or make it version {latest + 1}: achievement {name} version {latest + 1} from ..."
            if not one.own:
                message += f": {'; '.join(one.reasons)}"
                hint = (
                    f"undo the change, or put version {latest + 1} in its place, or have all users judged again: "
                    "ach apply --accept-contracts"
                )
            yield Diagnostic("ACH422", Severity.ERROR, file.source, node.name.span, message, hint)
