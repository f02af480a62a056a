"""`ach dev`: private servers and a worker to try rules on. Files that change are put into force at once."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import click
import msgspec

from worker.admin.rollout import MeaningChangedError
from worker.app import run
from worker.broker.publish import listen
from worker.broker.streams import open_broker
from worker.commands.checked_rules import print_problems, usable_rules
from worker.commands.options import PATHS, rules_argument
from worker.commands.pages import show_pages
from worker.commands.servers import command_errors, on_private_servers
from worker.engine.announcement import MESSAGES, Corrected, Granted
from worker.engine.rule_set import RulesRefusedError
from worker.local.sandbox import deploy, sandbox
from worker.local.servers import empty
from worker.process.signals import stop_on_signals
from worker.report import screen
from worker.rulefiles import NoRulesError, find, load
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.engine.announcement import Named
    from worker.local.sandbox import Sandbox

LOOK_SECONDS: Final = 0.5
"""Between two looks at the rule files."""


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
    async with stop_on_signals() as stop, sandbox(folder, Settings(), durable=True) as box:
        with command_errors(box.settings):
            await _apply(box.settings, paths)
        _print_addresses(box)
        async with anyio.create_task_group() as company:
            company.start_soon(_watch_files, box.settings, paths)
            company.start_soon(_print_announcements, box.settings)
            company.start_soon(partial(show_pages, box.settings, person="dev", stop=stop))
            with command_errors(box.settings):
                await run(box.settings, stop=stop)
            company.cancel_scope.cancel()
    return True


def _print_addresses(box: Sandbox) -> None:
    screen.out().print(
        "a worker runs on private servers; Ctrl-C ends everything. In another shell:\n"
        f"  export NATS_URL={box.servers.nats_url}\n"
        f'  export DATABASE_URL="{box.servers.database_url}"\n'
        "  ach emit STREAM.jsonl     publishes recorded events\n"
        "  ach digest                prints a hash of the results\n"
        "  ach dead list             lists messages that the worker could not process\n",
    )


async def _apply(settings: Settings, paths: Sequence[Path]) -> None:
    rules = load(paths)
    if rules.problems:
        print_problems(rules)
    if rules.errors:
        return
    try:
        applied = await deploy(settings, rules, by="dev")
    except (MeaningChangedError, RulesRefusedError) as error:
        screen.fail(str(error), "in development, `ach dev --fresh` forgets what was deployed")
        return
    if applied.changed:
        screen.out().print(f"in force: epoch {applied.epoch}, {len(rules.rules.achievements)} achievements")


async def _watch_files(settings: Settings, paths: Sequence[Path]) -> None:
    before = await anyio.to_thread.run_sync(_stamps, paths)
    while True:
        await anyio.sleep(LOOK_SECONDS)
        now = await anyio.to_thread.run_sync(_stamps, paths)
        if now != before and now is not None:
            with command_errors(settings):
                await _apply(settings, paths)
        before = now


def _stamps(paths: Sequence[Path]) -> dict[str, int] | None:
    """Return when each rule file was changed (nanoseconds); None while an editor has one moved away."""
    try:
        return {str(path): path.stat().st_mtime_ns for path in find(paths)}
    except (NoRulesError, OSError):
        return None


_announced = msgspec.json.Decoder(MESSAGES)


def line_of(message: Named) -> str:
    """Return the line that is printed of an announcement."""
    name = message.achievement + (f".{message.tier}" if message.tier else "")
    occurrence = f" [{message.occurrence}]" if message.occurrence else ""
    unlock = f"{message.tenant_id} {message.subject} {name}{occurrence}"
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


async def _print_announcements(settings: Settings) -> None:
    """Print unlocks and corrections as they are announced."""

    def show(body: bytes) -> None:
        screen.out().say(line_of(_announced.decode(body)))

    async with open_broker(settings) as broker:
        await listen(broker.client, f"{settings.unlock_prefix}.>", show)
        await anyio.sleep_forever()
