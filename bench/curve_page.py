"""Curves as they are kept and shown: results, tables in Markdown, one chart in SVG. Pure."""

from __future__ import annotations

from html import escape
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from bench.drain import Drained
from bench.page import NOTHING, number, table
from bench.results import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BEGIN: Final = "<!-- what follows is written by `just curves` -->"
END: Final = "<!-- what `just curves` writes ends here -->"
CHART: Final = "performance-curves.svg"
FLAT: Final = 0.1
"""What a cost may differ from that of the first point, as a share of it."""
_PERCENT: Final = f"{FLAT * 100:.0f} %"


class Measured(msgspec.Struct):
    """One point of a curve."""

    label: str
    runs: list[Drained] = []
    """One a round."""
    failed: str = ""
    """What became of the run that was the last for this reason."""


class Drawn(msgspec.Struct):
    """One curve: what it is about, and its points."""

    title: str
    about: str
    points: list[Measured]


class Curves(Run):
    """One run of `just curves`."""

    curves: dict[str, Drawn]


def together(one: Drained) -> float:
    """Return the CPU of all three, in seconds per million events."""
    return one.worker_cpu + one.database_cpu + one.broker_cpu


_PARTS: Final[tuple[tuple[str, str, Callable[[Drained], float]], ...]] = (
    ("worker", "#1f77b4", lambda one: one.worker_cpu),
    ("database", "#ff9f1c", lambda one: one.database_cpu),
    ("broker", "#6a994e", lambda one: one.broker_cpu),
)


def middle(point: Measured, what: Callable[[Drained], float]) -> float | None:
    """Return the median of a figure over the rounds; None where there was none."""
    return median(what(one) for one in point.runs) if point.runs else None


def relative(curve: Drawn) -> list[float | None]:
    """Return what an event costs at each point, as a multiple of what it costs at the first."""
    costs = [middle(point, together) for point in curve.points]
    first = costs[0] if costs else None
    return [cost / first if cost is not None and first else None for cost in costs]


def flat(curve: Drawn) -> bool | None:
    """Tell whether the cost is the same at all points; None where points are missing."""
    found = relative(curve)
    if len(found) < 2 or None in found:  # noqa: PLR2004 - a line has two points
        return None
    # A hair of tolerance: what the table shows as 1.10 is within ten per cent.
    return all(one is not None and abs(one - 1) < FLAT + 0.005 for one in found)


# -- the section -------------------------------------------------------------------------------------------------------


def section(curves: Curves, why: dict[str, str], chart: str | None = CHART) -> str:
    """Return the generated section; `why` has for each curve what explains a slope, and its bound."""
    parts = list(_head(curves))
    if chart:
        parts.append(f"![CPU per event along each curve, relative to its first point]({chart})")
    for key, curve in curves.curves.items():
        parts += [f"### {curve.title}", curve.about, table(_HEAD, _rows(curve)), _verdict(curve, why.get(key, ""))]
    return "\n\n".join(parts)


_HEAD: Final = ("", "events/s", "worker", "database", "broker", "CPU together", "to the first", "WAL", "memory")


def _head(curves: Curves) -> Iterator[str]:
    yield curves.said()
    yield (
        f"{curves.events:,} measured events a run, one a message, rounds: {curves.rounds}, in which the points of a"
        " curve take turns. Medians, in brackets the lowest and the highest; CPU in µs an event, WAL in bytes an event,"
        " memory the worker's peak in MB. CPU per event is what counts: events per second of three programs on shared"
        " cores vary more."
    )


def _rows(curve: Drawn) -> Iterator[Sequence[str]]:
    for point, ratio in zip(curve.points, relative(curve), strict=True):
        costs = [together(one) for one in point.runs]
        cost = middle(point, together)
        yield (
            point.label,
            _figure(middle(point, lambda one: one.events_per_second)),
            *(_figure(middle(point, what)) for _, _, what in _PARTS),
            NOTHING if cost is None else f"{number(cost)} ({number(min(costs))}–{number(max(costs))})",
            NOTHING if ratio is None else f"{ratio:.2f}",
            _figure(middle(point, lambda one: one.wal_bytes)),
            _figure(middle(point, lambda one: one.peak_bytes / 1e6)),
        )


