"""`ach dev`: private servers and a worker to try rules on. Files that change are put into force at once."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import click
import msgspec

from dsl.outcome import full_name
from worker.admin.rollout import BeginsEarlierError, MeaningChangedError
from worker.app import run
from worker.broker.publish import listen
from worker.broker.streams import open_broker
from worker.commands.checked_rules import print_problems, usable_rules
from worker.commands.options import PATHS, rules_argument
from worker.commands.pages import exports, show_pages
from worker.commands.servers import command_errors, on_private_servers
from worker.engine.announcement import MESSAGES, Corrected, Granted
from worker.engine.rule_set import RulesRefusedError
from worker.local.here import known_here
from worker.local.news import Undeclared, changes, held_lines, letter_line
from worker.local.sandbox import deploy, deploy_afresh, sandbox
from worker.local.servers import empty
from worker.pipeline.dead_letters import last_letter, list_letters
from worker.process.signals import stop_on_signals
from worker.report import screen
from worker.rulefiles import NoRulesError, find, load
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from anyio.abc import TaskStatus

    from dsl.ruleset import RuleSet
    from dsl.schema import Rules
    from worker.admin.rollout import Applied
    from worker.engine.announcement import Named
    from worker.local.sandbox import Sandbox

LOOK_SECONDS: Final = 0.5
"""Between two looks at the rule files, and at the dead letters."""
SHOWN_LETTERS: Final = 10
"""Dead letters that are printed at a time."""


@click.command("dev")
@rules_argument
@click.option(
    "--data", "folder", default=".ach/dev", show_default=True, type=PATHS, help="Where the servers keep their data."
)
@click.option("--fresh", is_flag=True, help="Begin with empty servers.")
def command(paths: Sequence[Path], folder: Path, *, fresh: bool) -> None:
    """Run private servers, a worker with these rules, the console and the API; Ctrl-C ends everything.

    It prints their addresses, and links that open them. Rule files are read again when they change.
    """
    usable_rules(paths)
    sys.exit(0 if on_private_servers(partial(_dev, paths, folder, fresh=fresh)) else 1)


async def _dev(paths: Sequence[Path], folder: Path, *, fresh: bool) -> bool:
    if fresh:
        empty(folder)
    async with stop_on_signals() as stop, sandbox(folder, Settings(), durable=True, keep_ports=True) as box:
        rules = _InForce(box.settings, paths)
        with command_errors(box.settings):
            await rules.apply()
            if rules.afresh.is_set():
                await rules.apply_afresh()
        async with anyio.create_task_group() as company:
            # Those who read the addresses may publish at once.
            await company.start(_print_undeclared, rules)
            await company.start(_print_dead_letters, box.settings)
            with known_here(folder, box.settings):
                _print_addresses(box)
                company.start_soon(_watch_files, rules)
                company.start_soon(_print_announcements, box.settings, rules)
                company.start_soon(partial(show_pages, box.settings, person="dev", stop=stop))
                with command_errors(box.settings):
                    await _work(rules, stop)
            company.cancel_scope.cancel()
    return True


async def _work(rules: _InForce, stop: anyio.Event) -> None:
    """Run a worker until `stop` is set; interrupt it while the history is folded by rules with another meaning."""
    while not stop.is_set():
        await _until_either(stop, rules.afresh, partial(run, rules.settings))
        if rules.afresh.is_set() and not stop.is_set():
            await rules.apply_afresh()


async def _until_either(one: anyio.Event, other: anyio.Event, work: Callable[..., Awaitable[object]]) -> None:
    """Do work that takes an event as `stop`, until one of two is set."""
    ended = anyio.Event()

    async def end_with(event: anyio.Event) -> None:
        await event.wait()
        ended.set()

    async with anyio.create_task_group() as watching:
        watching.start_soon(end_with, one)
        watching.start_soon(end_with, other)
        await work(stop=ended)
        watching.cancel_scope.cancel()


def _print_addresses(box: Sandbox) -> None:
    screen.out().print(
        "a worker runs on private servers; Ctrl-C ends everything. In another shell, in this folder:\n"
        "  ach emit STREAM.jsonl     publishes recorded events\n"
        "  ach digest                prints a hash of the results\n"
        "  ach dead list             lists messages that the worker could not process\n"
        "Other programs, and other folders, find the servers by:\n"
        f"{exports(box.settings, box.servers.database_tcp_url)}",
    )


class _InForce:
    """The rule files that are in force, and what came of those that were tried since."""

    def __init__(self, settings: Settings, paths: Sequence[Path]) -> None:
        self.settings = settings
        self.paths = paths
        self.rules: Rules | None = None
        """Those that were deployed last."""
        self.afresh = anyio.Event()
        """A deployed version means something else now: all events are to be folded again, without a worker."""
        self.catching_up = False
        """Whether unlocks are announced that were there before, and are not news."""

    async def apply(self) -> None:
        """Read the files and deploy them; print what changed, or what is wrong."""
        rules = self._read()
        if rules is None:
            return
        try:
            applied = await deploy(self.settings, rules, by="dev", accept_contracts=True)
        except (MeaningChangedError, BeginsEarlierError):
            self.afresh.set()
            return
        except RulesRefusedError as error:
            screen.fail(str(error))
            self._print_refusal()
            return
        self._note(rules, applied)

    async def apply_afresh(self) -> None:
        """Deploy the files as if they had always been in force; print who earns what now, and who no longer."""
        self.afresh = anyio.Event()
        rules = self._read()
        if rules is None:
            return
        try:
            afresh = await deploy_afresh(self.settings, rules, by="dev")
        except RulesRefusedError as error:
            screen.fail(str(error))
            self._print_refusal()
            return
        self.catching_up = True
        screen.out().print("the rules mean something else now: all events are judged again")
        self._note(rules, afresh.applied)
        for line in held_lines(afresh.gained, "earned", afresh.lost, "no longer earned"):
            screen.out().say(line)

    def _read(self) -> RuleSet | None:
        """Read the files and print their problems; return None where they cannot be used."""
        rules = load(self.paths)
        if rules.problems:
            print_problems(rules)
        if rules.errors:
            self._print_refusal()
            return None
        return rules

    def _note(self, rules: RuleSet, applied: Applied) -> None:
        if applied.changed:
            screen.out().print(f"in force: epoch {applied.epoch}, {len(rules.rules.achievements)} achievements")
        if self.rules is not None:
            for line in changes(self.rules, rules.rules) or ["  no rule changed"]:
                screen.out().say(line)
        self.rules = rules.rules

    def _print_refusal(self) -> None:
        if self.rules is not None:
            screen.out().print("the rules from before stay in force")


async def _watch_files(rules: _InForce) -> None:
    before = await anyio.to_thread.run_sync(_stamps, rules.paths)
    while True:
        await anyio.sleep(LOOK_SECONDS)
        now = await anyio.to_thread.run_sync(_stamps, rules.paths)
        if now != before and now is not None:
            with command_errors(rules.settings):
                await rules.apply()
        before = now


async def _print_undeclared(rules: _InForce, *, task_status: TaskStatus[None]) -> None:
    """Print each event type that is published and not declared, once."""
    undeclared = Undeclared()

    def show(body: bytes) -> None:
        if rules.rules is not None:
            for line in undeclared.lines_of(body, rules.rules.events):
                screen.out().say(line, style="yellow")

    async with open_broker(rules.settings) as broker:
        await listen(broker.client, f"{rules.settings.input_prefix}.>", show)
        task_status.started()
        await anyio.sleep_forever()


async def _print_dead_letters(settings: Settings, *, task_status: TaskStatus[None]) -> None:
    """Print dead letters as they come; of many at once the last ones."""
    async with open_store(settings.database_url, pooler=settings.pooler) as store:
        seen = await last_letter(store)
        task_status.started()
        while True:
            await anyio.sleep(LOOK_SECONDS)
            last = await last_letter(store)
            if last == seen:
                continue
            found = [one for one in await list_letters(store, limit=SHOWN_LETTERS) if one.dead_letter_id > seen]
            for letter in reversed(found):
                screen.out().say(letter_line(letter), style="red")
            if last - seen > SHOWN_LETTERS:
                screen.out().print("and more: ach dead list")
            seen = last


def _stamps(paths: Sequence[Path]) -> dict[str, int] | None:
    """Return when each rule file was changed (nanoseconds); None while an editor has one moved away."""
    try:
        return {str(path): path.stat().st_mtime_ns for path in find(paths)}
    except (NoRulesError, OSError):
        return None


_announced = msgspec.json.Decoder(MESSAGES)


def line_of(message: Named) -> str:
    """Return the line that is printed of an announcement."""
    name = full_name(message.achievement, message.tier, message.occurrence)
    unlock = f"{message.tenant_id} {message.subject} {name}"
    match message:
        case Granted():
            origin = "" if message.origin == "live" else f", {message.origin}"
            return f"unlock: {unlock} earned {message.earned_at}{origin}"
        case Corrected():
            because = f": {message.reason}" if message.reason else ""
            kind = message.__struct_config__.tag
            return f"{kind}: {unlock} (revision {message.revision}), {message.status} now{because}"
        case _:
            return f"{message.__struct_config__.tag}: {unlock} (revision {message.revision})"


async def _print_announcements(settings: Settings, rules: _InForce) -> None:
    """Print unlocks and corrections as they are announced; those that all events earn again are no news."""

    def show(body: bytes) -> None:
        message = _announced.decode(body)
        if isinstance(message, Granted) and message.origin == "backfill" and rules.catching_up:
            return
        rules.catching_up = False
        screen.out().say(line_of(message))

    async with open_broker(settings) as broker:
        await listen(broker.client, f"{settings.unlock_prefix}.>", show)
        await anyio.sleep_forever()
