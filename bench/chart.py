"""The charts: bars of events per second and of CPU, as SVG without scripts, fonts or anything else from outside."""

# pygal has no types, and is in the benchmark's environment alone.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from bench.results import MODES, Results, cpu, of, rate

if TYPE_CHECKING:
    from pathlib import Path

RATE: Final = ("Events per second", "performance-rate.svg")
CPU: Final = ("CPU seconds per million events, one event a message", "performance-cpu.svg")
SPENDTHRIFT: Final = 4.0
"""Times the worker's CPU, above which a bar would leave no room for the others: it is named in the title instead."""
_TICKS: Final = 6
"""Labels of an axis, about."""
_COMMENT: Final = re.compile(rb"<!--.*?-->", re.DOTALL)


def draw(results: Results, folder: Path) -> list[tuple[str, str]]:
    """Write the charts into a folder; return title and file name of each."""
    keys = [key for key in reversed(results.rows) if of(results, key, MODES[0], rate)]
    for chart, (_, name) in ((_rates(results, keys), RATE), (_costs(results, keys), CPU)):
        # The library signs its work with the time of day.
        (folder / name).write_bytes(_COMMENT.sub(b"", chart.render()))
    return [RATE, CPU]


def _rates(results: Results, keys: list[str]) -> Any:  # noqa: ANN401 - pygal is untyped
    chart = _bars(RATE[0], [_name(results, key) for key in keys])
    found = (of(results, key, per, rate) for key in keys for per in MODES)
    chart.y_labels = _ticks(max((value.middle for value in found if value), default=0.0))
    for per in reversed(MODES):
        values = (of(results, key, per, rate) for key in keys)
        title = "one event a message" if per == 1 else f"{per} events a message"
        chart.add(title, [round(value.middle) if value else None for value in values])
    return chart


def _costs(results: Results, keys: list[str]) -> Any:  # noqa: ANN401
    sums = {key: value.middle for key in keys if (value := of(results, key, 1, cpu))}
    most = SPENDTHRIFT * sums.get("worker", max(sums.values(), default=0.0))
    beyond = [f"{_name(results, key)}: {value:,.0f}" for key, value in sums.items() if value > most]
    shown = [key for key in keys if sums.get(key, most + 1) <= most]
    title = f"{CPU[0]} (not shown: {'; '.join(beyond)})" if beyond else CPU[0]
    chart = _bars(title, [_name(results, key) for key in shown], stacked=True)
    chart.y_labels = _ticks(max((sums[key] for key in shown), default=0.0))
    for name in ("worker", "database", "broker"):
        values = (of(results, key, 1, lambda one, name=name: getattr(one.drained, f"{name}_cpu")) for key in shown)
        chart.add(name, [round(value.middle, 1) if value else None for value in values])
    return chart


def _ticks(most: float) -> list[float]:
    """Return some round numbers from 0 to a little below or above the most."""
    step = 10.0 ** (len(str(int(most))) - 1)
    while most / step > _TICKS:
        step *= 2
    while most / step < _TICKS / 2:
        step /= 2
    return [step * number for number in range(int(most / step) + 2)]


def _name(results: Results, key: str) -> str:
    return results.rows[key].title.strip("*")


def _bars(title: str, names: list[str], *, stacked: bool = False) -> Any:  # noqa: ANN401 - pygal is untyped
    import pygal  # noqa: PLC0415 - everything else of the benchmark can be had without it
    from pygal.style import Style  # noqa: PLC0415

    kind = pygal.HorizontalStackedBar if stacked else pygal.HorizontalBar
    style = Style(
        background="white",
        plot_background="white",
        font_family="sans-serif",
        title_font_size=14,
        major_label_font_size=13,
        colors=("#1f77b4", "#ff9f1c", "#6a994e"),
        value_font_size=12,
        label_font_size=13,
        legend_font_size=13,
    )
    chart = kind(
        style=style,
        width=900,
        height=440,
        js=[],
        no_prefix=True,
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        print_values=not stacked,
        truncate_label=-1,
    )
    chart.title = title
    chart.x_labels = names
    chart.formatter = chart.value_formatter = "{:,.0f}".format
    return chart
