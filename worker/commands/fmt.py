"""`ach fmt`: rule files rewritten in the canonical layout, or compared with it."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsl.format import MeaningChangedError, format_source
from dsl.ruleset import decode
from worker.commands.options import json_object_option
from worker.report import screen
from worker.rulefiles import NoRulesError, find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.source import Source


@click.command("fmt")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit 1 if a file is not formatted.")
@click.option("--diff", "only_diff", is_flag=True, help="Change nothing; print what would change, exit 1 if anything.")
@json_object_option
def command(paths: Sequence[Path], *, only_check: bool, only_diff: bool, as_json: bool) -> None:
    """Format rule files in place: one layout, comments kept. PATH `-` formats standard input to standard output."""
    of_stdin = paths == (Path("-"),)
    if as_json and (of_stdin or only_diff):
        raise click.UsageError("--json goes with files, and not with --diff")
    try:
        if of_stdin:
            good = _format_stdin(only_check=only_check, only_diff=only_diff)
        else:
            good = _format_files(paths, only_check=only_check, only_diff=only_diff, as_json=as_json)
    except NoRulesError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(0 if good else 1)


def _format_files(paths: Sequence[Path], *, only_check: bool, only_diff: bool, as_json: bool) -> bool:
    """Format files in place, or say what would change; return whether all could be formatted or already are."""
    changed, unchanged, failed = list[str](), list[str](), list[str]()
    for path in find(paths):
        source, text = _formatted(str(path), path.read_bytes())
        if text is None:
            failed.append(source.name)
        elif text == source.text:
            unchanged.append(source.name)
        else:
            changed.append(source.name)
            if not as_json:
                _print_change(source, text, only_check=only_check, only_diff=only_diff)
            if not (only_check or only_diff):
                path.write_text(text, encoding="utf-8", newline="")
    if as_json:
        screen.say_json({"changed": changed, "unchanged": unchanged, "failed": failed})
    else:
        would = "would be formatted" if only_check or only_diff else "formatted"
        screen.err().print(f"{screen.plural(len(changed), 'file')} {would}, {len(unchanged):,} unchanged")
    return not failed and not (changed and (only_check or only_diff))


def _format_stdin(*, only_check: bool, only_diff: bool) -> bool:
    """Format standard input to standard output, or say what would change; return as `_format_files` does."""
    source, text = _formatted("<stdin>", sys.stdin.buffer.read())
    if text is None:
        return False
    if only_check or only_diff:
        if text != source.text:
            _print_change(source, text, only_check=only_check, only_diff=only_diff)
        return text == source.text
    screen.hand_on(text)
    return True


def _formatted(name: str, content: bytes) -> tuple[Source, str | None]:
    source, problem = decode(name, content)
    if problem is not None:
        screen.show_problem(problem)
        return source, None
    try:
        text = format_source(source)
    except MeaningChangedError:
        screen.fail(
            f"{name}: formatting it would change what it means; it was left as it is", "please report this file"
        )
        return source, None
    if text is None:
        screen.fail(f"{name}: it has syntax errors and was left as it is", f"ach check {name}")
    return source, text


def _print_change(source: Source, text: str, *, only_check: bool, only_diff: bool) -> None:
    if only_diff:
        before, after = source.text.splitlines(keepends=True), text.splitlines(keepends=True)
        lines = difflib.unified_diff(before, after, source.name, f"{source.name} (formatted)")
        # Whole: another program applies it.
        screen.hand_on("".join(lines))
    elif only_check:
        screen.out().print(f"{source.name}: would be formatted")