def _figure(value: float | None) -> str:
    return NOTHING if value is None else number(value)


def _verdict(curve: Drawn, why: str) -> str:
    failed = [f"{point.label}: {point.failed}" for point in curve.points if point.failed]
    if failed:
        return f"Not complete: {'; '.join(failed)}."
    level = flat(curve)
    if level is None:
        return "Not complete."
    if level:
        return f"Flat within {_PERCENT}."
    found = ", ".join(f"{one:.2f}" for one in relative(curve) if one is not None)
    return f"**Not flat** ({found}). {why or 'Nothing explains it yet.'}"


# -- the chart ---------------------------------------------------------------------------------------------------------


class _Box(NamedTuple):
    """The place of one small chart, in pixels."""

    x: float
    y: float
    width: float
    height: float


_COLUMNS: Final = 3
_CELL: Final = _Box(0, 0, 300, 210)
_TOP: Final = 56
_PAD: Final = _Box(36, 34, 252, 132)
"""Within a cell: where the bars stand."""
_LEAST: Final = 1.25
"""Of the first point's cost, what an axis shows at least."""


def svg(curves: Curves) -> str:
    """Return a small chart for each curve: the cost of each point as a multiple of the first, and of what it is."""
    drawn = [curve for curve in curves.curves.values() if any(one is not None for one in relative(curve))]
    rows = -(-len(drawn) // _COLUMNS)
    width, height = _COLUMNS * _CELL.width, _TOP + rows * _CELL.height
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    title = f"CPU per event, relative to the first point of each curve; the band is {_PERCENT} around it"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" fill="#333">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="16" y="22" font-size="14">{title}</text>',
    ]
    for place, (name, colour, _) in enumerate(_PARTS):
        x = 16 + 100 * place
        parts += [f'<rect x="{x}" y="34" width="12" height="12" fill="{colour}"/>', _text(x + 18, 44, name, "start")]
    for place, curve in enumerate(drawn):
        row, column = divmod(place, _COLUMNS)
        parts += _panel(curve, column * _CELL.width, _TOP + row * _CELL.height)
    return "\n".join((*parts, "</svg>", ""))


def _panel(curve: Drawn, x: float, y: float) -> Iterator[str]:
    ratios = relative(curve)
    most = max(_LEAST, *(one * 1.08 for one in ratios if one is not None), 0.0)
    first = middle(curve.points[0], together) or 1.0
    box = _Box(x + _PAD.x, y + _PAD.y, _PAD.width, _PAD.height)
    foot = box.y + box.height

    def up(value: float) -> float:
        return foot - box.height * value / most

    yield _text(x + 16, y + 22, curve.title, "start", weight="bold")
    low, high = up(1 - FLAT), up(1 + FLAT)
    yield f'<rect x="{box.x:.1f}" y="{high:.1f}" width="{box.width:.1f}" height="{low - high:.1f}" fill="#e8e8e8"/>'
    for value in (0.0, 1.0):
        yield _text(box.x - 6, up(value) + 4, f"{value:.0f}", "end")
        yield f'<path d="M{box.x:.1f} {up(value):.1f}h{box.width:.1f}" stroke="#bbb"/>'
    step = box.width / len(curve.points)
    for place, (point, ratio) in enumerate(zip(curve.points, ratios, strict=True)):
        left, below = box.x + step * (place + 0.2), 0.0
        for _, colour, what in _PARTS:
            share = (middle(point, what) or 0.0) / first
            yield (
                f'<rect x="{left:.1f}" y="{up(below + share):.1f}" width="{step * 0.6:.1f}"'
                f' height="{box.height * share / most:.1f}" fill="{colour}"/>'
            )
            below += share
        centre = left + step * 0.3
        yield _text(centre, foot + 16, point.label, "middle")
        if ratio is not None:
            yield _text(centre, up(max(below, ratio)) - 4, f"{ratio:.2f}", "middle")


def _text(x: float, y: float, said: str, anchor: str, *, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(said)}</text>'
