"""Trees to rules: does every name exist, and do the rules have a meaning?

`check` takes the files of a whole rule set, because they name each other's events and achievements. It reports every
problem of all files in one run. If it reports no error, all names in `Rules` can be looked up safely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.check.achievements import check_achievement
from dsl.check.conditions import Conditions
from dsl.check.examples import Examples
from dsl.check.names import gather
from dsl.check.possible import check_possible, check_spans
from dsl.check.problems import Problems
from dsl.check.renames import check_renames
from dsl.check.versions import check_links, check_versions
from dsl.check.waiting import check_waiting
from dsl.expand import expand, settled
from dsl.prove import Patterns
from dsl.roles import bases
from dsl.schema import Rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.check.achievements import Named
    from dsl.check.names import Declared, Names
    from dsl.diagnostics import Diagnostic
    from dsl.expand import Expanded
    from dsl.syntax import File

__all__ = ["check"]


def check(files: Sequence[File], expanded: Expanded | None = None) -> tuple[Rules, list[Diagnostic]]:
    """Check a rule set; return its rules, and every problem in the order of the files' names and text.

    `expanded` is what dsl/expand makes of the files, for callers that have it.
    """
    problems = Problems()
    expanded = expand(files) if expanded is None else expanded
    problems.take(expanded.problems)
    names = gather(files, expanded, problems)
    check_renames(names, problems)
    known = names.events if names.unlocks is None else {**names.events, names.unlocks.name: names.unlocks}
    patterns = Patterns(known, names.traits, ledger=True)
    named = {
        name: [_achievement(each, names, patterns, problems) for each in versions]
        for name, versions in names.achievements.items()
    }
    for versions in names.achievements.values():
        check_versions(versions, problems)
        check_spans(tuple(each.node for each in versions), [problems.of(each.source) for each in versions])
    check_links(named, names, problems)
    if not problems.errors:
        check_waiting(names.achievements, problems)
    _examples(names, problems)
    _unused(named, names, problems)
    rules = Rules(
        events=names.events,
        traits=names.traits,
        trait_events=names.trait_events,
        achievements={name: tuple(each.node for each in versions) for name, versions in names.achievements.items()},
        examples=tuple(each.node for each in names.examples),
        roles=names.roles,
        unlocks=names.unlocks,
    )
    return rules, sorted(settled(problems.found), key=lambda problem: problem.order)


def _achievement(declared: Declared, names: Names, patterns: Patterns, problems: Problems) -> Named:
    """Check one version; check whether it is possible only if all its names are known."""
    report = problems.of(declared.source)
    before = problems.errors
    named = check_achievement(declared, names, report)
    if problems.errors == before and not (named.events & names.lost_events):
        check_possible(declared.node, patterns, report)
    return named


def _examples(names: Names, problems: Problems) -> None:
    examples = Examples(names)
    for source, example in names.examples:
        report = problems.of(source)
        examples.check(example, source, Conditions(names, report), report)


def _unused(named: Mapping[str, Sequence[Named]], names: Names, problems: Problems) -> None:
    """Warn of events that no rule listens to; not while rules are missing, or an event's name is misspelt."""
    if names.lost_achievements or any(problem.code == "ACH201" for problem in problems.found):
        return
    used = {event for versions in named.values() for each in versions for event in each.events}
    for source, node in names.declared_events:
        name = node.name.text
        if name not in used and name not in bases(names.trait_events):
            problems.of(source).warn("ACH501", node.name.span, f"no rule uses the event `{name}`")
