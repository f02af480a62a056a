"""`ach apply`: rule files put into force, and the history folded by them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click

from dsl.check.rewards import check_rewards
from dsl.diagnostics import Diagnostic, Severity
from dsl.expand import settled
from dsl.syntax import Achievement
from worker.admin.lease import Limits
from worker.admin.plan_file import PlanFile, is_plan_file, read_plan
from worker.admin.rollout import MeaningChangedError, Terms, apply_rules, deployed_versions
from worker.app import prepare_schema, wall_clock
from worker.broker.publish import announcement_limit
from worker.commands.announced import Announces, policy_of
from worker.commands.applied import as_json_of, check_message, note, print_applied
from worker.commands.backfill import print_report, run_backfill
from worker.commands.checked_rules import usable_rules
from worker.commands.examples import failed_examples, failure_line
from worker.commands.going_on import go_on
from worker.commands.options import json_object_option, lag_option, message_option, rate_option, rules_argument
from worker.commands.servers import CommandError, on_servers, whoami, with_store
from worker.engine.announcement_limits import announcements
from worker.engine.rule_set import read_written, rule_files
from worker.report import screen
from worker.settings import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from dsl.ruleset import RuleSet
    from worker.admin.rollout import Applied
    from worker.engine.meaning import Changed
    from worker.settings import Settings
    from worker.store import Store


class Order(NamedTuple):
    """What is applied, and how."""

    rules: RuleSet
    terms: Terms
    accept_contracts: bool
    dry_run: bool
    as_json: bool


@click.command("apply", cls=Announces)
@rules_argument
@click.option(
    "--accept-contracts",
    is_flag=True,
    help="Accept that a version means something else because a contract, `once per`, a trait or an achievement that "
    "it names has changed; all users are judged again.",
)
@message_option
@click.option(
    "--announce",
    default="all",
    show_default=True,
    metavar="none|since D|all",
    help="What is announced of unlocks that these rules find in the history; D is a span such as 7d, or an instant.",
)
@rate_option
@lag_option
@json_object_option
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be new, and do nothing.")
def command(  # noqa: PLR0913 - the options of the command
    paths: Sequence[Path],
    message: str,
    announce: str,
    rate: int | None,
    max_lag: int | None,
    *,
    accept_contracts: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put rule files into force, all of them together, and bring all users up to date.

    A file of `ach plan --out` may stand in their place. Workers take rules up without a restart. A deployed version may
    not change its meaning: give it a new version.
    """
    check_message("--message", message)
    policy = policy_of(announce, now=wall_clock())
    terms = Terms(message, policy, rate=rate, max_lag=max_lag)
    rules, plan = _rules_of(paths)
    if plan is not None:
        terms = terms._replace(plan=plan.plan, epoch=plan.epoch, against=plan.against)
    _check_examples(rules)
    on_servers(partial(_apply, order=Order(rules, terms, accept_contracts, dry_run, as_json)))


def _rules_of(paths: Sequence[Path]) -> tuple[RuleSet, PlanFile | None]:
    """Return the rules that paths name, and the plan where they come of one."""
    if len(paths) == 1 and is_plan_file(paths[0]):
        try:
            plan = read_plan(paths[0])
            return read_written(plan.files), plan
        except ValueError as error:
            screen.fail(str(error))
            raise SystemExit(1) from error
    return usable_rules(paths), None


def _check_examples(rules: RuleSet) -> None:
    """End the command where an example of the rules fails."""
    failed = failed_examples(rules)
    if not failed:
        return
    for failure in failed:
        screen.err().print(failure_line(failure), markup=False)
    screen.fail("an example of the rules fails; nothing was done", "`ach test` with the same rules shows why")
    raise SystemExit(1)


async def _apply(settings: Settings, order: Order) -> None:
    rules = order.rules
    await _check_announcements(settings, rules)

    applied: Applied | None = None

    async def work(store: Store) -> None:
        nonlocal applied
        await prepare_schema(store, settings, now=wall_clock())
        # The database may go away while it is built: by then they are in force, by our hand.
        if applied is None:
            applied = await _apply_rules(store, settings, order)
            if applied.changed and not order.as_json:
                print_applied(applied, f", {len(rules.rules.achievements)} achievements", dry_run=order.dry_run)
        if not applied.changed:
            limits = Limits(order.terms.rate, order.terms.max_lag)
            await go_on(store, settings, applied, limits=limits, as_json=order.as_json, dry_run=order.dry_run)
            return
        report = None if order.dry_run else await run_backfill(store, settings)
        if order.as_json:
            screen.say_json(as_json_of(applied, report))
        elif report is not None:
            print_report(report)

    await with_store(settings, work, check=False)


async def _apply_rules(store: Store, settings: Settings, order: Order) -> Applied:
    await _check_retired(store, order)
    try:
        applied = await apply_rules(
            store,
            rule_files(order.rules),
            settings,
            by=whoami(),
            now=wall_clock(),
            accept_contracts=order.accept_contracts,
            terms=order.terms,
            dry_run=order.dry_run,
            said=note,
        )
    except MeaningChangedError as error:
        for problem in settled(meanings_changed(order.rules, error.changed)):
            screen.show_problem(problem)
        raise
    for one in () if order.as_json else applied.meanwhile:
        screen.out().print(f"meanwhile {one}; these rules take its place", markup=False)
    return applied


async def _check_retired(store: Store, order: Order) -> None:
    """Refuse files without any achievement that would retire all: most often they are empty by mistake.

    Raises:
        CommandError: nothing was done.
    """
    if order.rules.rules.achievements or order.terms.plan is not None:
        return
    held = {one.achievement for one in await deployed_versions(store) if one.retired_at is None}
    if held:
        raise CommandError(
            f"these rules have no achievement, and would retire all {len(held):,} that are in force; nothing was done",
            "`ach rules retire NAME` retires one; to retire all: ach plan RULES --out FILE, ach apply FILE",
        )


async def _check_announcements(settings: Settings, rules: RuleSet) -> None:
    """Refuse rewards that cannot be announced, and warn of those that may be too large for some.

    Raises:
        CommandError: nothing was done.
    """
    if problems := check_rewards(rules.written_out):
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
    for file in rules.written_out:
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
