"""What was measured, as it is kept in a file, and what is said about it: medians, spreads, ratios. Pure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from bench.runs import Speed, Verdict
from bench.soon import Latency

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MODES: Final = (1, 50)
"""Events in a message."""


class Measured(msgspec.Struct):
    """One contestant with one number of events in a message."""

    speeds: list[Speed] = []
    """One a round."""
    carried: list[float] = []
    """Events per second that are worked off while they are published, one a turn."""
    latencies: list[Latency] = []
    """At half of what is carried, one a turn."""
    drained: Latency | None = None
    """At half of the rate at which a stream that was published in advance is drained."""


class Row(msgspec.Struct):
    """One contestant."""

    title: str
    differs: str
    announces: bool
    by_mode: dict[str, Measured] = {}
    """By the number of events in a message."""
    killed: Verdict | None = None
    duplicated: Verdict | None = None
    skipped: str = ""
    """Why it did not take part, or did not come to its end."""


class Run(msgspec.Struct):
    """When, where and with what something was measured."""

    measured_on: str
    """The day."""
    command: str
    machine: dict[str, str]
    versions: dict[str, str]
    events: int
    """Of each run."""
    rounds: int

    def said(self) -> str:
        """Return it as a sentence."""
        facts = [f"{name} {value}" for name, value in (self.machine | self.versions).items()]
        return f"Measured on {self.measured_on} with `{self.command}`: {', '.join(facts)}."


class Results(Run):
    """One run of the benchmark."""

    rows: dict[str, Row]


class Spread(NamedTuple):
    """The middle of some values, and how far they lie apart."""

    middle: float
    lowest: float
    highest: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median, the lowest and the highest of some values, of which there is one at least."""
    return Spread(median(values), min(values), max(values))


def of(results: Results, key: str, per: int, what: Callable[[Speed], float]) -> Spread | None:
    """Return how a figure of a contestant is spread; None where it was not measured."""
    measured = results.rows[key].by_mode.get(str(per)) if key in results.rows else None
    return spread([what(one) for one in measured.speeds]) if measured and measured.speeds else None


def rate(speed: Speed) -> float:
    """Return events per second."""
    return speed.drained.events_per_second


def cpu(speed: Speed) -> float:
    """Return CPU seconds per million events, of worker, database and broker together."""
    drained = speed.drained
    return drained.worker_cpu + drained.database_cpu + drained.broker_cpu


class Ratio(NamedTuple):
    """A comparison that the project has a target for."""

    said: str
    above: str
    below: str
    what: Callable[[Speed], float]
    target: str


RATIOS: Final = (
    Ratio("events/s: one worker to FastStream by hand", "worker", "per_message", rate, "at least 15"),
    Ratio("events/s: one worker to batched by hand", "worker", "batched", rate, "at least 1.3"),
    Ratio("events/s: one worker to the limit", "worker", "limit", rate, "at least 0.8"),
    Ratio("events/s: two workers to one", "workers", "worker", rate, "at least 1.7 where cores allow"),
    Ratio("CPU an event: two workers to one", "workers", "worker", cpu, "near 1"),
    Ratio("CPU an event: one worker to Pathway", "worker", "pathway", cpu, "below 1 with arrays"),
)


def ratio(results: Results, one: Ratio, per: int) -> float | None:
    """Return a ratio of medians; None where one of them was not measured."""
    above, below = of(results, one.above, per, one.what), of(results, one.below, per, one.what)
    return above.middle / below.middle if above and below else None
