"""What an operator's commands do, on the servers that the environment names: run, deploy, publish, sum up."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from dsl.check.rewards import check_rewards
from worker.admin.backfill import backfill, is_building
from worker.admin.results import read_results
from worker.admin.rollout import MeaningChangedError, apply_rules
from worker.app import at_once, wall_clock
from worker.app import run as run_worker
from worker.broker.outgoing import outgoing
from worker.broker.publish import announcement_limit
from worker.commands.authoring import meanings_changed
from worker.commands.emit import tell_published
from worker.engine.announcement_limits import announcements
from worker.local.sandbox import publish, rule_files
from worker.pipeline.rules_in_force import load_deployed
from worker.process.loop import spare_collector
from worker.process.signals import stop_on_signals
from worker.recording import lines
from worker.report import screen
from worker.server_errors import CommandError, patiently, whoami
from worker.settings import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.admin.backfill import Report
    from worker.engine.stats import Stats
    from worker.rulefiles import RuleSet
    from worker.settings import Settings
    from worker.store import Store


# -- the worker -------------------------------------------------------------------------------------------------------


async def run(settings: Settings, *, drain: bool) -> Stats:
    """Run a worker until it is told to stop by a signal or, with `drain`, until nothing is left to do."""
    spare_collector()
    async with stop_on_signals() as stop:
        return await run_worker(settings, stop=stop, drain=at_once() if drain else None)


# -- schema and rules -------------------------------------------------------------------------------------------------


async def migrate(settings: Settings) -> None:
    """Bring the schema up to date."""
    applied = await patiently(settings, lambda store: store.migrate(now=wall_clock()))
    for name in applied:
        screen.out().print(f"applied {name}")
    if not applied:
        screen.out().print("the schema is up to date")


async def apply(settings: Settings, rules: RuleSet, *, accept_contracts: bool) -> None:
    """Put rules into force, and bring everybody up to date."""
    await _check_announcements(settings, rules)

    async def work(store: Store) -> None:
        await store.migrate(now=wall_clock())
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
        if not applied.changed:
            if not await is_building(store):
                screen.out().print(f"nothing changed: these rules are in force already (epoch {applied.epoch})")
                return
            screen.out().print(f"in force already (epoch {applied.epoch}); going on with its backfill")
            await _backfill(store, settings)
            return
        screen.out().print(f"in force: epoch {applied.epoch}, {len(rules.rules.achievements)} achievements")
        for what, versions in (("new", applied.new), ("retired", applied.retired)):
            for name, number in versions:
                screen.out().print(f"  {what}: {name} version {number}")
        for one in applied.changed_meaning:
            screen.out().print(f"  changed: {one}", markup=False)
        if applied.withdrawn:
            screen.out().print(f"  withdrawn: {screen.plural(applied.withdrawn, 'unlock')} that had not settled")
        await _backfill(store, settings)

    await patiently(settings, work)


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
        said = f"NATS at {shown(settings.nats_url)} did not answer: not checked whether announcements fit its limits"
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


async def bring_up_to_date(settings: Settings) -> None:
    """Run the backfill of the rules in force, or go on with one that was interrupted."""
    await patiently(settings, lambda store: _backfill(store, settings))


async def _backfill(store: Store, settings: Settings) -> None:
    report = await backfill(store, settings, now=wall_clock)
    tell_report(report)


def tell_report(report: Report) -> None:
    """Print the reconciliation report."""
    screen.out().print(f"backfill: {screen.plural(report.subjects, 'subject')} folded again")
    if not report.tallies:
        return
    columns = ("granted", "settling", "amended", "restored", "contested", "withdrawn", "unchanged")
    rows = [
        (name, version, *(f"{getattr(tally, column):,}" for column in columns))
        for (name, version), tally in sorted(report.tallies.items())
    ]
    screen.table("", ["achievement", "version", *columns], rows, right=range(1, 9))


# -- streams and results ----------------------------------------------------------------------------------------------


async def emit(settings: Settings, streams: Sequence[str]) -> None:
    """Publish recorded streams to the input stream."""
    began = monotonic()
    total = None if "-" in streams else sum(1 for _ in lines(streams))
    with screen.progress("publishing", total) as move:
        done = 0

        def on_progress(stored: int) -> None:
            nonlocal done
            move(stored - done, "")
            done = stored

        messages = outgoing(lines(streams), settings.input_prefix)
        published = await publish(settings, messages, on_progress)
    tell_published(published, monotonic() - began)
    if published.refused:
        raise CommandError(f"{screen.plural(len(published.refused), 'message')} were not published")


async def digest(settings: Settings, *, as_json: bool) -> None:
    """Print the digest of what the database holds."""

    async def work(store: Store) -> None:
        stored = await read_results(store, await load_deployed(store, settings))
        if as_json:
            said = {
                "digest": stored.digest,
                "unlocks": stored.unlocks,
                "contested": stored.contested,
                "retired": stored.retired,
            }
            screen.say_json(said)
            return
        unlocks, contested = len(stored.unlocks), len(stored.contested)
        screen.out().print(f"digest {stored.digest}")
        subjects = screen.plural(len(stored.states), "subject")
        screen.out().print(f"{screen.plural(unlocks, 'unlock')}, {contested:,} contested, {subjects}")
        if stored.retired:
            kept = screen.plural(len(stored.retired), "unlock")
            screen.out().print(f"besides, {kept} of achievements that are retired; not in the digest")

    await patiently(settings, work)
