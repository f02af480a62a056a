"""What changes of rules take, as it is kept in a file and shown in docs/performance.md. Pure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

import msgspec

from bench.page import number, table
from bench.results import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BEGIN: Final = "<!-- what follows is written by `just bench change` -->"
END: Final = "<!-- what `just bench change` writes ends here -->"
MILLION: Final = 1_000_000
HEAD: Final = ("", "rounds", "seconds", "CPU command", "CPU database", "CPU", "µs an event", "memory, MB")


class Took(msgspec.Struct):
    """What one round has taken: seconds of the clock, CPU seconds of command and database, bytes at the most."""

    seconds: float
    command: float
    database: float
    peak: int

    @property
    def cpu(self) -> float:
        """CPU seconds together."""
        return self.command + self.database


class Line(msgspec.Struct):
    """One thing that is measured."""

    title: str
    events: int
    """Of the types concerned, to which the CPU is related; 0 for none."""
    rounds: list[Took] = []

    def middle(self, what: Callable[[Took], float]) -> float:
        """Return the median over the rounds."""
        return median(map(what, self.rounds))

    def row(self) -> tuple[str, ...]:
        """Return it as a row of a table: medians, and of the clock also the lowest and the highest."""
        cpu = self.middle(lambda one: one.cpu)
        clock = [one.seconds for one in self.rounds]
        spread = f" ({number(min(clock))}–{number(max(clock))})" if len(clock) > 1 else ""
        return (
            self.title,
            str(len(self.rounds)),
            f"{number(median(clock))}{spread}",
            f"{self.middle(lambda one: one.command):.1f}",
            f"{self.middle(lambda one: one.database):.1f}",
            f"{cpu:.1f}",
            f"{cpu / self.events * MILLION:.1f}" if self.events else "",
            number(self.middle(lambda one: one.peak) / MILLION),
        )


class Changes(Run):
    """One run of `just bench change`."""

    users: int
    lines: dict[str, Line]
    unlocks: int = 0
    """Of five rules, by all who were asked."""
    parquet: int = 0
    """Bytes of the ledger as Parquet."""
    load: float = 0.0
    """Of the machine at the end."""
    seconds: float = 0.0
    """Of the whole run."""


def section(results: Changes) -> str:
    """Return the generated section."""
    return "\n\n".join(_parts(results))


def _parts(results: Changes) -> Iterator[str]:
    yield f"{results.said()} Load at the end {results.load:.1f}; the whole run took {results.seconds / 60:.0f} minutes."
    yield (
        f"{results.events:,} events of {results.users:,} users, folded by fifty rules. Medians of the rounds, with the "
        "lowest and the highest of the clock in brackets. Memory is that of the command; of PostgreSQL by hand it is "
        f"that of the server. The ledger takes {results.parquet / MILLION:,.0f} MB as Parquet, which is not counted."
    )
    yield table(HEAD, [line.row() for line in results.lines.values()])
    if results.unlocks:
        yield (
            f"The five rules have {results.unlocks:,} unlocks. The plan, the build and both SQLs find the same: "
            "tenant, user, achievement and instant of each are compared."
        )
    if ratios := [*_ratios(results.lines)]:
        yield " ".join(ratios)


_AGAINST: Final[Sequence[tuple[str, str]]] = (("postgres", "PostgreSQL by hand"), ("duckdb", "DuckDB by hand"))


def _ratios(lines: dict[str, Line]) -> Iterator[str]:
    ours = lines.get("plan five")
    for key, name in _AGAINST:
        theirs = lines.get(key)
        if ours is not None and theirs is not None:
            cpu = ours.middle(lambda one: one.cpu) / theirs.middle(lambda one: one.cpu)
            memory = ours.middle(lambda one: one.peak) / theirs.middle(lambda one: one.peak)
            yield f"The plan of five rules takes {cpu:.2f} times the CPU of {name}, and {memory:.2f} times its memory."
