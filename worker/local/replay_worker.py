"""A replay by a worker: private servers, the recorded stream published as it is, and a worker that drains it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import anyio
import msgspec

from worker.admin.results import read_results
from worker.app import at_once, run
from worker.broker.outgoing import outgoing
from worker.engine.replay import Counts, Result
from worker.engine.stats import Stats
from worker.local.sandbox import deploy, publish, rules_in_force, sandbox
from worker.settings import Clock, Settings
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dsl.ruleset import RuleSet


async def replay_through(
    rules: RuleSet, messages: Iterable[bytes], *, now: int, on_progress: Callable[[str, int], None]
) -> Result:
    """Run a recorded stream through NATS, a worker and PostgreSQL; `now` in microseconds.

    Events are published without message ids, so that the ledger has to find the copies among them.

    Raises:
        EmbeddedError: the servers cannot be started.
    """
    with TemporaryDirectory(prefix="ach-replay-") as folder:
        async with sandbox(Path(folder), Settings(clock=Clock.STREAM), durable=False) as box:
            return await replay_on(box.settings, rules, messages, now=now, on_progress=on_progress)


async def replay_on(
    settings: Settings,
    rules: RuleSet,
    messages: Iterable[bytes],
    *,
    now: int,
    on_progress: Callable[[str, int], None],
) -> Result:
    """Do the same on running servers, in an empty database."""
    # One writer: the stream decides which of two events with one id comes first, not a race.
    settings = msgspec.structs.replace(settings, writers=1)
    await deploy(settings, rules, by="replay")
    stats = Stats()
    sent = outgoing(messages, settings.input_prefix, dedup=False)
    published = await publish(settings, sent, lambda stored: on_progress("publishing", stored))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch, stats, on_progress)
        await run(settings, stats=stats, drain=at_once(), now=lambda: now)
        tasks.cancel_scope.cancel()
    async with open_store(settings.database_url, pooler=settings.pooler) as store:
        stored = await read_results(store, await rules_in_force(settings))
    counts = Counts(
        events=stats.events,
        duplicates=stats.duplicates,
        late=stats.late,
        suppressed=stored.suppressed,
        # A message that the broker refuses is dead as well.
        dead=sum(stats.dead.values()) + len(published.refused),
    )
    return Result(stored.digest, stored.unlocks, stored.contested, counts)


async def _watch(stats: Stats, on_progress: Callable[[str, int], None]) -> None:
    while True:
        on_progress("working", stats.messages)
        await anyio.sleep(0.1)
