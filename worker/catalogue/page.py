"""The page of a catalogue: one HTML file without script, without assets, everything escaped by the template engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from worker.report.graph_svg import Words, graph, style

if TYPE_CHECKING:
    from worker.catalogue.graphs import Graph
    from worker.catalogue.view import Catalogue

FILE = "index.html"


def render(found: Catalogue) -> str:
    """Return a catalogue as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    every = (one for family in found.families for one in family.graphs)
    drawn = {one: _svg(one, number) for number, one in enumerate(every)}
    return environment.get_template("page.html.j2").render(page=found, svg=drawn, graph_style=style())


def _svg(one: Graph, number: int) -> str:
    links = {box.id: f"#{box.id}" for box in one.picture.boxes}
    return graph(one.picture, Words(f"graph-{number}", one.title), links)
