"""What a deployment of some size takes, reckoned from what the benchmark has measured: the tables of docs/scale.md.

    python -m bench.scale

Inputs are medians of the worker's rows in bench/results/latest.json. Everything else is arithmetic, and shown as such.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from bench.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.drain import Drained

PAGE: Final = Path(__file__).parent.parent / "docs" / "scale.md"
MEASURED: Final = Path(__file__).parent / "results" / "latest.json"
BEGIN: Final = "<!-- written by `python -m bench.scale` from bench/results/latest.json -->"
END: Final = "<!-- end of what is written -->"

MODES: Final = {"1": "one event a message", "50": "arrays of 50"}
MESSAGE: Final = 300
"""Bytes of one event in the stream, headers of the store included: an assumption."""
CORE_HOUR: Final = 0.04
"""Price of one core for an hour, in USD: an assumption."""
GIGABYTE_MONTH: Final = 0.10
"""Price of a gigabyte of SSD for a month, in USD: an assumption."""
LOAD: Final = 0.5
"""Share of a core that is planned with, so that bursts and vacuum have room."""
RATES: Final = (1_000, 10_000, 100_000)
"""Events per second of the deployments that are reckoned."""
SECONDS_A_DAY: Final = 86_400


class Inputs(NamedTuple):
    """What one event costs: microseconds of CPU, and bytes."""

    worker: float
    database: float
    broker: float
    wal: float
    table: float

    @property
    def cpu(self) -> float:
        """All of it, in microseconds."""
        return self.worker + self.database + self.broker


def inputs(results: Results, mode: str) -> Inputs:
    """Return the medians of a mode."""
    drained = [one.drained for one in results.rows["worker"].by_mode[mode].speeds]

    def middle(pick: Callable[[Drained], float]) -> float:
        return median(pick(one) for one in drained)

    return Inputs(
        # Seconds per million events are microseconds per event.
        middle(lambda one: one.worker_cpu),
        middle(lambda one: one.database_cpu),
        middle(lambda one: one.broker_cpu),
        middle(lambda one: one.wal_bytes),
        middle(lambda one: one.table_bytes),
    )


def written(results: Results) -> str:
    """Return both tables, and what they were made from."""
    by_mode = {mode: inputs(results, mode) for mode in MODES}
    measured = f"{results.events:,} events a run, rounds: {results.rounds}"
    head = f"Measured on {results.measured_on} with `{results.command}`: {measured}. The last three are assumptions."
    return "\n\n".join((head, _inputs(by_mode), "What follows from them:", _reckoned(by_mode)))


def _inputs(by_mode: dict[str, Inputs]) -> str:
    rows = {
        "`worker_us`: CPU of the worker, µs an event": [f"{one.worker:.1f}" for one in by_mode.values()],
        "`database_us`: CPU of PostgreSQL, µs an event": [f"{one.database:.1f}" for one in by_mode.values()],
        "`broker_us`: CPU of nats-server, µs an event": [f"{one.broker:.1f}" for one in by_mode.values()],
        "`wal_bytes`: log of PostgreSQL, bytes an event": [f"{one.wal:,.0f}" for one in by_mode.values()],
        "`table_bytes`: tables and indexes, bytes an event": [f"{one.table:,.0f}" for one in by_mode.values()],
        "`message_bytes`: an event in the stream, one replica": [f"{MESSAGE}"] * len(by_mode),
        "`core_hour`: USD for a core and an hour": [f"{CORE_HOUR}"] * len(by_mode),
        "`gigabyte_month`: USD for a gigabyte of SSD and a month": [f"{GIGABYTE_MONTH}"] * len(by_mode),
    }
    return _table(["input", *MODES.values()], rows)


def _reckoned(by_mode: dict[str, Inputs]) -> str:
    each = list(by_mode.values())
    rows = {
        f"events/s that one worker's core takes, at {LOAD:.0%}": [f"{LOAD * 1e6 / one.worker:,.0f}" for one in each],
        f"events/s that one core of PostgreSQL takes, at {LOAD:.0%}": [
            f"{LOAD * 1e6 / one.database:,.0f}" for one in each
        ],
        "CPU of everything, core seconds a million events": [f"{one.cpu:,.0f}" for one in each],
        "CPU of everything, USD a million events": [f"{one.cpu / 3600 * CORE_HOUR:.4f}" for one in each],
        "tables and indexes, GB a billion events": [f"{one.table:,.0f}" for one in each],
        "WAL, GB a billion events": [f"{one.wal:,.0f}" for one in each],
        "stream with three replicas, GB a billion events": [f"{3 * MESSAGE:,}"] * len(each),
        "keeping a billion events in the ledger, USD a month": [f"{one.table * GIGABYTE_MONTH:,.0f}" for one in each],
    }
    for rate in RATES:
        rows[f"{rate:,} events/s: cores of workers, database, broker"] = [
            " + ".join(f"{rate * us / 1e6 / LOAD:.1f}" for us in (one.worker, one.database, one.broker)) for one in each
        ]
        rows[f"{rate:,} events/s: tables, GB a day"] = [
            f"{rate * SECONDS_A_DAY * one.table / 1e9:,.0f}" for one in each
        ]
    return _table(["", *MODES.values()], rows)


def _table(head: list[str], rows: dict[str, list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([name, *cells] for name, cells in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def filled(page: str, text: str) -> str:
    """Return a page with text between the markers.

    Raises:
        ValueError: it has none.
    """
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError("the page has no markers")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main() -> int:
    """Fill the page; return the exit code."""
    if not MEASURED.exists():
        sys.stderr.write("error: nothing is measured yet: just bench\n")
        return 1
    results = msgspec.json.decode(MEASURED.read_bytes(), type=Results)
    PAGE.write_text(filled(PAGE.read_text("utf-8"), written(results)), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
