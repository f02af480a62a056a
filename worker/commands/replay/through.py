"""`ach replay --through-worker`: private servers, and a worker that drains the stream."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from worker.local.replay_worker import replay_through
from worker.process import logs
from worker.process.loop import run_async
from worker.recording import lines
from worker.report import screen

if TYPE_CHECKING:
    from dsl.ruleset import RuleSet
    from worker.commands.replay.request import Request
    from worker.engine.replay import Result


def run_through(rules: RuleSet, request: Request) -> Result:
    """Replay through a worker.

    Raises:
        EmbeddedError: the servers cannot be started.
    """
    logs.quiet()
    messages = list(lines(request.streams))
    with screen.status("starting servers", quiet=request.quiet) as show:
        work = partial(
            replay_through,
            rules,
            messages,
            now=request.now,
            on_progress=lambda what, done: show(f"{what} {done:,} of {len(messages):,} messages"),
        )
        return run_async(work)
