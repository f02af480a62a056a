"""Rule files as their author sees them: what is wrong with them, in words, and what their examples say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.diagnostics import Diagnostic, Severity
from dsl.story import run_example
from dsl.syntax import Achievement, Example
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dsl.story import Verdict
    from worker.engine.meaning import Changed
    from worker.rulefiles import RuleSet


def tell_problems(rules: RuleSet) -> None:
    """Print every problem, and how many there are."""
    for problem in rules.problems:
        screen.show_problem(problem)
    warnings = len(rules.problems) - rules.errors
    named = f"{screen.plural(len(rules.files), 'file')}, {screen.plural(len(rules.rules.achievements), 'achievement')}"
    if not rules.problems:
        screen.out().print(f"{named}: no problems")
    else:
        found = f"{screen.plural(rules.errors, 'error')}, {screen.plural(warnings, 'warning')}"
        screen.out().print(f"{named}: {found}")


def meanings_changed(rules: RuleSet, changed: Iterable[Changed]) -> Iterator[Diagnostic]:
    """Yield a problem for each version that means something else than when it was deployed."""
    wanted = {(one.achievement, one.version): one for one in changed}
    for file in rules.files:
        for node in file.declarations:
            one = wanted.get((node.name.text, node.version)) if isinstance(node, Achievement) else None
            if one is None or not isinstance(node, Achievement):
                continue
            name, latest = node.name.text, rules.rules.achievements[node.name.text][-1].version
            message = f"`{name}` version {node.version} means something else than when it was deployed"
            hint = f"undo the change, or make it version {latest + 1}: achievement {name} version {latest + 1} from ..."
            if not one.own:
                message += f": {'; '.join(one.reasons)}"
                hint = (
                    f"undo the change, or put version {latest + 1} in its place, or have everyone judged anew: "
                    "ach apply --accept-contracts"
                )
            yield Diagnostic("ACH422", Severity.ERROR, file.source, node.name.span, message, hint)


def run_examples(rules: RuleSet) -> Iterator[Verdict]:
    """Run every example of a rule set without errors, one after the other."""
    if rules.program is None:
        return
    for file in rules.files:
        for declaration in file.declarations:
            if isinstance(declaration, Example):
                yield run_example(rules.rules, rules.program, file.source, declaration)
