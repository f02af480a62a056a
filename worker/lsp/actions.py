"""Code actions: what the hints of problems say, done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol.types import CodeAction, CodeActionKind

from dsl.lookup.fixes import fixes
from worker.lsp.problems import as_diagnostic
from worker.lsp.rename import as_workspace_edit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lsprotocol.types import CodeActionParams, Range

    from dsl.diagnostics import Diagnostic
    from worker.lsp.desk import Desk, View


def actions(desk: Desk, params: CodeActionParams) -> list[CodeAction] | None:
    """Return the ways to mend the problems that a range touches."""
    view = desk.view(params.text_document.uri)
    only = params.context.only
    if view is None or (only is not None and not {"", CodeActionKind.QuickFix}.intersection(only)):
        return None
    own = [problem for problem in view.edition.diagnostics() if problem.source is view.page.source]
    return [action for problem in own if _touches(view, problem, params.range) for action in _mending(view, problem)]


def _touches(view: View, problem: Diagnostic, where: Range) -> bool:
    start, end = view.lines.span(where)
    return problem.span.start <= end and problem.span.end >= start


def _mending(view: View, problem: Diagnostic) -> Iterator[CodeAction]:
    found = fixes(problem)
    for fix in found:
        yield CodeAction(
            title=fix.title,
            kind=CodeActionKind.QuickFix,
            diagnostics=[as_diagnostic(problem, view.range(problem.source, problem.span))],
            edit=as_workspace_edit(view, fix.edits),
            is_preferred=(fix.sure and fix is found[0]) or None,
        )
