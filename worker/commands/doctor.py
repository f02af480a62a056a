"""`ach doctor`: what servers, settings and tables are like, and what mends them."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from worker.commands.servers import on_servers
from worker.doctor.finding import Level
from worker.doctor.gather import examine_all
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.doctor.finding import Finding

_COLOURS: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red", Level.NOT_CHECKED: "dim"}
_WIDTH: Final = 8
"""Of the first column."""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array: check, level, said, mend.")
@click.option("--quiet", "-q", is_flag=True, help="Print what is not ok alone.")
@click.option("--strict", is_flag=True, help="Exit 1 for warnings too.")
def command(*, as_json: bool, quiet: bool, strict: bool) -> None:
    """Check a setup: servers, rights, clocks, streams, schema, rules, outbox; print what mends each.

    It changes nothing. Exit code 1 where there are errors, 0 where there are none; warnings alone do not count.
    """
    findings: list[Finding] = on_servers(partial(examine_all))
    shown = [one for one in findings if not quiet or one.level is not Level.OK]
    if as_json:
        names = ("check", "level", "said", "mend")
        screen.say_json([{name: getattr(one, name) for name in names} for one in shown])
    else:
        _print(shown, findings)
    sys.exit(_code(findings, strict=strict))


def _code(findings: Sequence[Finding], *, strict: bool) -> int:
    bad = {Level.ERROR, Level.WARNING} if strict else {Level.ERROR}
    return int(any(one.level in bad for one in findings))


def _print(shown: Sequence[Finding], findings: Sequence[Finding]) -> None:
    paper = screen.paper()
    for one in shown:
        said = "-" if one.level is Level.NOT_CHECKED else one.level.value
        text = one.said.replace("\n", " ")
        paper.print(f"{said:{_WIDTH}}", style=_COLOURS[one.level], end=" ")
        paper.say(f"{one.check}: {text}")
        if one.mend:
            paper.print(f"{'':{_WIDTH}}   mend it: {one.mend}")
    counts = {level: sum(one.level is level for one in findings) for level in Level}
    errors, warnings = screen.plural(counts[Level.ERROR], "error"), screen.plural(counts[Level.WARNING], "warning")
    paper.print(f"{errors}, {warnings}, {counts[Level.OK]} ok, {counts[Level.NOT_CHECKED]} not checked")
