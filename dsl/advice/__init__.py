"""Advice: useful warnings about rules without errors.

Every warning is proven, but for those that compare a rule with its title (ACH522, ACH528). A comment
`# ach: allow ACH505` silences a code on its own line or on the line below. A comment that silences nothing is reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.advice.allow import Allowances
from dsl.advice.clocks import advise_on_clocks
from dsl.advice.contestable import advise_on_settling
from dsl.advice.copies import advise_on_copies
from dsl.advice.covered import advise_on_examples
from dsl.advice.dates import advise_on_dates
from dsl.advice.filters import advise_on_filters
from dsl.advice.groups import advise_on_groups
from dsl.advice.memory import advise_on_memory
from dsl.advice.redundant import advise_on_parts
from dsl.advice.rulebook import Rulebook
from dsl.advice.shorter import advise_on_length
from dsl.advice.tiers import advise_on_tiers
from dsl.advice.together import advise_on_twins
from dsl.advice.traps import advise_on_traps
from dsl.advice.wording import advise_on_wording
from dsl.check.problems import Problems
from dsl.check.rewards import check_rewards
from dsl.check.unlocks import check_names
from dsl.diagnostics import Severity
from dsl.expand import expand, settled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.diagnostics import Diagnostic
    from dsl.schema import Rules
    from dsl.syntax import File

__all__ = ["examine"]


def examine(
    files: Sequence[File],
    rules: Rules,
    problems: Iterable[Diagnostic],
    today: str | None = None,
    *,
    written_out: Sequence[File] | None = None,
) -> list[Diagnostic]:
    """Return the problems of the parser and the checker with advice, without allowed warnings.

    `today` is a date such as `2026-04-13`, for advice on dates that have passed; None leaves that out.
    `written_out` are the files as dsl/expand makes them, for callers that have them.
    """
    whole = expand(files).files if written_out is None else written_out
    found = [*problems, *check_rewards(whole), *check_names(files)]
    sound = all(problem.severity is not Severity.ERROR for problem in found)
    if sound:
        found += advise(whole, rules, today)
    return sorted(Allowances(files).applied(found, sound=sound), key=lambda problem: problem.order)


def advise(files: Sequence[File], rules: Rules, today: str | None = None) -> list[Diagnostic]:
    """Return advice on rules without errors, in files without families; `today` as in `examine`."""
    problems, book = Problems(), Rulebook(files, rules)
    for advice in (
        advise_on_filters,
        advise_on_settling,
        advise_on_tiers,
        advise_on_parts,
        advise_on_twins,
        advise_on_memory,
        advise_on_length,
        advise_on_examples,
        advise_on_traps,
        advise_on_groups,
        advise_on_copies,
        advise_on_wording,
        advise_on_clocks,
    ):
        advice(book, problems)
    if today is not None:
        advise_on_dates(book, problems, today)
    return settled(problems.found)
