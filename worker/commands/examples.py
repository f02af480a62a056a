"""The examples of rule files, run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.story import run_example
from dsl.syntax import Example

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.ruleset import RuleSet
    from dsl.story import Failure, Verdict


def run_examples(rules: RuleSet) -> Iterator[Verdict]:
    """Run every example of a rule set without errors, one after the other."""
    if rules.program is None:
        return
    for file in rules.written_out:
        for declaration in file.declarations:
            if isinstance(declaration, Example):
                yield run_example(rules.rules, rules.program, file.source, declaration)


def failed_examples(rules: RuleSet) -> list[Failure]:
    """Run every example of a rule set without errors; return why some fail."""
    return [failure for verdict in run_examples(rules) for failure in verdict.failures]


def failure_line(failure: Failure) -> str:
    """Return in one line where an example fails, and how."""
    line, column = failure.source.position(failure.span.start)
    where = f"{failure.source.name}:{line}:{column}"
    return f'{where}: example "{failure.example}" expects {failure.expected}, and gets {failure.got}'
