"""The tables of docs/mirror.md, made from the layout: python -m tests.worker.mirror.page writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from worker.mirror.layout import LAYERS, VIEWS

PAGE: Final = Path(__file__).parents[3] / "docs" / "mirror.md"
BEGIN: Final = "<!-- written by `python -m tests.worker.mirror.page` from worker/mirror/layout.py -->"
END: Final = "<!-- end of what is written -->"


def tables() -> str:
    """Return the tables of all layers and views."""
    parts: list[str] = []
    for layer in LAYERS:
        rows = [
            f"| `{one.name}` | {one.kind} | {'yes' if one.nullable else ''} | {one.meaning} |" for one in layer.columns
        ]
        key = ", ".join(f"`{name}`" for name in layer.key)
        head = [f"### {layer.name}", "", f"{layer.meaning} Its key: {key}.", ""]
        parts.append("\n".join([*head, "| column | type | null | meaning |", "|---|---|---|---|", *rows]))
    rows = [f"| `{view.name}` | {view.meaning} |" for view in VIEWS]
    parts.append("\n".join(["### Views", "", "| view | what |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def filled(page: str) -> str:
    """Return the page with its tables anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, behind = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{behind}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
