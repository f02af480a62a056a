"""A process that has the worker imported and forks a worker wherever one is asked for: a start costs 20 ms.

Requests come as JSON lines on standard input, what happens goes as JSON lines to standard output. When the input ends,
every worker is killed: none outlives the test. The forked processes are real ones, to kill, freeze and wake.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import anyio
import msgspec
from msgspec.structs import replace

from tests.faults.load import MORE, RULES, SETTLING
from tests.faults.points import Point, Points, instrumented
from worker.admin import pending
from worker.admin.backfill import PAUSE_SECONDS, backfill
from worker.admin.rebuild import Orders, rebuild
from worker.admin.rebuild_target import Target
from worker.admin.rollout import apply_rules
from worker.app import at_once, run, wall_clock
from worker.cli import main
from worker.engine import fast_users, folding
from worker.engine.rule_set import RuleFile, read_rules
from worker.engine.stats import Stats
from worker.process.loop import spare_collector
from worker.process.signals import stop_on_signals
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from types import FrameType
    from uuid import UUID

    from worker.engine.decide import Writes


class Job(msgspec.Struct, kw_only=True):
    """What a worker is to do, and where it is to die."""

    work: str
    """`serve`, `polite` (which stops in good order on SIGTERM), `drain`, `apply`, `change`, `rebuild`, or `command`."""
    settings: dict[str, Any]
    log: str
    rules: str = ""
    crash: Point | None = None
    record: str | None = None
    """File for the points that were passed."""
    fast: bool = False
    """Whether to run on uvloop."""
    arguments: tuple[str, ...] = ()
    """Of `command`, which is `ach` as a person calls it, in `folder`."""
    environment: dict[str, str] = {}
    folder: str = ""


CHECKPOINT_EVERY: Final = 5
"""Events between two checkpoints of a worker that dies at a point, so that a short life has some."""


EXPRESS_IS_WORTH_IT: Final = 0.0
"""Share of a batch: whatever can go the express way does, so that faults meet both ways."""


def tell(**said: object) -> None:
    """Write one line; shorter than a pipe's atomic size, so that lines of several processes do not mix."""
    os.write(3, json.dumps({"pid": os.getpid(), **said}).encode() + b"\n")


class Telling(Stats):
    """Stats that tell the test what has happened."""

    def count_batch(self, writes: Writes, seconds: float) -> None:
        """Tell of a committed batch."""
        super().count_batch(writes, seconds)
        tell(said="batch")

    def count_announced(self, unlock_id: UUID, *, new: bool, now: int) -> None:
        """Tell of an announcement."""
        super().count_announced(unlock_id, new=new, now=now)
        tell(said="announced")


async def work(job: Job) -> None:
    """Do what a worker does."""
    # Tests ask for an ack wait below a second, which no environment may: it alone is not converted.
    settings = msgspec.convert({**job.settings, "ack_wait": 1}, Settings)
    settings = replace(settings, ack_wait=job.settings["ack_wait"])
    if job.work == "rebuild":
        async with open_store(settings.database_url) as store:
            await rebuild(store, settings, Target(), Orders("test", wall_clock))
        return
    if job.work in {"apply", "change"}:
        async with open_store(settings.database_url) as store:
            await store.migrate(now=wall_clock())
            await apply_rules(store, [RuleFile("rules.ach", job.rules)], settings, by="test", now=wall_clock())
            spare_collector()
            pause = PAUSE_SECONDS if job.work == "change" else 0
            await backfill(store, settings, now=wall_clock, pause=pause)
        return
    drain = at_once() if job.work == "drain" else None
    async with AsyncExitStack() as stack:
        stop = await stack.enter_async_context(stop_on_signals()) if job.work == "polite" else None
        await run(settings, stats=Telling(), on_ready=lambda: tell(said="ready"), drain=drain, stop=stop)


def live(job: Job) -> None:
    """Be a worker, from the fork to the end."""
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if job.work == "command" and job.crash is None and job.record is None:
        command(job)
        return
    if job.crash is None and job.record is None:
        with patch.object(fast_users, "WORTH_IT", EXPRESS_IS_WORTH_IT):
            anyio.run(work, job, backend_options={"use_uvloop": job.fast})
        return
    points = Points(job.crash)
    try:
        with (
            instrumented(points),
            patch.object(folding, "CHECKPOINT_EVERY", CHECKPOINT_EVERY),
            patch.object(fast_users, "WORTH_IT", EXPRESS_IS_WORTH_IT),
        ):
            if job.work == "command":
                command(job)
            else:
                anyio.run(points.watch, work, job)
    finally:
        if job.record is not None:
            Path(job.record).write_bytes(msgspec.json.encode(points.passed))


def command(job: Job) -> None:
    """Be `ach`."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(job.folder)
    for name in [name for name in os.environ if name.startswith(("ACH_", "NATS_", "DATABASE_"))]:
        del os.environ[name]
    os.environ.update(job.environment)
    # What another process has begun is left, once that process is dead: tests start the next one then.
    with patch.object(pending, "PENDING_SILENT_SECONDS", 0.0):
        main(list(job.arguments))


def fork(job: Job) -> int:
    """Return the pid of a new worker."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        live(job)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException as error:  # noqa: BLE001 - whatever it was, it goes to the log
        sys.stderr.write(f"{error!r}\n")
        if isinstance(error, Exception):
            import traceback  # noqa: PLC0415

            traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def serve() -> None:
    """Serve requests until the input ends."""
    os.dup2(1, 3)
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, _awake)
    signal.set_wakeup_fd(writing)
    # The parser is made once, and not in every worker.
    for rules in (RULES, MORE, SETTLING):
        read_rules([RuleFile("rules.ach", rules)])
    living: set[int] = set()
    rest = b""
    while True:
        ready, _, _ = select.select([0, reading], [], [])
        if reading in ready:
            os.read(reading, 4096)
        living -= reap()
        if 0 not in ready:
            continue
        said = os.read(0, 65536)
        if not said:
            break
        *lines, rest = (rest + said).split(b"\n")
        for line in lines:
            pid = fork(msgspec.json.decode(line, type=Job))
            living.add(pid)
            tell(said="born", child=pid)
    for pid in living:
        os.kill(pid, signal.SIGKILL)


def _awake(_: int, __: FrameType | None) -> None:
    """Let the wake-up descriptor tell."""


def reap() -> set[int]:
    """Wait for dead children, and report them."""
    dead: set[int] = set()
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return dead
        if not pid:
            return dead
        dead.add(pid)
        tell(said="dead", child=pid, code=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    serve()
