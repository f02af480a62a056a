"""Rule files as their author sees them: what is wrong with them, in words, and what their examples say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dsl.story import run_example
from dsl.syntax import Example
from worker import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.diagnostics import Diagnostic
    from dsl.story import Verdict
    from worker.rulefiles import RuleSet


class Problem(msgspec.Struct, frozen=True):
    """A diagnostic as JSON: places count from 1, the end is exclusive."""

    code: str
    severity: str
    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    hint: str | None


def as_problem(found: Diagnostic) -> Problem:
    """Return a diagnostic in the form of `--format json`."""
    line, column = found.source.position(found.span.start)
    end_line, end_column = found.source.position(max(found.span.end, found.span.start))
    return Problem(
        found.code,
        found.severity.value,
        found.source.name,
        line,
        column,
        end_line,
        end_column,
        found.message,
        found.hint,
    )


def tell_problems(rules: RuleSet, *, as_json: bool) -> None:
    """Print every problem, and how many there are."""
    if as_json:
        print(msgspec.json.encode([as_problem(problem) for problem in rules.problems]).decode())  # noqa: T201
        return
    for problem in rules.problems:
        terminal.show_problem(problem)
    warnings = len(rules.problems) - rules.errors
    named = (
        f"{terminal.plural(len(rules.files), 'file')}, {terminal.plural(len(rules.rules.achievements), 'achievement')}"
    )
    if not rules.problems:
        terminal.out().print(f"{named}: no problems")
    else:
        found = f"{terminal.plural(rules.errors, 'error')}, {terminal.plural(warnings, 'warning')}"
        terminal.out().print(f"{named}: {found}")


def run_examples(rules: RuleSet) -> Iterator[Verdict]:
    """Run every example of a rule set without errors, one after the other."""
    if rules.program is None:
        return
    for file in rules.files:
        for declaration in file.declarations:
            if isinstance(declaration, Example):
                yield run_example(rules.rules, rules.program, file.source, declaration)
