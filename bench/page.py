"""The page: tables in Markdown between two markers of docs/performance.md. Pure; the rest of that page is by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.results import MODES, RATIOS, Spread, of, rate, ratio, spread
from bench.soon import WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bench.results import Results, Row
    from bench.runs import Speed, Verdict
    from bench.soon import Latency

BEGIN: Final = "<!-- what follows is written by `just bench` -->"
END: Final = "<!-- what `just bench` writes ends here -->"
NOTHING: Final = "–"
_MANY: Final = 100
"""From here on a number needs no decimals."""

_COLUMNS: Final[tuple[tuple[str, Callable[[Speed], float]], ...]] = (
    ("worker", lambda one: one.drained.worker_cpu),
    ("database", lambda one: one.drained.database_cpu),
    ("broker", lambda one: one.drained.broker_cpu),
    ("WAL", lambda one: one.drained.wal_bytes),
    ("tables", lambda one: one.drained.table_bytes),
    ("memory", lambda one: one.drained.peak_bytes / 1e6),
)


def merged(page: str, section: str, begin: str = BEGIN, end: str = END) -> str:
    """Return a page with the text between two markers replaced; they are added at its end where they are missing."""
    if begin not in page or end not in page:
        page = f"{page.rstrip()}\n\n{begin}\n{end}\n"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{section.strip()}\n\n{end}{after}"


def section(results: Results, charts: Sequence[tuple[str, str]]) -> str:
    """Return the generated section; `charts` are titles and files beside the page."""
    parts = [*_head(results), *(f"![{title}]({name})" for title, name in charts)]
    for per in MODES:
        kind = "One event a message" if per == 1 else f"{per} events a message, as a JSON array"
        parts += [f"### {kind}", table(_speed_head(), _speed_rows(results, per))]
    parts += ["### How soon", _SOON]
    for per in MODES:
        parts.append(table(_soon_head(per), _soon_rows(results, per)))
    parts += ["### Ratios", table(("ratio of medians", "target", *_modes()), _ratio_rows(results))]
    parts += ["### Right or wrong", _RIGHT, table(_right_head(), _right_rows(results))]
    skipped = [f"- {row.title}: {row.skipped}" for row in results.rows.values() if row.skipped]
    if skipped:
        parts += ["### Not measured", "\n".join(skipped)]
    return "\n\n".join(parts)


_SOON: Final = (
    "From publishing the event that earns to the announcement of the unlock, in ms. Full load is what is carried while"
    f" it is published: as much as is taken, with {WINDOW:,} events that wait at the most (a sixth of all, where there"
    " are few). Half load is half of what was carried a moment before; medians of several turns, with the lowest and"
    " the highest in brackets. The last columns are at half of the rate in the tables above, at which a stream that was"
    " published in advance is drained, with nobody publishing on the same processors: in one run, and near full load"
    " for whoever is fast."
)
_RIGHT: Final = (
    "Unlocks are compared as (user, achievement, earned_at) with those that a plain program works out from the same"
    " events. The first column is a run like those above, where 2 % of the events come up to twelve hours late. In the"
    " other two none is late, so that what is wrong is wrong by the fault alone: `kill -9` in mid-run and a restart,"
    " and 5 % of the events published twice."
)


def _head(results: Results) -> Iterator[str]:
    yield results.said()
    yield (
        f"{results.events:,} events a run (fewer for the slow ones), {results.rounds} rounds in which everybody takes a"
        " turn, the order rotated. Medians, with the lowest and the highest in brackets. CPU is in seconds per million"
        " events (so also µs an event) and starts to count after the first tenth; WAL and tables (with indexes) are"
        " bytes an event; memory is the peak of the consuming processes in MB."
    )


def _speed_head() -> tuple[str, ...]:
    return ("", "events/s", *(name if name not in _CPU else f"CPU {name}" for name, _ in _COLUMNS))


_CPU: Final = ("worker", "database", "broker")


def _speed_rows(results: Results, per: int) -> Iterator[Sequence[str]]:
    for key, row in results.rows.items():
        rates = of(results, key, per, rate)
        if rates is None:
            continue
        figures = (of(results, key, per, what) for _, what in _COLUMNS)
        yield (
            row.title,
            _ranged(rates),
            *(number(one.middle) if one else NOTHING for one in figures),
        )


def _soon_head(per: int) -> tuple[str, ...]:
    half = ("half load", "p50", "p99")
    return (_modes()[MODES.index(per)], "full load, events/s", *half, "half of the drained rate", "p50", "p99")


def _soon_rows(results: Results, per: int) -> Iterator[Sequence[str]]:
    for row in results.rows.values():
        measured = row.by_mode.get(str(per))
        if measured is None or not measured.carried:
            continue
        rates = [one.rate for one in measured.latencies]
        yield (
            row.title,
            _ranged(spread(measured.carried)),
            number(spread(rates).middle) if rates else NOTHING,
            _turns([one.p50 for one in measured.latencies]),
            _turns([one.p99 for one in measured.latencies]),
            *_once(measured.drained),
        )


def _turns(seconds: Sequence[float | None]) -> str:
    timed = [one * 1000 for one in seconds if one is not None]
    return _ranged(spread(timed)) if timed else NOTHING


def _once(latency: Latency | None) -> tuple[str, str, str]:
    if latency is None:
        return NOTHING, NOTHING, NOTHING
    return number(latency.rate), _milliseconds(latency.p50), _milliseconds(latency.p99)


def _milliseconds(seconds: float | None) -> str:
    return NOTHING if seconds is None else number(seconds * 1000)


def _ratio_rows(results: Results) -> Iterator[Sequence[str]]:
    for one in RATIOS:
        found = [ratio(results, one, per) for per in MODES]
        if any(value is not None for value in found):
            yield (one.said, one.target, *(NOTHING if value is None else f"{value:.2f}" for value in found))


def _modes() -> tuple[str, ...]:
    return tuple("one a message" if per == 1 else f"{per} a message" for per in MODES)


def _right_head() -> tuple[str, ...]:
    return ("", "unlocks", "after kill -9", "after 5 % duplicates", "differs in what it does")


def _right_rows(results: Results) -> Iterator[Sequence[str]]:
    for row in results.rows.values():
        if row.by_mode:
            yield (
                row.title,
                _unlocks(row),
                _verdict(row.killed),
                _verdict(row.duplicated),
                row.differs or "in nothing",
            )


def _unlocks(row: Row) -> str:
    speeds = [one for measured in row.by_mode.values() for one in measured.speeds]
    if not any(one.unlocks for one in speeds):
        return NOTHING
    wrong = [f"{one.differs} of {one.unlocks:,}" for one in speeds if one.differs != "none"]
    return f"e.g. {wrong[0]}" if wrong else "right"


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return NOTHING
    return "right" if verdict.right else f"wrong: {verdict.said}"


def _ranged(values: Spread) -> str:
    return f"{number(values.middle)} ({number(values.lowest)}–{number(values.highest)})"


def number(value: float) -> str:
    """Return a figure with a decimal where it is small."""
    return f"{value:,.0f}" if value >= _MANY else f"{value:.1f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    # The first column is words, the others are figures or words; Markdown has no better than this.
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
