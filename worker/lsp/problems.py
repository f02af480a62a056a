"""Diagnostics: what the checker says, and what examples said when they were last run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lsprotocol.types import Diagnostic, DiagnosticSeverity, DiagnosticTag

from dsl.diagnostics import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lsprotocol.types import Range

    from dsl.diagnostics import Diagnostic as Problem
    from dsl.story import Failure
    from worker.lsp.desk import Desk
    from worker.lsp.rulebook import Edition

SOURCE: Final = "ach"
EXAMPLE: Final = "example"
"""The code of an expectation that was not met."""
_SEVERITIES: Final = {Severity.ERROR: DiagnosticSeverity.Error, Severity.WARNING: DiagnosticSeverity.Warning}
_UNUSED: Final = "ACH501"


def diagnostics(desk: Desk, edition: Edition) -> dict[str, list[Diagnostic]]:
    """Return the problems of every file of a rule set, of files without any too."""
    found: dict[str, list[Diagnostic]] = {uri: [] for uri in edition.pages}
    for problem in edition.diagnostics():
        place = desk.location(edition, problem.source, problem.span)
        found[place.uri].append(as_diagnostic(problem, place.range))
    for failure in _failures(desk, edition):
        place = desk.location(edition, failure.source, failure.span)
        found[place.uri].append(_failed(failure, place.range))
    return found


def as_diagnostic(problem: Problem, where: Range) -> Diagnostic:
    """Return a problem as the protocol has it; its hint is a line of the message."""
    message = problem.message if problem.hint is None else f"{problem.message}\nhint: {problem.hint}"
    return Diagnostic(
        range=where,
        message=message,
        severity=_SEVERITIES[problem.severity],
        code=problem.code,
        source=SOURCE,
        tags=[DiagnosticTag.Unnecessary] if problem.code == _UNUSED else None,
    )


def _failures(desk: Desk, edition: Edition) -> Iterator[Failure]:
    for ran, verdict in desk.verdicts.values():
        if ran is edition:
            yield from verdict.failures


def _failed(failure: Failure, where: Range) -> Diagnostic:
    return Diagnostic(
        range=where,
        message=f"expected: {failure.expected}\ngot: {failure.got}",
        severity=DiagnosticSeverity.Error,
        code=EXAMPLE,
        source=SOURCE,
    )
