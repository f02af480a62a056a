"""`ach contract`: the declared events as JSON Schema, AsyncAPI, and types of TypeScript and Python."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
import msgspec

from worker.artefacts.bundle import files_of
from worker.artefacts.folder import bring_up_to_date, differences
from worker.commands.checked_rules import usable_rules
from worker.commands.options import PATHS, json_object_option, rules_argument
from worker.report import screen
from worker.settings import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.artefacts.folder import Difference


def _prefix(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return the value of --prefix, which is part of a subject."""
    del context, parameter
    try:
        return msgspec.convert(value, Subject)
    except msgspec.ValidationError as error:
        raise click.BadParameter(f"{value!r}: expected a subject without wildcards, such as events") from error


@click.command("contract")
@rules_argument
@click.option("--output", "-o", "folder", required=True, metavar="DIR", type=PATHS, help="Folder for the files.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where the folder is not up to date.")
@click.option("--title", default="Events", show_default=True, help="Title of the AsyncAPI document.")
@click.option(
    "--prefix",
    default="events",
    show_default=True,
    callback=_prefix,
    help="How subjects begin (ACH_INPUT_PREFIX of the worker).",
)
@json_object_option
def command(paths: Sequence[Path], folder: Path, title: str, prefix: str, *, check: bool, as_json: bool) -> None:
    """Write the contracts of declared events for producers: JSON Schema, AsyncAPI 3, TypeScript and Python.

    Run it again when the rules change, and with --check in CI. See docs/producing.md.
    """
    events = usable_rules(paths).rules.events
    if not events:
        screen.fail("the rules declare no events", "declare them: event lesson.completed { lesson_id: string }")
        sys.exit(1)
    files = files_of(events, prefix=prefix, title=title)
    try:
        if as_json:
            found = differences(folder, files) if check else bring_up_to_date(folder, files)
            screen.say_json(_as_json(folder, files, found, check=check))
            good = not (check and found)
        else:
            good = _check(folder, files) if check else _write(folder, files, len(events))
    except OSError as error:
        screen.fail(f"{error.filename}: {error.strerror}")
        good = False
    sys.exit(0 if good else 1)


def _as_json(folder: Path, files: Mapping[str, str], found: Sequence[Difference], *, check: bool) -> dict[str, object]:
    """Return what was written, or with --check what is out of date."""
    rows = [{"file": str(folder / path), "state": str(state)} for path, state in found]
    return {"folder": str(folder), "files": len(files), "out_of_date" if check else "changed": rows}


def _check(folder: Path, files: Mapping[str, str]) -> bool:
    """Print what is out of date; return whether nothing is."""
    found = differences(folder, files)
    for path, state in found:
        screen.out().print(f"{folder / path}: {state}", markup=False)
    if found:
        screen.fail(
            f"{folder}: {screen.plural(len(found), 'file')} not up to date", "run the same command without --check"
        )
        return False
    screen.out().print(f"{folder}: up to date, {screen.plural(len(files), 'file')}", markup=False)
    return True


def _write(folder: Path, files: Mapping[str, str], events: int) -> bool:
    """Bring the folder up to date, and print what was done."""
    done = bring_up_to_date(folder, files)
    named = f"{screen.plural(events, 'event type')}, {screen.plural(len(files), 'file')}"
    changed = f"{len(done)} changed" if done else "all up to date"
    screen.out().print(f"{folder}: {named}, {changed}", markup=False)
    return True
