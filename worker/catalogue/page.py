"""The page of a catalogue: one HTML file without script, without assets, everything escaped by the template engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

if TYPE_CHECKING:
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
    return environment.get_template("page.html.j2").render(page=found)
