"""Formatting a file as `ach fmt` does."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from lsprotocol.types import TextEdit

from dsl.format import format_source
from dsl.source import Source, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lsprotocol.types import DocumentFormattingParams

    from worker.lsp.desk import Desk


def formatting(desk: Desk, params: DocumentFormattingParams) -> list[TextEdit] | None:
    """Return the edit that formats a file: none where it is formatted, or cannot be read."""
    view = desk.view(params.text_document.uri)
    text = None if view is None else format_source(Source(view.page.uri, view.page.text))
    if view is None or text is None:
        return None
    if text == view.page.text:
        return []
    span, replacement = _difference(view.page.text, text)
    return [TextEdit(view.lines.range(span), replacement)]


def _difference(before: str, after: str) -> tuple[Span, str]:
    """Return what differs, in whole lines, so that the cursor and folds elsewhere stay."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    head = _common(old, new)
    most = min(len(old), len(new)) - head
    tail = min(most, _common(old[::-1], new[::-1]))
    start = sum(map(len, old[:head]))
    end = len(before) - sum(map(len, old[len(old) - tail :]))
    return Span(start, end), "".join(new[head : len(new) - tail])


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
