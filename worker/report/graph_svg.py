"""A graph of rules as SVG, for a page or a file of its own. Pure."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.report.cells import cut
from worker.report.layers import HEIGHT, laid_out
from worker.report.svg import drawing, element, svg_of, width_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from xml.etree.ElementTree import Element

    from dsl.graph import Arrow, Box, Picture
    from worker.report.layers import Place, Point

LONGEST: Final = 40
"""Cells of a label; the whole text is in the box's title."""
MOST_SAID: Final = 50
"""Boxes that the description names; the others are counted."""
_PAD: Final = 12
_MARGIN: Final = 12
_TIP: Final = 6
"""Pixels of an arrow's head."""
_ROUND: Final = {"event": HEIGHT // 2, "aggregate": 0, "achievement": 6}


class Words(NamedTuple):
    """What a picture is called: `name` is the beginning of its ids, unique on its page."""

    name: str
    title: str


def style() -> str:
    """Return the rules of CSS for graphs; they read the colours of the page, or have their own."""
    return (Path(__file__).parent / "graph.css").read_text(encoding="utf-8")


def graph(drawn: Picture, words: Words, links: Mapping[str, str] | None = None, *, alone: bool = False) -> str:
    """Return a picture as an `svg`; `links` has where a box leads, by its id. `alone` is for a file of its own."""
    labels = {box.id: cut(box.label, LONGEST) for box in drawn.boxes}
    widths = {box.id: width_of(labels[box.id]) + 2 * _PAD for box in drawn.boxes}
    layout = laid_out(widths, [(arrow.start, arrow.end) for arrow in drawn.arrows])
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN
    size = {"width": width, "height": height, "viewBox": f"0 0 {width} {height}"}
    root = drawing(words.name, words.title, _said(drawn), class_="graph", **size)
    if alone:
        element(root, "style").text = style()
        element(root, "rect", class_="paper", width="100%", height="100%")
    inner = element(root, "g", transform=f"translate({_MARGIN} {_MARGIN})")
    for arrow, points in zip(drawn.arrows, layout.arrows, strict=True):
        _arrow(inner, arrow, points)
    for box in drawn.boxes:
        _box(inner, box, labels[box.id], layout.boxes[box.id], (links or {}).get(box.id))
    return svg_of(root)


def _box(parent: Element, box: Box, label: str, place: Place, link: str | None) -> None:
    group = element(parent, "g", class_=box.shape)
    around = group if link is None else element(group, "a", href=link)
    element(around, "title", box.label)
    element(around, "rect", x=place.x, y=place.y, width=place.width, height=HEIGHT, rx=_ROUND[box.shape])
    element(around, "text", label, x=place.x + _PAD, y=place.y + HEIGHT // 2 + 4)


def _arrow(parent: Element, arrow: Arrow, points: Sequence[Point]) -> None:
    group = element(parent, "g", class_="asks" if arrow.label else None)
    if arrow.label:
        element(group, "title", arrow.label)
    end = points[-1]
    element(group, "path", class_="line", d=_curve([*points[:-1], end._replace(x=end.x - _TIP)]))
    element(group, "path", class_="tip", d=f"M{end.x} {end.y}l-{_TIP + 1} -4v8z")


def _curve(points: Sequence[Point]) -> str:
    """Return a path that leaves and enters every layer level; it is straight where it passes one."""
    parts = [f"M{points[0].x} {points[0].y}"]
    for at in range(len(points) - 1):
        start, end = points[at], points[at + 1]
        middle = (start.x + end.x) // 2
        # Between two layers there is a bend; the odd stretches are those that pass a layer.
        parts.append(f"H{end.x}" if at % 2 else f"C{middle} {start.y} {middle} {end.y} {end.x} {end.y}")
    return "".join(parts)


def _said(drawn: Picture) -> str:
    """Return the picture in words: what each box leads to."""
    names = {box.id: box.label for box in drawn.boxes}
    leads: defaultdict[str, list[str]] = defaultdict(list)
    for arrow in drawn.arrows:
        leads[arrow.start].append(names[arrow.end])
    lines = list(_lines(names, leads))
    more = [f"{len(lines) - MOST_SAID:,} more boxes lead on."] if len(lines) > MOST_SAID else []
    return " ".join([*lines[:MOST_SAID], *more])


def _lines(names: Mapping[str, str], leads: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for box, ends in leads.items():
        shown = dict.fromkeys(ends[:MOST_SAID])
        rest = f" and {len(ends) - MOST_SAID:,} more" if len(ends) > MOST_SAID else ""
        yield f"{names[box]} leads to {', '.join(shown)}{rest}."
