"""Code lenses on examples: run it, and see whether it passed.

A result is shown until the rules change; then the example is there to be run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lsprotocol.types import CodeLens, Command

from dsl import words
from dsl.source import Span
from dsl.story import Verdict, run_example
from dsl.syntax import Example

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lsprotocol.types import CodeLensParams

    from dsl.compile import Program
    from dsl.source import Source
    from worker.lsp.desk import Desk, View
    from worker.lsp.rulebook import Edition

RUN: Final = "ach.runExample"


def lenses(desk: Desk, params: CodeLensParams) -> list[CodeLens] | None:
    """Return a lens over each example of a file."""
    view = desk.view(params.text_document.uri)
    return None if view is None else list(_lenses(desk, view))


def _lenses(desk: Desk, view: View) -> Iterator[CodeLens]:
    for number, (source, example) in enumerate(_examples(view)):
        start = example.span.start
        command = Command(_title(desk, view, number), RUN, arguments=[view.page.uri, number])
        yield CodeLens(view.range(source, Span(start, start + len("example"))), command)


def _examples(view: View) -> list[tuple[Source, Example]]:
    return [(source, node) for source, node in view.page.declarations() if isinstance(node, Example)]


def _verdict(edition: Edition, program: Program, source: Source, example: Example) -> Verdict:
    """Run an example; of a family the first member that fails, or the last one."""
    if example.each is None:
        return run_example(edition.rules, program, source, example)
    verdict = Verdict(source, example, ())
    for member in edition.members(source, example):
        verdict = run_example(edition.rules, program, source, member)._replace(example=example)
        if verdict.failures:
            return verdict
    return verdict


def _title(desk: Desk, view: View, number: int) -> str:
    edition, verdict = desk.verdicts.get((view.page.uri, number), (None, None))
    if verdict is None or edition is not view.edition:
        return "run example"
    if not verdict.failures:
        return "passed (run again)"
    return f"failed: {words.plural(len(verdict.failures), 'expectation')} (run again)"


def run(desk: Desk, uri: str, number: int) -> Verdict | str:
    """Run an example, the `number`-th of a file, and remember the verdict; or say why it could not be run."""
    view = desk.view(uri)
    examples = [] if view is None else _examples(view)
    if view is None or not 0 <= number < len(examples):
        return "there is no such example any more"
    program = view.edition.program
    if program is None:
        return "the rules have errors; mend them, and run the example again"
    source, example = examples[number]
    verdict = _verdict(view.edition, program, source, example)
    desk.verdicts[view.page.uri, number] = (view.edition, verdict)
    return verdict
