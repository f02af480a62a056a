"""A picture in the terminal that changes, and the keys that are pressed meanwhile."""

from __future__ import annotations

import os
import sys
import termios
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from worker.report.escape import visible
from worker.report.paper import Paper

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

LABEL: Final = 14
"""Characters of the column of labels."""
ERROR: Final = "red"
"""A style: of an error."""
CHART: Final = "chart"
"""A style: of a chart the end is kept, where not all of it has room."""
NARROW: Final = 60
"""Characters of a terminal below which a label has a line of its own."""

Row = tuple[str, str, str]
"""Label, text, style."""


def can_draw() -> bool:
    """Return whether standard output is a terminal on which lines can be drawn again."""
    return sys.stdout.isatty() and not Paper(sys.stdout).is_dumb_terminal


@contextmanager
def picture() -> Generator[Callable[[Sequence[Row], str], None]]:
    """Give a function that draws rows, and a last line below them, on the whole terminal; what was there comes back."""
    paper = Paper(sys.stdout, soft_wrap=False)
    with Live(console=paper, screen=True, auto_refresh=False) as live:

        def draw(rows: Sequence[Row], last: str) -> None:
            width, height = paper.size
            live.update(Group(*_fit(drawn(rows, width), height, last)), refresh=True)

        yield draw


def drawn(rows: Sequence[Row], width: int, *, whole: bool = False) -> list[Text]:
    """Return rows as lines of a width. What is too long is cut; an error is folded, and so is all else where `whole`.

    An error ends with what to do.
    """
    found: list[Text] = []
    for label, said, named in rows:
        text = said[-(width - 1) :] if named == CHART and width < NARROW else said
        style = "" if named == CHART else named
        indent = 1 if width < NARROW else LABEL
        if width < NARROW and label:
            found.append(Text(label, "bold"))
        head = " " if width < NARROW else f"{label:{LABEL}}"
        body = Text(visible(text), style)
        folded = _folded(body, max(width - indent, 1)) if whole or style == ERROR else [body]
        found.append(Text.assemble((head, "bold"), folded[0]))
        found += [Text.assemble(" " * indent, more) for more in folded[1:]]
    for line in found:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return found


def _folded(text: Text, width: int) -> list[Text]:
    return [*text.wrap(Console(width=width), width)] or [text]


def _fit(lines: list[Text], height: int, last: str) -> list[Text]:
    """Return as many lines as a terminal has; the last one stays."""
    room = max(height - 1, 1)
    shown = lines if len(lines) <= room else [*lines[: room - 1], Text(f"{len(lines) - room + 1} lines more", "dim")]
    return [*shown, Text(last, "dim", no_wrap=True, overflow="ellipsis")]


@contextmanager
def keys() -> Generator[Callable[[], str] | None]:
    """Give a function that returns what has been pressed, each key at once; None where nothing can be pressed.

    Wait until standard input is readable before it is called.
    """
    if not sys.stdin.isatty():
        yield None
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    tty.setcbreak(number)
    try:
        yield lambda: _read(number)
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def _read(number: int) -> str:
    return os.read(number, 64).decode(errors="replace")
