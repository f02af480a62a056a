"""What commands print: lines, tables and JSON; colour and progress on a terminal only.

`NO_COLOR` is honoured, and nothing is drawn into a pipe or a file. Everything that a command prints goes through this
module, which keeps the control characters of producers from the terminal. A test looks for code that prints otherwise.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import contextmanager
from itertools import chain
from typing import IO, TYPE_CHECKING, Final, Literal

import click
import msgspec

from dsl.diagnostics import Diagnostic, Severity, render
from worker.report.escape import DANGEROUS, LINES, visible

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from worker.report.paper import Paper

Move = Callable[[int, str], None]

_FORCED: Final = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
"""Variables with which rich takes a pipe for a terminal."""
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


class Plain:
    """A pipe or a file: lines as they are, without colours, without a width. rich is for terminals, and takes time."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def say(self, text: str, style: str | None = None) -> None:
        """Print one line, even if the text has several: a received line break could pass for a line of ours."""
        self.print(visible(text), style=style)

    def print(self, text: str = "", *, style: str | None = None, markup: bool = False) -> None:  # noqa: ARG002 - as Paper
        """Print lines."""
        if "\t" in text:
            _paper(self._file).print(text)  # which knows the widths of characters
            return
        self._file.write(f"{visible(text, kept=LINES)}\n")
        self._file.flush()


def _paper(file: IO[str], *, soft_wrap: bool = True) -> Paper:
    from worker.report.paper import Paper  # noqa: PLC0415 - rich takes a third of the time of a short command

    return Paper(file, soft_wrap=soft_wrap)


def _console(file: IO[str]) -> Paper | Plain:
    return _paper(file) if file.isatty() or any(name in os.environ for name in _FORCED) else Plain(file)


def json_of(value: object, *, decimal_format: Literal["string", "number"] = "string") -> str:
    """Return JSON of a value in which every character is seen, and which means the same to its reader."""
    text = msgspec.json.Encoder(decimal_format=decimal_format).encode(value).decode()
    # Such characters are within its strings, where they can be escaped; elsewhere there are none.
    return DANGEROUS.sub(lambda found: found[0] if found[0] in LINES else _escaped_json(found[0]), text)


def _escaped_json(character: str) -> str:
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]


def out() -> Paper | Plain:
    """Return a console for results. It is made at each call, since tests and pipes swap standard output."""
    return _console(sys.stdout)


def paper() -> Paper:
    """Return a console for results that knows its width, and draws more than lines."""
    return _paper(sys.stdout)


def err() -> Paper | Plain:
    """Return a console for what is not the result: errors, warnings, progress."""
    return _console(sys.stderr)


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
    if isinstance(console, Plain):
        console.print(f"error: {_indented(message)}")
    else:
        console.complain(_indented(message))
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
    # One row is one line: a line break in a cell would pass for another row.
    cells = [[visible(str(cell)) for cell in row] for row in rows]
    numbers, console = frozenset(right), out()
    if title:
        console.say(title, style="bold")
    if isinstance(console, Plain) and all(map(str.isascii, chain(columns, *cells))):
        console.print("\n".join(_aligned([columns, *cells], numbers)))
    else:
        _paper(sys.stdout, soft_wrap=False).draw_table(columns, cells, numbers, numbers.union(ids))


def _aligned(rows: Sequence[Sequence[str]], numbers: frozenset[int]) -> Iterator[str]:
    """Yield the lines of a table, two spaces between its columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(
            cell.rstrip().rjust(width) if at in numbers else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )


@contextmanager
def progress(what: str, total: int | None = None, *, quiet: bool = False) -> Generator[Move]:
    """Yield a function that moves a progress bar by some steps, with a remark; silent where there is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda steps, remark: None
        return
    with _paper(sys.stderr).bar(what, total) as move:
        yield move


@contextmanager
def status(what: str, *, quiet: bool = False) -> Generator[Callable[[str], None]]:
    """Yield a function that changes one line of status; silent where there is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda text: None
        return
    with _paper(sys.stderr).changing(what) as move:
        yield move


def plural(number: int, what: str) -> str:
    """Return `1 error`, `2 errors`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def usage(message: str) -> click.UsageError:
    """Return the error of a command used wrongly: exit code 2."""
    return click.UsageError(visible(message))
