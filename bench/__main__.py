"""`just bench`: everybody side by side, round after round, on one set of servers.

Results go to bench/results/latest.json, tables and charts to docs/performance.md. With --only or --quick nothing of
that is written unless --write asks for it: a part should not take the place of the whole.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import click
import msgspec

from bench import page, pathway_env
from bench.chart import draw
from bench.contestants import CONTESTANTS
from bench.events import Shape
from bench.machine import doubt, machine, versions
from bench.processes import ROOT, BenchError
from bench.results import MODES, Measured, Results, Row, of, rate
from bench.rig import rig
from bench.runs import Load, duplicated, killed, speed
from bench.soon import carried, latency
from worker.process import logs
from worker.process.loop import run_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence

    from bench.contestants import Contestant
    from bench.rig import Rig
    from bench.soon import Latency

EVENTS: Final = 200_000
ROUNDS: Final = 5
QUICK: Final = (10_000, 1)
"""Events and rounds of --quick."""
FEWEST: Final = 2000
"""Events of a run, however slow the contestant."""
FAULTY: Final = 0.15
"""Share of the events for the runs that judge what a fault leaves."""
TURNS: Final = 3
"""Measurements of what is carried, and of how soon unlocks are heard at half of it."""
LATENCY_SECONDS: Final = 9.0
LATENCY_EVENTS: Final = 200_000
"""At most; the fastest runs are shorter."""
LATEST: Final = ROOT / "bench" / "results" / "latest.json"
PAGE: Final = ROOT / "docs" / "performance.md"


class Bench:
    """One run of the benchmark: what it measures with, and what it has measured so far."""

    def __init__(self, rig: Rig, who: Sequence[Contestant], results: Results, folder: Path) -> None:
        self._rig = rig
        self._who = who
        self._results = results
        self._folder = folder
        self._loads: dict[Shape, Load] = {}

    async def run(self) -> None:
        """Measure everything. What fails is noted, and takes no further part."""
        for number, who in self._turns(self._results.rounds):
            for per in MODES:
                await self._try(who, f"round {number}, {per} a message", self._speed(who, per))
        for number, who in self._turns(TURNS):
            for per in MODES if who.announces else ():
                await self._try(who, f"half load {number}, {per} a message", self._half_load(who, per))
        for who in self._who:
            for per in MODES if who.announces else ():
                await self._try(who, f"half rate, {per} a message", self._half_rate(who, per))
            await self._try(who, "kill -9", self._killed(who))
            await self._try(who, "duplicates", self._duplicated(who))

    def _turns(self, rounds: int) -> Iterator[tuple[int, Contestant]]:
        """Yield everybody in every round, in another order each time: the machine has moods that last for minutes."""
        for number in range(rounds):
            turn = number % len(self._who)
            for who in (*self._who[turn:], *self._who[:turn]):
                yield number + 1, who

    async def _try(self, who: Contestant, what: str, work: Awaitable[str]) -> None:
        row = self._results.rows[who.key]
        began = perf_counter()
        try:
            said = row.skipped or await work
        except (BenchError, TimeoutError) as error:
            said = row.skipped = str(error).partition("\n")[0]
            print(error, file=sys.stderr)
        finally:
            if hasattr(work, "close"):
                work.close()  # pyright: ignore[reportAttributeAccessIssue]
        print(f"{who.key:<12}{what:<24}{said}  ({perf_counter() - began:.1f} s)", flush=True)

    def _load(self, events: float, *, late: float = 0.02, duplicates: float = 0.0) -> Load:
        shape = Shape(max(FEWEST, int(events)), late=late, duplicates=duplicates)
        return self._loads.setdefault(shape, Load(shape))

    async def _speed(self, who: Contestant, per: int) -> str:
        load = self._load(self._results.events * who.share)
        done = await speed(self._rig, who, load, per, self._folder)
        self._results.rows[who.key].by_mode.setdefault(str(per), Measured()).speeds.append(done)
        return f"{rate(done):>9,.0f} events/s, unlocks that differ: {done.differs}"

    async def _half_load(self, who: Contestant, per: int) -> str:
        """Measure what is carried, and at once how soon unlocks are heard at half of that: the machine has moods."""
        measured = self._results.rows[who.key].by_mode.setdefault(str(per), Measured())
        full = await carried(self._rig, who, self._load(self._results.events * who.share), per, self._folder)
        measured.carried.append(full)
        done = await self._latency(who, per, full / 2)
        measured.latencies.append(done)
        return f"{full:>9,.0f} events/s carried, at half of that {_said(done)}"

    async def _half_rate(self, who: Contestant, per: int) -> str:
        drained = of(self._results, who.key, per, rate)
        if drained is None:
            return "no rate to take the half of"
        done = await self._latency(who, per, drained.middle / 2)
        self._results.rows[who.key].by_mode[str(per)].drained = done
        return f"{done.rate:>9,.0f} events/s, {_said(done)}"

    async def _latency(self, who: Contestant, per: int, rate: float) -> Latency:
        load = Load(Shape(max(FEWEST, min(LATENCY_EVENTS, int(rate * LATENCY_SECONDS)))))
        return await latency(self._rig, who, load, per, rate, self._folder)

    async def _killed(self, who: Contestant) -> str:
        load = self._load(self._results.events * who.share * FAULTY, late=0)
        row = self._results.rows[who.key]
        seconds = row.by_mode[str(MODES[0])].speeds[0].drained.seconds * FAULTY
        row.killed = await killed(self._rig, who, load, self._folder, seconds=seconds)
        return "right" if row.killed.right else row.killed.said

    async def _duplicated(self, who: Contestant) -> str:
        load = self._load(self._results.events * who.share * FAULTY, late=0, duplicates=0.05)
        row = self._results.rows[who.key]
        row.duplicated = await duplicated(self._rig, who, load, self._folder)
        return "right" if row.duplicated.right else row.duplicated.said


def _said(done: Latency) -> str:
    return "nothing was timed" if done.p99 is None else f"p99 {done.p99 * 1000:.0f} ms of {done.unlocks:,} unlocks"


async def _measure(who: Sequence[Contestant], results: Results) -> None:
    with tempfile.TemporaryDirectory(prefix="ach-bench-logs-") as name:
        async with rig() as servers:
            results.versions |= await servers.versions()
            await Bench(servers, who, results, Path(name)).run()


def write(results: Results) -> None:
    """Write the results, the charts and the page."""
    LATEST.parent.mkdir(exist_ok=True)
    LATEST.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    charts = draw(results, PAGE.parent)
    before = PAGE.read_text() if PAGE.exists() else "# Performance\n"
    PAGE.write_text(page.merged(before, page.section(results, charts)))
    print(f"written: {LATEST.relative_to(ROOT)}, {PAGE.relative_to(ROOT)}")


@click.command()
@click.option("--events", type=click.IntRange(FEWEST), help=f"Events of a run ({EVENTS:,}).")
@click.option("--rounds", type=click.IntRange(1), help=f"Rounds ({ROUNDS}).")
@click.option("--only", metavar="KEYS", help=f"Of {', '.join(one.key for one in CONTESTANTS)}: these, with commas.")
@click.option("--quick", is_flag=True, help=f"{QUICK[0]:,} events, {QUICK[1]} round: to see that everything works.")
@click.option("--pathway", is_flag=True, help="Make Pathway's environment first, where it is missing (1.6 GB).")
@click.option(
    "--write/--no-write", "writes", default=None, help="Write results and page (default: if it is the whole)."
)
@click.option("--render", is_flag=True, help="Measure nothing: write the page anew from the latest results.")
def main(  # noqa: PLR0913 - the options
    events: int | None,
    rounds: int | None,
    only: str | None,
    *,
    quick: bool,
    pathway: bool,
    writes: bool | None,
    render: bool,
) -> None:
    """Measure the worker and what one would use instead, side by side."""
    if pathway and (why := pathway_env.install()):
        print(f"Pathway: {why}", file=sys.stderr)
    if render:
        write(msgspec.json.decode(LATEST.read_bytes(), type=Results))
        return
    chosen = None if only is None else only.split(",")
    if unknown := set(chosen or ()) - {one.key for one in CONTESTANTS}:
        raise click.UsageError(f"unknown: {', '.join(sorted(unknown))}")
    default_events, default_rounds = QUICK if quick else (EVENTS, ROUNDS)
    who = [one for one in CONTESTANTS if chosen is None or one.key in chosen]
    results = Results(
        measured_on=datetime.now(UTC).date().isoformat(),
        command=shlex.join(["just", "bench", *sys.argv[1:]]),
        machine=machine(),
        versions=versions(),
        events=events or default_events,
        rounds=rounds or default_rounds,
        rows={one.key: Row(one.title, one.differs, one.announces) for one in who},
    )
    for one in who:
        results.rows[one.key].skipped = one.missing() or ""
    if said := doubt():
        print(said, file=sys.stderr)
    logs.quiet()
    run_async(lambda: _measure(who, results))
    if writes if writes is not None else not (quick or only):
        write(results)
    else:
        print(page.section(results, ()))


if __name__ == "__main__":
    main(prog_name="just bench")
