"""`ach check`: problems and advice in the form that is asked for, and what is known about rules without errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from dsl import graph
from dsl.advice import examine
from worker.commands.authoring import tell_problems
from worker.report import screen
from worker.report.diagnostics import as_problem, github, sarif
from worker.report.facts import tell_truths, truths

if TYPE_CHECKING:
    from worker.rulefiles import RuleSet

Form = Literal["text", "json", "sarif", "github"]
Drawing = Literal["mermaid", "dot"]


class Request(NamedTuple):
    """What is asked of `ach check`."""

    form: Form
    strict: bool
    verbose: bool
    drawing: Drawing | None


def check_command(rules: RuleSet, request: Request) -> bool:
    """Print what was found; tell whether it is good."""
    rules = rules._replace(problems=tuple(examine(rules.files, rules.rules, rules.problems)))
    if request.drawing is not None and not rules.errors:
        drawn = graph.picture(rules.rules)
        screen.say(graph.mermaid(drawn) if request.drawing == "mermaid" else graph.dot(drawn))
    else:
        _tell(rules, request)
    return not rules.errors and not (request.strict and rules.problems)


def _tell(rules: RuleSet, request: Request) -> None:
    known = truths(rules) if request.verbose and not rules.errors else None
    match request.form:
        case "text":
            tell_problems(rules)
            if known is not None:
                screen.out().print()
                tell_truths(known)
        case "json":
            problems = [as_problem(problem) for problem in rules.problems]
            told = {"problems": problems, **({} if known is None else msgspec.structs.asdict(known))}
            screen.say_json(told if request.verbose else problems)
        case "sarif":
            screen.say_json(sarif(rules.problems))
        case "github":
            for problem in rules.problems:
                screen.say(f"{github(problem)}\n")
