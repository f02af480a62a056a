"""What a run of faults has survived: printed, and kept for the table of docs/guarantees.md.

Each line is kept as JSON in the file that ACH_FAULTS_LOG names. `python -m tests.faults.tally show LOG` prints what a
log says; `python -m tests.faults.tally table PAGE LOG...` puts it into the table between the markers of a page.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BEGIN: Final = "<!-- figures of faults: written by `just figures` -->"
END: Final = "<!-- end of figures of faults -->"
HEAD: Final = (
    "| what was done | what was counted; after each: nothing lost, nothing missing, nothing twice |"
    " form, seconds, day | test |\n|---|---|---|---|"
)
FORMS: Final = ("quick", "long")
"""In the order of their weight: a quick run does not replace a long one."""


class Tally(msgspec.Struct, frozen=True):
    """What one test counted. `seconds` are those of the test until then, `day` is a date in UTC."""

    what: str
    """Names the row: the same for a quick and a long run."""
    said: str
    form: str
    seconds: float
    day: str
    test: str


class _Running:
    """The test that runs."""

    began = perf_counter()


def begin() -> None:
    """Note that a test begins."""
    _Running.began = perf_counter()


def is_long() -> bool:
    """Tell whether this is the long form."""
    return os.environ.get("ACH_FAULTS") == "long"


def tell(what: str, said: str, *, form: str | None = None) -> None:
    """Print what was counted, and keep it."""
    sys.stdout.write(f"{what}: {said}\n")
    log = os.environ.get("ACH_FAULTS_LOG")
    if log is None:
        return
    one = Tally(
        what=what,
        said=said,
        form=form or FORMS[is_long()],
        seconds=round(perf_counter() - _Running.began, 1),
        day=datetime.now(UTC).date().isoformat(),
        test=os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0],
    )
    # One write each: processes side by side do not mix their lines.
    with Path(log).open("ab", buffering=0) as file:
        file.write(msgspec.json.encode(one) + b"\n")


def count(name: str, *, quick: int, long: int) -> int:
    """Return how many faults of a kind to make: ACH_FAULTS_<NAME>, or what the form of the run takes."""
    return int(os.environ.get(f"ACH_FAULTS_{name}", long if is_long() else quick))


# -- the table ---------------------------------------------------------------------------------------------------------


def read(log: str) -> list[Tally]:
    """Return what a log holds, in its order."""
    return [msgspec.json.decode(line, type=Tally) for line in log.splitlines()]


def latest(tallies: Iterable[Tally]) -> dict[str, Tally]:
    """Return one tally a row: the latest long one where there is one, else the latest."""
    chosen: dict[str, Tally] = {}
    for one in tallies:
        before = chosen.get(one.what)
        if before is None or FORMS.index(one.form) >= FORMS.index(before.form):
            chosen[one.what] = one
    return chosen


def filled(page: str, tallies: Mapping[str, Tally]) -> str:
    """Return a page with rows put in; a row that nothing was measured for, or only in the quick form, stays.

    Raises:
        ValueError: the page has no markers.
    """
    before, found, rest = page.partition(BEGIN)
    table, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError("the page has no markers for the table")
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines() if _is_row(line)}
    for what, one in tallies.items():
        there = rows.get(what)
        if there is None or one.form == FORMS[-1] or f" | {FORMS[-1]}, " not in there:
            rows[what] = _row(one)
    body = "\n".join((HEAD, *(rows[what] for what in sorted(rows))))
    return f"{before}{BEGIN}\n\n{body}\n\n{END}{after}"


def _is_row(line: str) -> bool:
    return line.startswith("| ") and line not in HEAD


def _row(one: Tally) -> str:
    path, _, name = one.test.partition("::")
    test = f"`{path.rpartition('/')[2]}::{name.partition('[')[0]}`"
    return f"| {one.what} | {one.said} | {one.form}, {one.seconds:,.0f} s, {one.day} | {test} |"


def main(arguments: list[str]) -> int:
    """Do what the command line asks for; return the exit code."""
    match arguments:
        case ["show", log]:
            lines = [f"{one.what}: {one.said} ({one.seconds:,.0f} s)\n" for one in read(Path(log).read_text("utf-8"))]
            sys.stdout.writelines(lines)
        case ["table", page, *logs]:
            place = Path(page)
            # A pattern that a shell found nothing for comes as it is.
            there = [Path(log) for log in logs if Path(log).exists()]
            tallies = [one for log in there for one in read(log.read_text("utf-8"))]
            place.write_text(filled(place.read_text("utf-8"), latest(tallies)), "utf-8")
        case _:
            sys.stderr.write("usage: python -m tests.faults.tally show LOG | table PAGE LOG...\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
