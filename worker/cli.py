"""The command line: a table of commands, each a few lines over the module that does the work.

Exit codes: 0 good, 1 something is wrong (with the rules, the events, a server), 2 used wrongly.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.rulefiles import RuleSet

# Modules are imported where a command needs them: `ach fmt` in an editor should not wait for a database driver.

_PATHS: Final = click.Path(path_type=Path)
_rules_argument = click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=_PATHS)
_rules_option = click.option(
    "--rules",
    "-r",
    "paths",
    multiple=True,
    required=True,
    metavar="PATH",
    type=_PATHS,
    help="Rule file or folder; may be given several times.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("ach"), prog_name="ach")
def main() -> None:
    """Grant achievements from event streams, exactly once.

    Rules are text files (*.ach). Start with `ach demo`, then write a rule file, `ach check` it, and try it on a
    recorded stream with `ach replay`. A worker takes NATS_URL and DATABASE_URL from the environment.
    """


def _load(paths: Sequence[Path]) -> RuleSet:
    from worker.rulefiles import NoRulesError, load  # noqa: PLC0415

    try:
        return load(paths)
    except NoRulesError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from error


def _load_good(paths: Sequence[Path]) -> RuleSet:
    """Load rules that are to be used; tell their errors and end where there are any."""
    from worker import terminal  # noqa: PLC0415
    from worker.authoring import tell_problems  # noqa: PLC0415

    rules = _load(paths)
    if rules.errors:
        tell_problems(rules, as_json=False)
        terminal.fail("the rules have errors; nothing was done")
        sys.exit(1)
    return rules


# -- authoring --------------------------------------------------------------------------------------------------------


@main.command()
@_rules_argument
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print problems.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
def check(paths: Sequence[Path], form: str, strict: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Check rule files: every problem in one run, with its place and a hint.

    PATH is a rule file or a folder of them; all of them together are one rule set.
    """
    from worker.authoring import tell_problems  # noqa: PLC0415

    rules = _load(paths)
    tell_problems(rules, as_json=form == "json")
    sys.exit(1 if rules.errors or (strict and rules.problems) else 0)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit 1 where a file is not formatted.")
@click.option("--diff", "only_diff", is_flag=True, help="Change nothing; print what would change, exit 1 if anything.")
def fmt(paths: Sequence[Path], only_check: bool, only_diff: bool) -> None:  # noqa: FBT001
    """Format rule files in place: one layout, comments kept. PATH `-` formats standard input to standard output."""
    from worker.formatting import format_files, format_stdin  # noqa: PLC0415
    from worker.rulefiles import NoRulesError  # noqa: PLC0415

    try:
        if paths == (Path("-"),):
            good = format_stdin(only_check=only_check, only_diff=only_diff)
        else:
            good = format_files(paths, only_check=only_check, only_diff=only_diff)
    except NoRulesError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(0 if good else 1)


@main.command()
@_rules_argument
def test(paths: Sequence[Path]) -> None:
    """Run the examples in rule files: in order, shuffled, doubled and in batches."""
    from worker.authoring import run_examples, tell_verdicts  # noqa: PLC0415

    sys.exit(0 if tell_verdicts(run_examples(_load_good(paths))) else 1)


# -- replay -----------------------------------------------------------------------------------------------------------


@main.command()
@click.argument("streams", nargs=-1, required=True, metavar="STREAM...")
@_rules_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: digest, unlocks, contested, counts.")
@click.option(
    "--expect",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compare with a stored result (of --json); exit 1 and show the difference.",
)
@click.option(
    "--through-worker",
    is_flag=True,
    help="Run through NATS, a worker and PostgreSQL (private ones) instead of in this process.",
)
@click.option("--now", metavar="INSTANT", help="What counts as now for events from the future (default: the clock).")
def replay(
    streams: Sequence[str],
    paths: Sequence[Path],
    as_json: bool,  # noqa: FBT001
    expect: Path | None,
    through_worker: bool,  # noqa: FBT001
    now: str | None,
) -> None:
    """Fold recorded streams (JSON Lines, also .gz and .zst; `-` is standard input) and print what comes out.

    Nothing is stored, and no server is needed unless --through-worker asks for private ones.
    """
    from worker.replaying import Request, replay_command  # noqa: PLC0415

    rules = _load_good(paths)
    request = Request(tuple(streams), as_json=as_json, expect=expect, through_worker=through_worker, now=_instant(now))
    sys.exit(0 if replay_command(rules, request) else 1)


def _instant(text: str | None) -> int:
    from dsl.payload import instant  # noqa: PLC0415

    if text is None:
        return time_ns() // 1000
    moment = instant(text)
    if moment is None:
        raise click.UsageError(f"--now: {text!r} is no RFC 3339 instant, such as 2026-05-01T00:00:00Z")
    return moment[0]
