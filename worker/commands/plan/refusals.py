"""What `ach apply` would refuse of planned rules beside changed meanings, which the page of the plan has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.check.rewards import check_rewards
from dsl.renames import under_first_names
from worker.admin.versions import BeginsEarlierError, RuleVersion, too_early, versions_of
from worker.commands.examples import failed_examples, failure_line
from worker.engine.renames import Renames
from worker.pipeline.rules_in_force import renamed_before

if TYPE_CHECKING:
    from dsl.diagnostics import Diagnostic
    from dsl.ruleset import RuleSet
    from worker.store import Store


async def refusals(store: Store, rules: RuleSet) -> list[str]:
    """Return lines that say what an apply would refuse: examples, rewards, and versions that begin too early.

    Raises:
        UnavailableError: the database is away.
    """
    found = [failure_line(failure) for failure in failed_examples(rules)]
    found += [_line(problem) for problem in check_rewards(rules.written_out)]
    named = under_first_names(rules)
    async with store.transaction() as session:
        known = await session.rows(RuleVersion, "rule_versions")
        renames = Renames(await renamed_before(session)).with_rules(named)
    if early := renames.shown_in(too_early(known, versions_of(named))):
        found.append(str(BeginsEarlierError(early)))
    return found


def _line(problem: Diagnostic) -> str:
    line, column = problem.source.position(problem.span.start)
    return f"{problem.source.name}:{line}:{column}: {problem.message}"
