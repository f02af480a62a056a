"""`ach dev`: private servers and a worker to try rules on; files that change are put into force at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from worker.admin.rollout import MeaningChangedError
from worker.app import run
from worker.broker.publish import listen
from worker.broker.streams import open_broker
from worker.commands.authoring import tell_problems
from worker.engine.announcement import MESSAGES, Corrected, Granted
from worker.engine.rule_set import RulesRefusedError
from worker.local.locks import EmbeddedError
from worker.local.sandbox import deploy, sandbox
from worker.local.servers import empty
from worker.process import logs
from worker.process.loop import run_async
from worker.process.signals import ImpatientError, stop_on_signals
from worker.report import screen
from worker.rulefiles import NoRulesError, find, load
from worker.server_errors import CommandError, told
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.engine.announcement import Named
    from worker.local.sandbox import Sandbox

LOOK_SECONDS: Final = 0.5
"""Between two looks at the rule files."""


def dev_command(paths: Sequence[Path], folder: Path, *, fresh: bool) -> bool:
    """Run until Ctrl-C; tell whether all went well."""
    logs.quiet()
    try:
        if fresh:
            empty(folder)
        run_async(partial(_dev, paths, folder))
    except CommandError as error:
        screen.fail(str(error), error.hint)
        return False
    except EmbeddedError as error:
        screen.fail(str(error))  # with its hint
        return False
    except (ImpatientError, KeyboardInterrupt):
        return False
    return True


async def _dev(paths: Sequence[Path], folder: Path) -> None:
    async with stop_on_signals() as stop, sandbox(folder, Settings(), durable=True) as box:
        with told(box.settings):
            await _apply(box.settings, paths)
        _tell_addresses(box)
        async with anyio.create_task_group() as company:
            company.start_soon(_watch_files, box.settings, paths)
            company.start_soon(_tell_unlocks, box.settings)
            with told(box.settings):
                await run(box.settings, stop=stop)
            company.cancel_scope.cancel()


def _tell_addresses(box: Sandbox) -> None:
    screen.out().print(
        "a worker runs on private servers; Ctrl-C ends everything. In another shell:\n"
        f"  export NATS_URL={box.servers.nats_url}\n"
        f'  export DATABASE_URL="{box.servers.database_url}"\n'
        "  ach emit STREAM.jsonl     publishes recorded events\n"
        "  ach digest                tells what has come out\n"
        "  ach dead list             lists what was no event\n",
    )


async def _apply(settings: Settings, paths: Sequence[Path]) -> None:
    rules = load(paths)
    if rules.problems:
        tell_problems(rules)
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
            with told(settings):
                await _apply(settings, paths)
        before = now


def _stamps(paths: Sequence[Path]) -> dict[str, int] | None:
    """Return when each rule file was changed; None while an editor has one taken away."""
    try:
        return {str(path): path.stat().st_mtime_ns for path in find(paths)}
    except (NoRulesError, OSError):
        return None


_announced = msgspec.json.Decoder(MESSAGES)


def line_of(message: Named) -> str:
    """Return what is printed of an announcement."""
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


async def _tell_unlocks(settings: Settings) -> None:
    """Print unlocks, and what becomes of them, as that is announced."""

    def tell(body: bytes) -> None:
        screen.out().say(line_of(_announced.decode(body)))

    async with open_broker(settings) as broker:
        await listen(broker.client, f"{settings.unlock_prefix}.>", tell)
        await anyio.sleep_forever()
