"""What a person sees: colour where it is wanted, tables, progress on a terminal only.

`NO_COLOR` is honoured everywhere, and nothing is drawn into a pipe or a file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from dsl.diagnostics import Diagnostic, Severity, render

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

Move = Callable[[int, str], None]

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


def out() -> Console:
    """Return a console for results; made when asked for, since tests and pipes swap standard output."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def err() -> Console:
    """Return a console for what is said beside the result."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def show_problem(problem: Diagnostic) -> None:
    """Print one problem with its line underlined."""
    head, *rest = render(problem).split("\n")
    console = out()
    console.print(head, style=f"bold {_COLOURS[problem.severity]}", markup=False)
    for line in rest:
        console.print(line, markup=False)


def fail(message: str, hint: str | None = None) -> None:
    """Print why something did not work, and what may help."""
    console = err()
    console.print(f"[bold red]error:[/] {escape(message)}")
    if hint:
        console.print(f"  hint: {escape(hint)}")


def escape(text: str) -> str:
    """Return text that rich prints as it is."""
    return text.replace("[", r"\[")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[int] = ()) -> None:
    """Print a table; `right` names the columns of numbers."""
    numbers = set(right)
    drawn = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for at, column in enumerate(columns):
        drawn.add_column(column, justify="right" if at in numbers else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(escape(str(cell)) for cell in row))
    Console(file=sys.stdout, highlight=False).print(drawn)


@contextmanager
def progress(what: str, total: int | None = None) -> Generator[Move]:
    """Yield a function that moves a progress bar on by a number of steps, with a remark; silent where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda steps, remark: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[remark]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(what, total=total, remark="")
        yield lambda steps, remark: bar.update(task, advance=steps, remark=remark)


@contextmanager
def status(what: str) -> Generator[Callable[[str], None]]:
    """Yield a function that changes one line of status; silent where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    with Console(file=sys.stderr).status(what) as line:
        yield line.update


def plural(number: int, what: str) -> str:
    """Return `1 error`, `2 errors`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def usage(message: str) -> click.UsageError:
    """Return the error of a command used wrongly: exit code 2."""
    return click.UsageError(message)
