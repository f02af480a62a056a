"""`ach demo`: real histories through private servers and a worker, and what was earned.

A demo that was interrupted goes on where it was: what the ledger has is not taken twice. One that was finished begins
anew.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from worker.admin.results import Stored, read_results
from worker.app import run
from worker.broker.outgoing import outgoing
from worker.broker.publish import Publisher
from worker.broker.streams import open_broker
from worker.commands.replaying import tell_unlocks
from worker.engine.replay import Expected
from worker.engine.stats import Stats, percentile
from worker.local.embedded import EmbeddedError, empty, stop_detached
from worker.local.sandbox import Sandbox, deploy, rules_in_force, sandbox
from worker.pipeline.dead_letters import count_letters
from worker.process import logs
from worker.process.loop import run_async
from worker.process.signals import ImpatientError, stop_on_signals
from worker.recording import lines
from worker.report import screen
from worker.rulefiles import load
from worker.server_errors import CommandError, told
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.broker.publish import Outgoing

STREAMS: Final = ("lark", "flask")
FINISHED: Final = "finished"
"""A file in the data folder that says that the last demo came to its end."""
LOOK_SECONDS: Final = 0.2
PACE: Final = 1000
"""Events a second of the first history: latency under a load that a worker can bear, not of a queue."""
TICK_SECONDS: Final = 0.01


def fixtures() -> Path:
    """Return the folder with the demo's rules and streams.

    Raises:
        CommandError: this installation has none.
    """
    folder = Path(__file__).resolve().parents[2] / "fixtures"
    if not folder.is_dir():
        raise CommandError("this installation has no recorded streams", "run the demo in a clone of the repository")
    return folder


def demo_command(folder: Path, *, keep: bool, stop: bool) -> bool:
    """Run the demo, or stop servers that one has left running; tell whether all went well."""
    logs.quiet()
    try:
        if stop:
            ended = run_async(partial(stop_detached, folder))
            screen.out().print(f"stopped {screen.plural(len(ended), 'server')}")
            return True
        return run_async(partial(_demo, folder, keep=keep))
    except CommandError as error:
        screen.fail(str(error), error.hint)
        return False
    except EmbeddedError as error:
        screen.fail(str(error))  # with its hint
        return False
    except (ImpatientError, KeyboardInterrupt):
        return False


async def _demo(folder: Path, *, keep: bool) -> bool:
    _prepare(folder)
    async with stop_on_signals() as stop, sandbox(folder, Settings(), durable=True, detach=keep) as box:
        try:
            with told(box.settings):
                shown = await _work(box, stop)
            if stop.is_set():
                screen.out().print("stopped; start it again and it goes on where it was")
                return False
            (folder / FINISHED).touch()
        finally:
            if keep:  # they run on, however this ends
                _tell_addresses(box, folder)
    return shown


def _prepare(folder: Path) -> None:
    if (folder / FINISHED).exists():
        empty(folder)
    elif folder.exists() and any(folder.iterdir()):
        screen.out().print(f"an earlier demo was interrupted; going on with what is in {folder}")


class _TimedStats(Stats):
    """Stats that also keep the latency of each unlock: the summary shows exact percentiles."""

    def __init__(self) -> None:
        super().__init__()
        self.latencies: list[float] = []

    def count_latency(self, seconds: float) -> None:
        super().count_latency(seconds)
        self.latencies.append(seconds)


class _Show:
    """The line of progress, and what was measured."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.stats = _TimedStats()
        self.stored = 0
        self.steady: list[float] = []
        """Seconds from publish to unlock while events come at a steady pace."""
        self.flood: tuple[float, int] = (0.0, 0)
        """When the rest was published at once, and how many messages were done by then."""
        self._before = (monotonic(), 0)
        self._rate = 0.0

    def line(self) -> str:
        """Return what goes on at this moment."""
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


