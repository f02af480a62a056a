"""What commands print: lines, tables and JSON; colour and progress on a terminal only.

`NO_COLOR` is honoured, and nothing is drawn into a pipe or a file. Everything that a command prints goes through this
module, which keeps the control characters of producers from the terminal. A test looks for code that prints otherwise.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, Literal

import click
import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from dsl.diagnostics import Diagnostic, Severity, render
from worker.report.escape import DANGEROUS, LINES, visible

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from rich.console import ConsoleOptions, RenderableType

Move = Callable[[int, str], None]

NARROW: Final = 8
"""Characters to which a column of a table is folded, at the narrowest."""
_GAP: Final = 2
"""Characters between two columns of a table."""
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


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


def json_of(value: object, *, decimal_format: Literal["string", "number"] = "string") -> str:
    """Return JSON of a value in which every character is seen, and which means the same to its reader."""
    text = msgspec.json.Encoder(decimal_format=decimal_format).encode(value).decode()
    # Such characters are within its strings, where they can be escaped; elsewhere there are none.
    return DANGEROUS.sub(lambda found: found[0] if found[0] in LINES else _escaped_json(found[0]), text)


def _escaped_json(character: str) -> str:
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]


def out() -> Paper:
    """Return a console for results. It is made at each call, since tests and pipes swap standard output."""
    return Paper(sys.stdout)


def err() -> Paper:
    """Return a console for what is not the result: errors, warnings, progress."""
    return Paper(sys.stderr)


def say_json(value: object, *, decimal_format: Literal["string", "number"] = "string") -> None:
    """Print a value as one line of JSON, without characters that a terminal would obey."""
    sys.stdout.write(f"{json_of(value, decimal_format=decimal_format)}\n")


def is_terminal() -> bool:
    """Tell whether output goes to a terminal."""
    return sys.stdout.isatty()


def say(text: str) -> None:
    """Print lines for machines, with the characters visible that a terminal would obey."""
    sys.stdout.write(visible(text, kept=LINES))


def hand_on(content: str | bytes) -> None:
    """Print a text or bytes for another program, exactly as they are; on a terminal, as `say` does."""
    if sys.stdout.isatty():
        say(content if isinstance(content, str) else content.decode("utf-8", "backslashreplace"))
    elif isinstance(content, str):
        sys.stdout.write(content)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def confirm(question: str) -> None:
    """Ask; end the command where the answer is no."""
    click.confirm(visible(question), abort=True)


def show_problem(problem: Diagnostic) -> None:
    """Print one problem with its line underlined."""
    head, *rest = render(problem).split("\n")
    console = out()
    console.print(head, style=f"bold {_COLOURS[problem.severity]}")
    for line in rest:
        console.print(line)


def fail(message: str, hint: str | None = None) -> None:
    """Print why something did not work, and what may help."""
    console = err()
    console.print(Text.assemble(("error:", "bold red"), f" {_indented(message)}"))
    if hint:
        console.print(f"  hint: {_indented(hint)}")


def _indented(text: str) -> str:
    """Return text whose further lines are indented, so that none passes for a line of ours."""
    return re.sub(r"\n(?=\S)", "\n  ", visible(text, kept=LINES))


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[int] = (),
    ids: Iterable[int] = (),
) -> None:
    """Print a table; `right` has the indices of columns of numbers, `ids` of columns that are copied from.

    Neither is folded, however narrow the terminal; in a pipe no column is.
    """
    numbers, whole = set(right), {*right, *ids}
    drawn = Table(box=None, pad_edge=False, header_style="dim")
    for at, column in enumerate(columns):
        drawn.add_column(column, justify="right" if at in numbers else "left", overflow="fold", no_wrap=at in whole)
    # One row is one line: a line break in a cell would pass for another row.
    cells = [[visible(str(cell)) for cell in row] for row in rows]
    for row in cells:
        drawn.add_row(*row)
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    paper = Paper(sys.stdout, soft_wrap=False)
    least = [width if at in whole else min(width, NARROW) for at, width in enumerate(widths)]
    paper.width = max(paper.width, _GAP + sum(least if sys.stdout.isatty() else widths) + _GAP * len(widths))
    if title:
        out().say(title, style="bold")
    paper.print(drawn, crop=False)


@contextmanager
def progress(what: str, total: int | None = None, *, quiet: bool = False) -> Generator[Move]:
    """Yield a function that moves a progress bar by some steps, with a remark; silent where there is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda steps, remark: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[remark]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err(), transient=True) as bar:
        task = bar.add_task(what, total=total, remark="")
        yield lambda steps, remark: bar.update(task, advance=steps, remark=remark)


@contextmanager
def status(what: str, *, quiet: bool = False) -> Generator[Callable[[str], None]]:
    """Yield a function that changes one line of status; silent where there is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda text: None
        return
    with err().status(Text(what)) as line:
        yield lambda text: line.update(Text(text))


def plural(number: int, what: str) -> str:
    """Return `1 error`, `2 errors`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def usage(message: str) -> click.UsageError:
    """Return the error of a command used wrongly: exit code 2."""
    return click.UsageError(visible(message))
