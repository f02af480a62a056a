"""Rule files as their author sees them: what is wrong with them, in words, and what their examples say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.story import run_example
from dsl.syntax import Example
from worker import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.story import Verdict
    from worker.rulefiles import RuleSet


def tell_problems(rules: RuleSet) -> None:
    """Print every problem, and how many there are."""
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
