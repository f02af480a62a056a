"""`ach demo`: real histories through private servers and a worker, and what was earned.

A demo that was interrupted goes on where it was: what the ledger has is not taken twice. One that was finished starts
again from nothing.
"""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio
import click
import msgspec

from worker.admin.results import Stored, read_results
from worker.app import run
from worker.broker.outgoing import outgoing
from worker.broker.publish import Publisher
from worker.broker.streams import open_broker
from worker.commands.options import PATHS
from worker.commands.pages import exports, path_lines, show_pages
from worker.commands.servers import CommandError, command_errors, on_private_servers
from worker.commands.unlock_totals import print_unlock_totals
from worker.engine.minutes import LATENCY_BUCKETS
from worker.engine.replay import Expected
from worker.engine.stats import Stats, percentile
from worker.local.sandbox import Sandbox, deploy, rules_in_force, sandbox
from worker.local.servers import empty, stop_detached
from worker.pipeline.dead_letters import count_letters
from worker.process.signals import stop_on_signals
from worker.recording import lines
from worker.report import screen
from worker.report.bars import histogram
from worker.rulefiles import load
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.broker.publish import Outgoing

STREAMS: Final = ("lark", "flask")
FINISHED: Final = "finished"
"""A file in the data folder that says that the last demo came to its end."""
_WORKER: Final = Path(__file__).resolve().parents[1]
_FIXTURES: Final = (_WORKER / "fixtures", _WORKER.parent / "fixtures")
"""An installed package has the recorded streams in `worker`, the project has them beside it."""
LOOK_SECONDS: Final = 0.2
PACE: Final = 1000
"""Events a second of the first history: latency under a load that a worker can bear, not of a queue."""
TICK_SECONDS: Final = 0.01
NEXT: Final = """\
  ach demo --keep      the same, then console and API in a browser: who earned what, when and why
  ach init lessons     first rules of your own, with an example, and events to send
  docs/tutorial.md     from there to an unlock in the console, in ten minutes"""
"""What is worth doing after a demo."""


@click.command("demo")
@click.option(
    "--keep",
    is_flag=True,
    help="Go on at the end, with the console and the API to look around; Ctrl-C ends everything.",
)
@click.option("--stop", is_flag=True, help="Stop servers that a demo has left running, as it was killed.")
@click.option(
    "--data", "folder", default=".ach/demo", show_default=True, type=PATHS, help="Where the servers keep their data."
)
def command(folder: Path, *, keep: bool, stop: bool) -> None:
    """See it work: two recorded histories through private servers and a worker, and what was earned."""
    work = partial(_stop, folder) if stop else partial(_demo, folder, keep=keep)
    sys.exit(0 if on_private_servers(work) else 1)


async def _stop(folder: Path) -> bool:
    ended = await stop_detached(folder)
    screen.out().print(f"stopped {screen.plural(len(ended), 'server')}")
    return True


async def _demo(folder: Path, *, keep: bool) -> bool:
    interrupted = _prepare(folder)
    async with stop_on_signals() as stop, sandbox(folder, Settings(), durable=True) as box:
        if interrupted:  # said here, where no other demo has the folder
            screen.out().print(f"an earlier demo was interrupted; going on with what is in {folder}")
        with command_errors(box.settings):
            good = await _work(box, stop)
            if stop.is_set():
                screen.out().print("stopped; start it again and it goes on where it was")
                return False
            (folder / FINISHED).touch()
            if keep:
                await _look_around(box, stop)
    if not keep:
        screen.out().print("\n".join(("\nnext:", *(f"  {line}" for line in path_lines()), NEXT)))
    return good


async def _look_around(box: Sandbox, stop: anyio.Event) -> None:
    """Show what there is until `stop` is set, beside a worker for what comes yet."""
    screen.out().print(
        "\nto look around; Ctrl-C ends everything. In another shell:\n"
        f"{exports(box.settings)}"
        "  ach digest; ach dead list\n"
    )
    async with anyio.create_task_group() as company:
        company.start_soon(partial(show_pages, box.settings, person="demo", stop=stop))
        await run(box.settings, stop=stop)
        company.cancel_scope.cancel()


