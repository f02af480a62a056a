"""Diagnostics: what the checker says, and what examples said when they were last run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lsprotocol.types import Diagnostic, DiagnosticSeverity, DiagnosticTag

from dsl.diagnostics import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.diagnostics import Diagnostic as Problem
    from dsl.story import Failure
    from worker.lsp.desk import Desk
    from worker.lsp.positions import Lines
    from worker.lsp.rulebook import Edition

SOURCE: Final = "ach"
EXAMPLE: Final = "example"
"""The code of an expectation that was not met."""
_SEVERITIES: Final = {Severity.ERROR: DiagnosticSeverity.Error, Severity.WARNING: DiagnosticSeverity.Warning}
_UNUSED: Final = "ACH501"


def diagnostics(desk: Desk, edition: Edition) -> dict[str, list[Diagnostic]]:
    """Return the problems of every file of a rule set, of files without any too."""
    lines = {uri: desk.lines(page.source) for uri, page in edition.pages.items()}
    found: dict[str, list[Diagnostic]] = {uri: [] for uri in lines}
    for problem in edition.problems:
        found[problem.source.name].append(as_diagnostic(problem, lines[problem.source.name]))
    for failure in _failures(desk, edition):
        found[failure.source.name].append(_failed(failure, lines[failure.source.name]))
    return found


def as_diagnostic(problem: Problem, lines: Lines) -> Diagnostic:
    """Return a problem as the protocol has it; its hint is a line of the message."""
    message = problem.message if problem.hint is None else f"{problem.message}\nhint: {problem.hint}"
    return Diagnostic(
        range=lines.range(problem.span),
        message=message,
        severity=_SEVERITIES[problem.severity],
        code=problem.code,
        source=SOURCE,
        tags=[DiagnosticTag.Unnecessary] if problem.code == _UNUSED else None,
    )


def _failures(desk: Desk, edition: Edition) -> Iterator[Failure]:
    for ran, verdict in desk.told.values():
        if ran is edition:
            yield from verdict.failures


def _failed(failure: Failure, lines: Lines) -> Diagnostic:
    return Diagnostic(
        range=lines.range(failure.span),
        message=f"expected: {failure.expected}\ngot: {failure.got}",
        severity=DiagnosticSeverity.Error,
        code=EXAMPLE,
        source=SOURCE,
    )
