"""`just curves`: what an event costs as rules, users, history, late events and the like grow.

Every point of a curve is a load and a database that `ach run` finds; the points take turns, round after round, on one
set of servers. Results go to bench/results/curves.json, tables and a chart to docs/performance.md between markers of
their own. With --only or --quick nothing of that is written unless --write asks for it.

A further curve is an entry of `CURVES`, with the sentence that explains its slope.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from enum import IntEnum
from functools import cache, partial
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import click
import msgspec

from bench import curve_page, preload
from bench.contestants import CONTESTANTS
from bench.curve_page import Curves, Drawn, Measured
from bench.drain import WARM, drain
from bench.events import SEED, Shape, make, messages
from bench.machine import doubt, machine, versions
from bench.page import merged
from bench.processes import ROOT, BenchError
from bench.publish import publish_all
from bench.rig import RULES, rig
from worker.process import logs
from worker.process.loop import run_async

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.drain import Drained
    from bench.events import Event
    from bench.rig import Arena, Rig

EVENTS: Final = 60_000
ROUNDS: Final = 3
QUICK: Final = (5000, 1)
"""Events and rounds of --quick."""
FEWEST: Final = 1000
FEWEST_WRITTEN: Final = 40_000
"""Events of a run that is published: with fewer, most are read already when counting begins."""
ACTIVE: Final = 600
"""Users of whom events come, however many are known."""
SEEDED: Final = 10_000
"""Events that a worker has worked off before: what is preloaded is made from them."""
SPARE: Final = 1.02
"""Times the events that are wanted, so that some may be left out."""
HOT: Final = "u-hot"
FULL_BYTES: Final = 30 * 10**9
"""Free on the disk for --full: ten million events with indexes and log, and a copy of them."""
LATEST: Final = ROOT / "bench" / "results" / "curves.json"
PAGE: Final = ROOT / "docs" / "performance.md"
WORKER: Final = next(one for one in CONTESTANTS if one.key == "worker")


class Part(IntEnum):
    """From which runs on a point takes part."""

    QUICK = 0
    USUAL = 1
    FULL = 2


class Point(NamedTuple):
    """One point of a curve: a load, and what it meets."""

    label: str
    rules: str = ""
    """In place of the benchmark's five."""
    late: float = 0.02
    duplicates: float = 0.0
    hot: float = 0.0
    """Share of the events that are one user's."""
    users: int = 0
    """Known when the run begins."""
    history: int = 0
    """Events in the ledger when it begins."""
    part: Part = Part.QUICK


class Curve(NamedTuple):
    """What is varied, and what is to be said about it."""

    title: str
    about: str
    points: Sequence[Point]
    why: str
    """What explains a slope, and its bound; shown where there is one."""


# -- rules -------------------------------------------------------------------------------------------------------------

_EVENT_TYPES: Final = """\
event lesson.completed { lesson_id: string, amount: int >= 0 }
event tutorial.finished {}
event project.created {}
"""
_DIFFERENT: Final = (
    'achievement different { title "Ten" when count(event=lesson.completed, distinct=lesson_id, >= 10) }\n'
)
_WEEK: Final = 'achievement week { title "Seven days" when streak(event=lesson.completed, per=day, >= 7) }\n'
_HUNDRED: Final = 'achievement hundred { title "A hundred" when count(event=lesson.completed, >= 100) }\n'
_RULES_A_TYPE: Final = 10
"""Achievements that hear the same event, of those that hear none of the load's."""
_OUT_OF_REACH: Final = 1_000_000