def _prepare(folder: Path) -> bool:
    """Empty the folder of a demo that was finished; return whether it has something that a demo has begun."""
    if (folder / FINISHED).exists():
        empty(folder)
    return any((folder / kept).exists() for kept in ("nats", "postgres"))


class _TimedStats(Stats):
    """Stats that also keep the latency of each unlock: the summary shows exact percentiles."""

    def __init__(self) -> None:
        super().__init__()
        self.latencies: list[float] = []

    def count_latency(self, seconds: float) -> None:
        super().count_latency(seconds)
        self.latencies.append(seconds)


class _Measured:
    """What is measured while the demo runs, and the line of progress that shows it."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.stats = _TimedStats()
        self.stored = 0
        self.steady: list[float] = []
        """Seconds from publish to unlock while events come at a steady pace."""
        self.flood: tuple[float, int] = (0.0, 0)
        """The moment when the rest was published at once, and how many messages were done by then."""
        self._before = (monotonic(), 0)
        self._rate = 0.0

    def line(self) -> str:
        """Return the line of progress."""
        now, done = monotonic(), self.stats.messages
        at, before = self._before
        if now - at >= LOOK_SECONDS:
            self._rate = (done - before) / (now - at)
            self._before = (now, done)
        lag = max(0, self.stored - done)
        return (
            f"published {self.stored:,} of {self.total:,}   done {done:,} ({self._rate:,.0f} events/s)   "
            f"lag {lag:,}   unlocks {self.stats.unlocks:,}"
        )

    def throughput(self) -> float:
        """Return messages a second while all that is left had been published at once."""
        at, done = self.flood
        return (self.stats.messages - done) / (monotonic() - at)


def _fixtures() -> Path:
    """Return the folder with the demo's rules and streams.

    Raises:
        CommandError: this installation has none.
    """
    for folder in _FIXTURES:
        if folder.is_dir():
            return folder
    raise CommandError("this installation has no recorded streams", "run the demo in a clone of the repository")


async def _work(box: Sandbox, stop: anyio.Event) -> bool:
    folder, settings = _fixtures(), box.settings
    rules = load([folder / "rules" / "commits.ach"])
    screen.out().print(f"servers: NATS on {settings.nats_url}, PostgreSQL in {settings.database_url}")
    applied = await deploy(settings, rules, by="demo")
    screen.out().print(f"rules:   commits.ach, {len(rules.rules.achievements)} achievements, epoch {applied.epoch}")
    steady, flood = (list(lines([str(folder / "streams" / f"{name}.jsonl.gz")])) for name in STREAMS)
    screen.out().print(
        f"events:  {len(steady):,} of the history of {STREAMS[0]}, {PACE:,} a second, "
        f"then {len(flood):,} of {STREAMS[1]} at once"
    )
    measured = _Measured(len(steady) + len(flood))
    await _run(settings, measured, stop, steady, flood)
    if stop.is_set():
        return False
    rate = measured.throughput()
    async with open_store(settings.database_url, pooler=settings.pooler) as store:
        stored = await read_results(store, await rules_in_force(settings))
        dead = await count_letters(store)
    _print_summary(measured, stored, dead, rate)
    return _compare(folder, stored)


async def _run(
    settings: Settings, measured: _Measured, stop: anyio.Event, steady: list[bytes], flood: list[bytes]
) -> None:
    """Publish and work at the same time, until everything that was published is done."""
    published = anyio.Event()

    async def produce() -> None:
        async with open_broker(settings) as broker:
            publisher = Publisher(broker.client.window)
            await _publish_steadily(publisher, measured, stop, _messages(settings, steady))
            await _caught_up(measured, stop)
            measured.steady = list(measured.stats.latencies)
            measured.flood = (monotonic(), measured.stats.messages)
            await _publish(publisher, measured, [] if stop.is_set() else _messages(settings, flood))
        published.set()

    with screen.status("starting") as show_line:
        async with anyio.create_task_group() as company:
            company.start_soon(_show_progress, measured, show_line)
            async with anyio.create_task_group() as both:
                both.start_soon(produce)
                both.start_soon(partial(run, settings, stop=stop, stats=measured.stats, drain=published))
            company.cancel_scope.cancel()


def _messages(settings: Settings, stream: list[bytes]) -> list[Outgoing]:
    # No message ids: the broker would drop the copies in these histories, and the ledger should measured that it can.
    return list(outgoing(stream, settings.input_prefix, dedup=False))


async def _publish(publisher: Publisher, measured: _Measured, messages: list[Outgoing]) -> None:
    before = publisher.stored

    def on_progress(stored: int) -> None:
        measured.stored = stored

    await publisher.publish(messages, on_progress)
    measured.stored = before + len(messages)


async def _publish_steadily(
    publisher: Publisher, measured: _Measured, stop: anyio.Event, messages: list[Outgoing]
) -> None:
    began, done = monotonic(), 0
    while done < len(messages) and not stop.is_set():
        due = min(len(messages), int((monotonic() - began) * PACE) + 1)
        await _publish(publisher, measured, messages[done:due])
        done = due
        await anyio.sleep(TICK_SECONDS)


async def _caught_up(measured: _Measured, stop: anyio.Event) -> None:
    # Polled, as in the line of progress: the counts signal no change.
    while measured.stats.messages < measured.stored and not stop.is_set():  # noqa: ASYNC110
        await anyio.sleep(TICK_SECONDS)


async def _show_progress(measured: _Measured, show_line: Callable[[str], None]) -> None:
    while True:
        show_line(measured.line())
        await anyio.sleep(LOOK_SECONDS / 2)


# -- the summary ------------------------------------------------------------------------------------------------------


def _print_summary(measured: _Measured, stored: Stored, dead: dict[str, int], rate: float) -> None:
    stats = measured.stats
    screen.out().print()
    print_unlock_totals(stored.unlocks)
    letters = ", ".join(f"{number:,} {reason}" for reason, number in sorted(dead.items())) or "none"
    p50, p99 = (_milliseconds(percentile(measured.steady, share)) for share in (0.5, 0.99))
    screen.out().print()
    for name, said in (
        ("events", f"{stats.events:,} new, {stats.late:,} of them late"),
        ("duplicates", f"{stats.duplicates:,} dropped"),
        ("dead letters", letters),
        ("contested", f"{len(stored.contested):,}"),
        ("throughput", f"{rate:,.0f} events/s, all published at once"),
        ("publish to unlock", f"p50 {p50}, p99 {p99}, at {PACE:,} events/s"),
        ("digest", stored.digest),
    ):
        screen.out().print(f"{name:<19}{said}")
    _print_latencies(measured.steady)


def _print_latencies(seconds: list[float]) -> None:
    """Print how many unlocks took how long from publish to announcement."""
    if seconds:
        screen.out().print("\nunlocks by time from publish, while events came steadily")
    for line in histogram(seconds, LATENCY_BUCKETS, _milliseconds):
        screen.out().print(f"  {line}")


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:,.0f} ms"


def _compare(folder: Path, stored: Stored) -> bool:
    wanted: Counter[object] = Counter()
    for name in STREAMS:
        expected = msgspec.json.decode((folder / "streams" / f"{name}.expected.json").read_bytes(), type=Expected)
        wanted.update(expected.unlocks)
    good = wanted == Counter(stored.unlocks)
    said = "exactly as expected" if good else "NOT as expected"
    screen.out().print(f"\n{len(stored.unlocks):,} unlocks, {said}", style="bold green" if good else "bold red")
    return good
