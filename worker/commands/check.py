"""`ach check`: problems and advice in the form that is asked for, and the facts of rules without errors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal, NamedTuple

import click
import msgspec

from dsl.advice import examine
from worker.commands.checked_rules import print_problems, read_rules
from worker.commands.options import PATHS, json_format_option
from worker.report import screen
from worker.rulefiles import yesterday

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsl.ruleset import RuleSet
    from dsl.schema import Rules

Form = Literal["text", "json", "sarif", "github"]
Drawing = Literal["mermaid", "dot", "svg"]


class Request(NamedTuple):
    """What is asked of `ach check`."""

    form: Form
    strict: bool
    verbose: bool
    drawing: Drawing | None


@click.command("check")
@click.argument("paths", nargs=-1, metavar="PATH...", type=PATHS)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    help="How to print problems: for people, as JSON, as SARIF 2.1.0, as commands of GitHub Actions.",
)
@json_format_option
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option(
    "--verbose",
    "-v",
    is_flag=True,
    help="Also print what is final, what is remembered and which achievements share it.",
)
@click.option(
    "--graph",
    "drawing",
    type=click.Choice(["mermaid", "dot", "svg"]),
    is_flag=False,
    flag_value="mermaid",
    help="Draw the rules instead. Without a form it stands after the paths, and means Mermaid.",
)
@click.option("--explain", "code", metavar="CODE", help="Print what a code means, such as ACH410, and check nothing.")
def command(  # noqa: PLR0913 - its options
    paths: Sequence[Path],
    form: Form,
    *,
    as_json: bool,
    strict: bool,
    verbose: bool,
    drawing: Drawing | None,
    code: str | None,
) -> None:
    """Check rule files: every problem in one run, with its place and a hint.

    PATH is a rule file or a folder of them; all of them together are one rule set. A comment `# ach: allow ACH505` on
    a line, or above it, silences a warning there.
    """
    if code is not None:
        _explain_code(code)
        return
    if not paths:
        raise click.UsageError("Missing argument 'PATH...'.")
    request = Request("json" if as_json else form, strict, verbose, drawing)
    sys.exit(0 if _check_rules(read_rules(paths), request) else 1)


def _explain_code(code: str) -> None:
    from worker.report.pages import NoPageError, explained  # noqa: PLC0415 - see _print

    try:
        screen.say(explained(code))
    except NoPageError as error:
        raise click.UsageError(str(error)) from error


def _check_rules(rules: RuleSet, request: Request) -> bool:
    """Print what was found; return whether it is good."""
    found = examine(rules.files, rules.rules, rules.problems, yesterday(), written_out=rules.written_out)
    rules = rules._replace(problems=tuple(found))
    if request.drawing is not None and not rules.errors:
        screen.say(_drawn(rules.rules, request.drawing))
    else:
        _print(rules, request)
    return not rules.errors and not (request.strict and rules.problems)


def _drawn(rules: Rules, form: Drawing) -> str:
    from dsl import graph  # noqa: PLC0415 - see _print

    picture = graph.picture(rules)
    if form == "svg":
        from worker.report import graph_svg  # noqa: PLC0415 - see _print

        return graph_svg.graph(picture, graph_svg.Words("rules", "What counts towards what"), alone=True) + "\n"
    return graph.mermaid(picture) if form == "mermaid" else graph.dot(picture)


def _print(rules: RuleSet, request: Request) -> None:
    if request.form == "text" and not request.verbose:
        print_problems(rules)
        return
    # Imported where they are asked for: an editor or a hook runs the plain form on every file that is saved.
    from worker.report.diagnostics import as_problem, github, sarif  # noqa: PLC0415
    from worker.report.facts import print_facts, rule_facts  # noqa: PLC0415

    facts = rule_facts(rules) if request.verbose and not rules.errors else None
    match request.form:
        case "text":
            print_problems(rules)
            if facts is not None:
                screen.out().print()
                print_facts(facts)
        case "json":
            problems = [as_problem(problem) for problem in rules.problems]
            whole = {"problems": problems, **({} if facts is None else msgspec.structs.asdict(facts))}
            screen.say_json(whole if request.verbose else problems)
        case "sarif":
            screen.say_json(sarif(rules.problems))
        case "github":
            for problem in rules.problems:
                screen.say(f"{github(problem)}\n")