def many_rules(number: int) -> str:
    """Return a rule file with so many achievements, three of which hear the events of the load."""
    others = range(number - 3)
    types = "".join(f"event other.n{n} {{ amount: int >= 0 }}\n" for n in range(-(-len(others) // _RULES_A_TYPE)))
    return "".join((_EVENT_TYPES, types, _HUNDRED, _DIFFERENT, _WEEK, *map(_other, others)))


def _other(n: int) -> str:
    event = f"event=other.n{n // _RULES_A_TYPE}"
    conditions = (
        f"count({event}, >= {n % 50 + 1})",
        f"sum({event}, of=amount, >= {n % 500 + 10})",
        f"streak({event}, per=day, >= {n % 20 + 2})",
    )
    return f'achievement other{n} {{ title "Number {n}" when {conditions[n % len(conditions)]} }}\n'


def tiers(number: int) -> str:
    """Return a rule file with so many tiers on one count, the first of which comes into reach.

    The others do not: a further unlock costs what an unlock costs, and that is not what is asked here.
    """
    bounds = (10, *(_OUT_OF_REACH + n for n in range(1, number)))
    said = "\n".join(
        f"  tier t{n} {{ when count(event=lesson.completed, >= {n_th}) }}" for n, n_th in enumerate(bounds)
    )
    return f'{_EVENT_TYPES}{_DIFFERENT}{_WEEK}achievement lessons {{\n  title "Lessons"\n{said}\n}}\n'


# -- curves ------------------------------------------------------------------------------------------------------------

CURVES: Final = {
    "rules": Curve(
        "Rules deployed",
        "Three achievements hear the load's events, all others hear other types, ten achievements a type. Reading and"
        " compiling the rules, once when a worker starts, is not in it.",
        (
            Point("10", many_rules(10)),
            Point("100", many_rules(100)),
            Point("1,000", many_rules(1000)),
            Point("10,000", many_rules(10_000), part=Part.USUAL),
        ),
        "An event costs the operations that the plan lists for its type, and a state holds the slots that were touched;"
        " neither knows of other rules. What is left is memory: a larger program is spread over more of it, and caches"
        " of the processor miss more often. The bound is that of a miss for each object that an event touches.",
    ),
    "users": Curve(
        "Users known",
        f"The load is that of the same {ACTIVE} active users; all others have an event in the ledger, progress, and"
        " what they have unlocked, and lie between the active ones in every index.",
        (
            Point("10,000", users=10**4),
            Point("100,000", users=10**5),
            Point("1,000,000", users=10**6, part=Part.USUAL),
        ),
        "A worker keeps the states of those who are active; the database finds a row of `progress` and the place in the"
        " index `event_of_user_bin` by a B-tree, which is one level deeper for each hundred times as many users. In"
        " larger tables the active users share fewer pages: up to one page each is read, and logged in full after each"
        " checkpoint of the database. The bound is the number of active users, and not of those known.",
    ),
    "history": Curve(
        "Events in the ledger",
        f"Of the load's {ACTIVE} users and of {preload.COMPANIONS} times as many others, whose past grows; 2 % of the"
        " load come late. At 0, nobody is known.",
        (
            Point("0"),
            Point("100,000", history=10**5),
            Point("1,000,000", history=10**6, part=Part.USUAL),
            Point("10,000,000", history=10**7, part=Part.FULL),
        ),
        "Nothing reads the past: a late event is folded from a checkpoint. New ids go to the right edge of the primary"
        " key, whatever is left of it. The index `event_of_user_bin` gets each event at its user's own place: as long"
        " as that index is small, users share pages, and later each has one, which is read once and logged in full"
        " after each checkpoint of the database. The bound is one page for each active user, and a level of the B-trees"
        " for each hundred times as many events.",
    ),
    "late": Curve(
        "Late events",
        "The share of the events that arrive up to twelve hours after they happened.",
        (
            Point("0", late=0.0),
            Point("1 %", late=0.01),
            Point("10 %", late=0.1),
            Point("50 %", late=0.5),
        ),
        "A user who has done something since is folded again from the last checkpoint before the late event, once a"
        " batch: a deletion, a look for a checkpoint, and reading back what lies behind it. Checkpoints are 64 events"
        " apart where states are small, and what a late one is late by is folded on top; a user in every batch with a"
        " late event is the bound, so that a larger share costs less for each late event.",
    ),
    "duplicates": Curve(
        "Duplicates",
        "The share of the events that are published a second time; the number of messages is the same.",
        (
            Point("0", duplicates=0.0),
            Point("5 %", duplicates=0.05),
            Point("20 %", duplicates=0.2),
            Point("50 %", duplicates=0.5),
        ),
        "A copy is read, decoded and refused by the primary key, and what it says is compared with the ledger. A user"
        " who has one in a batch goes the long way there, in a second transaction of some eight statements; a large"
        " batch has many such users as soon as there are any copies at all, which is the step. A copy inserts, folds"
        " and logs nothing, so that more of them cost less again. The bound is one long way for each batch.",
    ),
    "hot": Curve(
        "A hot user",
        "One user with half of all events: with 2 % late events as everywhere else on this page, and with none.",
        (
            Point("nobody"),
            Point("half", hot=0.5),
            Point("half, none late", late=0.0, hot=0.5),
        ),
        "One user's events are one transaction after another: the writer who has that user has three quarters of all"
        " events, and the other one waits. A late event is folded again from the last checkpoint before it, and with so"
        " many events a day, hundreds lie behind it: that is read back once a batch. The bound is what happened since"
        " the late event happened, as long as sixteen checkpoints reach that far back.",
    ),
    "tiers": Curve(
        "Tiers on one aggregate",
        "Of one count, of which the first tier comes into reach.",
        (
            Point("1", tiers(1)),
            Point("10", tiers(10)),
            Point("100", tiers(100)),
        ),
        "The aggregate is stepped once however many tiers stand on it; each tier that is not earned yet is a judge that"
        " compares it with its bound. The slope is that comparison, some tenths of a microsecond; the bound is linear"
        " in the tiers that a user has not earned yet.",
    ),
}


def points_of(curve: Curve, part: Part) -> list[Point]:
    """Return the points that take part."""
    return [point for point in curve.points if point.part <= part]


# -- loads -------------------------------------------------------------------------------------------------------------


class Load(NamedTuple):
    """Events in the order of publishing: those that are worked off before, and those that are measured."""

    seed: list[Event]
    measured: list[Event]


@cache
def load(number: int, late: float, duplicates: float, hot: float) -> Load:
    """Return a load of so many messages."""
    wanted = SEEDED + int(number * SPARE) + SEEDED // 10
    shape = Shape(int(wanted / (1 + duplicates)), users=ACTIVE, late=late, duplicates=duplicates)
    events = make(shape)
    if hot:
        events = heated(events, hot)
    seed = events[:SEEDED]
    # What is late by so much that it belongs before the seed's end would be late by what was copied, too.
    end = max(event.at for event in seed)
    return Load(seed, [event for event in events[SEEDED:] if event.at > end][:number])


def heated(events: Sequence[Event], share: float) -> list[Event]:
    """Return events of which one user has a share; copies of one event stay the same."""
    dice = Random(SEED)  # noqa: S311 - reproducible on purpose
    drawn: dict[str, bool] = {}
    return [
        event._replace(user=HOT, body=event.body.replace(f'"{event.user}"'.encode(), f'"{HOT}"'.encode(), 1))
        if drawn.setdefault(event.id, dice.random() < share)
        else event
        for event in events
    ]


# -- running -----------------------------------------------------------------------------------------------------------


class _Prepared(NamedTuple):
    """The database that a point's runs begin with."""

    template: str
    kept: int
    """Events in its ledger."""


class Runner:
    """Measures curves, and keeps what it has measured."""

    def __init__(self, servers: Rig, results: Curves, part: Part, folder: Path) -> None:
        self._rig = servers
        self._results = results
        self._part = part
        self._folder = folder
        self._log = folder / "worker.log"

    async def run(self, keys: Sequence[str]) -> None:
        """Measure curves, each point of each in every round."""
        await self._warm()
        for key in keys:
            curve, began = CURVES[key], perf_counter()
            points = points_of(curve, self._part)
            drawn = Drawn(curve.title, curve.about, [Measured(point.label) for point in points])
            self._results.curves[key] = drawn
            prepared: list[_Prepared] = []
            for point in points:
                since = perf_counter()
                prepared.append(await self._prepare(point))
                print(f"{key:<12}{point.label:<18}prepared  ({perf_counter() - since:.1f} s)", flush=True)
            for number in range(self._results.rounds):
                for place in turn(len(points), number):
                    await self._try(key, points[place], prepared[place], drawn.points[place], number)
            for one in prepared:
                await self._rig.drop(one.template)
            print(f"{key:<12}{perf_counter() - began:.0f} s", flush=True)

    async def _warm(self) -> None:
        """Run once for nothing: the first run of all is slower, and would be some curve's first point."""
        async with self._rig.arena() as arena:
            await arena.deploy()
            await self._drain(arena, self._load(Point("")).seed)

    async def _prepare(self, point: Point) -> _Prepared:
        async with self._rig.arena(keep=True) as arena:
            rules = RULES
            if point.rules:
                rules = self._folder / "rules.ach"
                rules.write_text(point.rules)
            await arena.deploy(rules)
            if point.users or point.history:
                await self._drain(arena, self._load(point).seed)
            if point.users:
                await preload.know(arena.connection, point.users)
            if point.history:
                await preload.remember(arena.connection, point.history)
            return _Prepared(arena.database, await arena.connection.fetchval("SELECT count(*) FROM event"))

    async def _try(self, key: str, point: Point, prepared: _Prepared, row: Measured, number: int) -> None:
        if row.failed:
            return
        began = perf_counter()
        try:
            async with self._rig.arena(template=prepared.template) as arena:
                done = await self._drain(arena, self._load(point).measured, prepared.kept)
        except (BenchError, TimeoutError) as error:
            row.failed = str(error).partition("\n")[0]
            print(f"{key}, {point.label}: {error}", file=sys.stderr)
            return
        row.runs.append(done)
        said = f"{done.events_per_second:>9,.0f} events/s, CPU {curve_page.together(done):6.1f} µs an event"
        parts = f"({done.worker_cpu:.1f} + {done.database_cpu:.1f} + {done.broker_cpu:.1f})"
        print(
            f"{key:<12}{point.label:<18}round {number + 1}{said} {parts}  ({perf_counter() - began:.1f} s)", flush=True
        )

    def _load(self, point: Point) -> Load:
        # The first tenth warms up.
        return load(int(self._results.events / (1 - WARM)), point.late, point.duplicates, point.hot)

    async def _drain(self, arena: Arena, events: list[Event], kept: int = 0) -> Drained:
        await publish_all(arena, messages(events, 1))
        done = await drain(arena, [WORKER.command(1)], self._log, per=1, done=partial(WORKER.done, arena))
        # What is fast because it leaves something out is no point of a curve.
        kept += len({event.id for event in events})
        found = await arena.connection.fetchrow(
            "SELECT (SELECT count(*) FROM event) AS kept, (SELECT count(*) FROM dead_letter) AS dead"
        )
        if found is None or (found["kept"], found["dead"]) != (kept, 0):
            raise BenchError(f"{found} where {kept:,} events should be kept, and none dead")
        return done


def turn(number: int, by: int) -> list[int]:
    """Return the places of so many points, rotated."""
    return [(place + by) % number for place in range(number)]


async def _measure(keys: Sequence[str], results: Curves, part: Part) -> None:
    with tempfile.TemporaryDirectory(prefix="ach-bench-logs-") as name:
        async with rig() as servers:
            results.versions |= await servers.versions()
            await Runner(servers, results, part, Path(name)).run(keys)


# -- the command -------------------------------------------------------------------------------------------------------


def _section(results: Curves, chart: str | None) -> str:
    return curve_page.section(results, {key: curve.why for key, curve in CURVES.items()}, chart)


def write(results: Curves) -> None:
    """Write the results, the chart and the section of the page."""
    LATEST.parent.mkdir(exist_ok=True)
    LATEST.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    (PAGE.parent / curve_page.CHART).write_text(curve_page.svg(results))
    text = _section(results, curve_page.CHART)
    PAGE.write_text(merged(PAGE.read_text(), text, curve_page.BEGIN, curve_page.END))
    print(f"written: {LATEST.relative_to(ROOT)}, {PAGE.relative_to(ROOT)}")


@click.command()
@click.option("--events", type=click.IntRange(FEWEST), help=f"Measured events of a run ({EVENTS:,}).")
@click.option("--rounds", type=click.IntRange(1), help=f"Rounds ({ROUNDS}).")
@click.option("--only", metavar="KEYS", help=f"Of {', '.join(CURVES)}: these, with commas.")
@click.option("--quick", is_flag=True, help=f"{QUICK[0]:,} events, {QUICK[1]} round, no point that takes long to make.")
@click.option("--full", is_flag=True, help="Ten million events in the ledger, too (minutes more, and 30 GB).")
@click.option(
    "--write/--no-write", "writes", default=None, help="Write results and page (default: if it is the whole)."
)
@click.option("--render", is_flag=True, help="Measure nothing: write the section anew from the latest results.")
def main(  # noqa: PLR0913 - the options
    events: int | None,
    rounds: int | None,
    only: str | None,
    *,
    quick: bool,
    full: bool,
    writes: bool | None,
    render: bool,
) -> None:
    """Measure what an event costs as rules, users, history and the like grow."""
    if render:
        write(msgspec.json.decode(LATEST.read_bytes(), type=Curves))
        return
    keys = list(CURVES) if only is None else only.split(",")
    if unknown := set(keys) - CURVES.keys():
        raise click.UsageError(f"unknown: {', '.join(sorted(unknown))}")
    if full and shutil.disk_usage(tempfile.gettempdir()).free < FULL_BYTES:
        raise click.UsageError(f"--full takes {FULL_BYTES / 1e9:.0f} GB in {tempfile.gettempdir()}")
    default_events, default_rounds = QUICK if quick else (EVENTS, ROUNDS)
    results = Curves(
        measured_on=datetime.now(UTC).date().isoformat(),
        command=shlex.join(["just", "curves", *sys.argv[1:]]),
        machine=machine(),
        versions=versions(),
        events=events or default_events,
        rounds=rounds or default_rounds,
        curves={},
    )
    writing = writes if writes is not None else not (quick or only)
    if writing and results.events < FEWEST_WRITTEN:
        raise click.UsageError(f"fewer than {FEWEST_WRITTEN:,} events are a batch or two: nothing to be written down")
    part = Part.FULL if full else Part.QUICK if quick else Part.USUAL
    if said := doubt():
        print(said, file=sys.stderr)
    logs.quiet()
    run_async(lambda: _measure(keys, results, part))
    if writing:
        write(results)
    else:
        print(_section(results, None))


if __name__ == "__main__":
    main(prog_name="just curves")
