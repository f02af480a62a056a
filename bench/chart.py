"""The charts: bars of events per second and of CPU, as SVG without scripts, fonts or anything else from outside."""

# pygal has no types, and is in the benchmark's environment alone.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bench.results import MODES, of, rate

if TYPE_CHECKING:
    from pathlib import Path

    from bench.results import Results

RATE: Final = ("Events per second", "performance-rate.svg")
CPU: Final = ("CPU seconds per million events, one event a message", "performance-cpu.svg")


def draw(results: Results, folder: Path) -> list[tuple[str, str]]:
    """Write the charts into a folder; return title and file name of each."""
    keys = [key for key in reversed(results.rows) if of(results, key, MODES[0], rate)]
    names = [results.rows[key].title.strip("*") for key in keys]
    rates = _bars(RATE[0], names)
    for per in reversed(MODES):
        values = (of(results, key, per, rate) for key in keys)
        title = "one event a message" if per == 1 else f"{per} events a message"
        rates.add(title, [round(value.middle) if value else None for value in values])
    costs = _bars(CPU[0], names, stacked=True)
    for name in ("worker", "database", "broker"):
        values = (of(results, key, 1, lambda one, name=name: getattr(one.drained, f"{name}_cpu")) for key in keys)
        costs.add(name, [round(value.middle, 1) if value else None for value in values])
    for chart, (_, name) in ((rates, RATE), (costs, CPU)):
        (folder / name).write_bytes(chart.render())
    return [RATE, CPU]


def _bars(title: str, names: list[str], *, stacked: bool = False) -> Any:  # noqa: ANN401 - pygal is untyped
    import pygal  # noqa: PLC0415 - everything else of the benchmark can be had without it
    from pygal.style import Style  # noqa: PLC0415

    kind = pygal.HorizontalStackedBar if stacked else pygal.HorizontalBar
    style = Style(
        background="white",
        plot_background="white",
        font_family="sans-serif",
        colors=("#1f77b4", "#ff9f1c", "#6a994e"),
        value_font_size=12,
        label_font_size=13,
        legend_font_size=13,
    )
    chart = kind(
        style=style, width=900, height=420, js=[], no_prefix=True, legend_at_bottom=True, print_values=not stacked
    )
    chart.title = title
    chart.x_labels = names
    chart.formatter = chart.value_formatter = "{:,.0f}".format
    return chart
