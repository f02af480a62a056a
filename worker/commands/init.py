"""`ach init`: the first files of a folder of rules."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from worker.commands.options import PATHS, json_object_option
from worker.local.starter import write_starter
from worker.report import screen
from worker.rulefiles import NoRulesError, find

if TYPE_CHECKING:
    from worker.local.starter import CI

NEXT: Final = """
next:
  ach test rules/                      runs the examples in the rules
  ach replay events.jsonl -r rules/    shows what the recorded events earn
  ach dev rules/                       runs it: servers, a worker, console and API, until Ctrl-C
  ach emit events.jsonl                in another shell: sends the events to it
"""
"""What is worth doing now; the tutorial goes the same way."""


@click.command("init")
@click.argument("folder", type=PATHS, default=Path(), metavar="[FOLDER]")
@click.option(
    "--ci", type=click.Choice(["github", "gitlab", "none"]), default="github", show_default=True, help="Which CI runs."
)
@json_object_option
def command(folder: Path, ci: CI, *, as_json: bool) -> None:
    """Write the first files of a folder of rules: rules with an example, events to send, a check for CI.

    A file that is there stays as it is.
    """
    sys.exit(0 if _init(folder, ci, as_json=as_json) else 1)


def _init(folder: Path, ci: CI, *, as_json: bool) -> bool:
    """Write the files; return whether that was possible."""
    if _has_rules(folder / "rules"):
        screen.fail(f"{folder / 'rules'} has rule files already", "choose another folder: ach init FOLDER")
        return False
    try:
        written, kept = write_starter(folder, ci)
    except OSError as error:
        screen.fail(f"{error.filename}: {error.strerror}")
        return False
    if as_json:
        screen.say_json({"folder": str(folder), "written": written, "kept": kept})
        return True
    for path in written:
        screen.out().say(f"wrote {folder / path}")
    for path in kept:
        screen.out().say(f"kept  {folder / path}, which was there")
    where = "" if folder == Path() else f"  cd {shlex.quote(str(folder))}\n"
    screen.out().print(NEXT.replace("next:\n", f"next:\n{where}"), markup=False)
    return True


def _has_rules(folder: Path) -> bool:
    try:
        return folder.is_dir() and bool(find([folder]))
    except (NoRulesError, OSError):
        return False
