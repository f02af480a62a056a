"""What rich draws: colours, tables, progress on a terminal. `screen` imports it where there is one.

Nothing else prints through it. Control characters of producers are made visible here, as in `screen`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from worker.report.escape import LINES, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from rich.console import ConsoleOptions, RenderableType

NARROW: Final = 8
"""Characters to which a column of a table is folded, at the narrowest."""
_GAP: Final = 2
"""Characters between two columns of a table."""


class Paper(Console):
    """A console that takes no markup, and prints no character that a terminal would obey."""

    def __init__(self, file: IO[str], *, soft_wrap: bool = True) -> None:
        super().__init__(file=file, highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)

    def say(self, text: str, style: str | None = None) -> None:
        """Print one line, even if the text has several: a received line break could pass for a line of ours."""
        self.print(visible(text), style=style)

    def render_str(self, text: str, **how: Any) -> Text:  # noqa: ANN401 - the library's own parameters
        """Turn what is printed into text."""
        # Before it is measured: a column is as wide as its visible text.
        return super().render_str(visible(text, kept=LINES), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Turn anything else into segments, whose text is made visible here."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(visible(segment.text, kept=LINES), segment.style)

    def complain(self, message: str) -> None:
        """Print an error."""
        self.print(Text.assemble(("error:", "bold red"), f" {message}"))

    def draw_table(
        self,
        columns: Sequence[str],
        cells: Sequence[Sequence[str]],
        numbers: AbstractSet[int],
        whole: AbstractSet[int],
    ) -> None:
        """Draw a table; `numbers` has the indices of columns of numbers, `whole` of those that are not folded.

        Where a terminal is too narrow for that, each row becomes a block, with a line for each cell that is not empty.
        """
        widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
        least = [width if at in whole else min(width, NARROW) for at, width in enumerate(widths)]
        if self.file.isatty() and sum(least) + _GAP * (len(least) - 1) > self.width:
            self._draw_blocks(columns, cells, whole)
            return
        drawn = Table(box=None, pad_edge=False, header_style="dim")
        for at, column in enumerate(columns):
            justify = "right" if at in numbers else "left"
            drawn.add_column(column, justify=justify, overflow="fold", no_wrap=at in whole)
        for row in cells:
            drawn.add_row(*row)
        self.width = max(self.width, _GAP + sum(least if self.file.isatty() else widths) + _GAP * len(widths))
        self.print(drawn, crop=False)

    def _draw_blocks(self, columns: Sequence[str], cells: Sequence[Sequence[str]], whole: AbstractSet[int]) -> None:
        label = max(map(cell_len, columns))
        room = max(self.width - label - _GAP, NARROW)
        for number, row in enumerate(cells):
            if number:
                self.print()
            for at, (column, cell) in enumerate(zip(columns, row, strict=True)):
                lines = [cell] if at in whole else [line.plain.rstrip() for line in Text(cell).wrap(self, room)]
                name = column
                for line in lines if cell else ():
                    start = " " * (label - cell_len(name)) + name + " " * _GAP
                    self.print(Text.assemble((start, "dim"), line), crop=False, soft_wrap=True)
                    name = ""

    @contextmanager
    def bar(self, what: str, total: int | None) -> Generator[Callable[[int, str], None]]:
        """Yield a function that moves a progress bar by some steps, with a remark."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[remark]}", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self, transient=True) as bar:
            task = bar.add_task(what, total=total, remark="")
            yield lambda steps, remark: bar.update(task, advance=steps, remark=remark)

    @contextmanager
    def changing(self, what: str) -> Generator[Callable[[str], None]]:
        """Yield a function that changes one line of status."""
        with self.status(Text(what)) as shown:
            yield lambda text: shown.update(Text(text))
