"""Elements of SVG and HTML, whose texts and attributes the library escapes; widths of texts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, SubElement, tostring

from worker.report.cells import cells
from worker.report.escape import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

CELL: Final = 7.3
"""Pixels that a character takes in the fixed-width font of 12 px; a wide character takes two cells."""

_NO_XML: Final = {0xFFFE: 0xFFFD, 0xFFFF: 0xFFFD}
"""Characters that are visible enough, and that XML forbids."""


def element(parent: Element, tag: str, text: str = "", **attributes: object) -> Element:
    """Append an element to another one; `class_` and `aria_label` stand for `class` and `aria-label`."""
    made = SubElement(parent, tag, attributes_of(attributes))
    if text:
        made.text = _clean(text)
    return made


def attributes_of(given: Mapping[str, object]) -> dict[str, str]:
    """Return attributes by the names that they have in a document; those that are None are left out."""
    return {
        name.rstrip("_").replace("_", "-"): _clean(str(value)) for name, value in given.items() if value is not None
    }


def drawing(name: str, title: str, about: str, **attributes: object) -> Element:
    """Return an `svg` that says what it shows; `name` makes the ids of its title and description.

    Its role is `group` and not `img`: it may have links, which an image would hide from a reader of the page.
    """
    spoken = {"role": "group", "aria_labelledby": f"{name}-title", "aria_describedby": f"{name}-about"}
    root = Element("svg", attributes_of({"xmlns": "http://www.w3.org/2000/svg", **spoken, **attributes}))
    element(root, "title", title, id=f"{name}-title")
    element(root, "desc", about, id=f"{name}-about")
    return root


def _clean(text: str) -> str:
    return visible(text).translate(_NO_XML)


def page_of(root: Element) -> str:
    """Return a page as HTML."""
    return tostring(root, encoding="unicode", method="html")


def svg_of(root: Element) -> str:
    """Return a drawing as XML, which may stand in a page too."""
    return tostring(root, encoding="unicode")


def width_of(text: str) -> int:
    """Return the width of a text in pixels, as `cut` gives it."""
    return round(cells(text) * CELL)