async def _work(box: Sandbox, stop: anyio.Event) -> bool:
    folder, settings = fixtures(), box.settings
    rules = load([folder / "rules" / "commits.ach"])
    screen.out().print(f"servers: NATS on {settings.nats_url}, PostgreSQL in {settings.database_url}")
    applied = await deploy(settings, rules, by="demo")
    screen.out().print(f"rules:   commits.ach, {len(rules.rules.achievements)} achievements, epoch {applied.epoch}")
    steady, flood = (list(lines([str(folder / "streams" / f"{name}.jsonl.gz")])) for name in STREAMS)
    screen.out().print(
        f"events:  {len(steady):,} of the history of {STREAMS[0]}, {PACE:,} a second, "
        f"then {len(flood):,} of {STREAMS[1]} at once"
    )
    show = _Show(len(steady) + len(flood))
    await _run(settings, show, stop, steady, flood)
    if stop.is_set():
        return False
    rate = show.throughput()
    async with open_store(settings.database_url) as store:
        stored = await read_results(store, await rules_in_force(settings))
        dead = await count_letters(store)
    _tell(show, stored, dead, rate)
    return _compare(folder, stored)


async def _run(settings: Settings, show: _Show, stop: anyio.Event, steady: list[bytes], flood: list[bytes]) -> None:
    """Publish and work at the same time, until everything that was published is done."""
    published = anyio.Event()

    async def produce() -> None:
        async with open_broker(settings) as broker:
            publisher = Publisher(broker.client.window)
            await _publish_steadily(publisher, show, stop, _messages(settings, steady))
            await _caught_up(show, stop)
            show.steady = list(show.stats.latencies)
            show.flood = (monotonic(), show.stats.messages)
            await _publish(publisher, show, [] if stop.is_set() else _messages(settings, flood))
        published.set()

    with screen.status("starting") as tell:
        async with anyio.create_task_group() as company:
            company.start_soon(_tell_progress, show, tell)
            async with anyio.create_task_group() as both:
                both.start_soon(produce)
                both.start_soon(partial(run, settings, stop=stop, stats=show.stats, drain=published))
            company.cancel_scope.cancel()


def _messages(settings: Settings, stream: list[bytes]) -> list[Outgoing]:
    # No message ids: the broker would drop the copies in these histories, and the ledger should show that it can.
    return list(outgoing(stream, settings.input_prefix, dedup=False))


async def _publish(publisher: Publisher, show: _Show, messages: list[Outgoing]) -> None:
    before = publisher.stored

    def on_progress(stored: int) -> None:
        show.stored = stored

    await publisher.publish(messages, on_progress)
    show.stored = before + len(messages)


async def _publish_steadily(publisher: Publisher, show: _Show, stop: anyio.Event, messages: list[Outgoing]) -> None:
    began, done = monotonic(), 0
    while done < len(messages) and not stop.is_set():
        due = min(len(messages), int((monotonic() - began) * PACE) + 1)
        await _publish(publisher, show, messages[done:due])
        done = due
        await anyio.sleep(TICK_SECONDS)


async def _caught_up(show: _Show, stop: anyio.Event) -> None:
    # Counts are looked at, here as in the line of progress; they tell nobody that they have moved.
    while show.stats.messages < show.stored and not stop.is_set():  # noqa: ASYNC110
        await anyio.sleep(TICK_SECONDS)


async def _tell_progress(show: _Show, tell: Callable[[str], None]) -> None:
    while True:
        tell(show.line())
        await anyio.sleep(LOOK_SECONDS / 2)


# -- the summary ------------------------------------------------------------------------------------------------------


def _tell(show: _Show, stored: Stored, dead: dict[str, int], rate: float) -> None:
    stats = show.stats
    screen.out().print()
    tell_unlocks(stored.unlocks)
    letters = ", ".join(f"{number:,} {reason}" for reason, number in sorted(dead.items())) or "none"
    p50, p99 = (_milliseconds(percentile(show.steady, share)) for share in (0.5, 0.99))
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


def _tell_addresses(box: Sandbox, folder: Path) -> None:
    screen.out().print(
        "\nthe servers are still running:\n"
        f"  export NATS_URL={box.servers.nats_url}\n"
        f'  export DATABASE_URL="{box.servers.database_url}"\n'
        f"  ach digest; ach dead list\n"
        f"  ach demo --stop --data {folder}    ends them",
    )
