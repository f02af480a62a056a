"""Problems as values: code, severity, span, message and hint, all of them in one run.

Codes are stable: `ACH1xx` syntax, `ACH2xx` names, `ACH3xx` types, `ACH4xx` meaning, `ACH5xx` advice.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.source import Source, Span

if TYPE_CHECKING:
    from collections.abc import Iterable


LONGEST_LINE: Final = 240
"""Characters of a line that are shown below a message."""


class Severity(StrEnum):
    """An error stops everything; a warning is advice."""

    ERROR = "error"
    WARNING = "warning"


class Suggestion(NamedTuple):
    """A hint with what to write, and what that takes the place of; `text` is empty where it is only for people."""

    hint: str
    span: Span
    text: str


class Diagnostic(msgspec.Struct, frozen=True):
    """One problem in one file."""

    code: str
    severity: Severity
    source: Source
    span: Span
    message: str
    hint: str | None = None
    instead: Suggestion | None = None
    """What the hint says to write, for editors."""

    @property
    def order(self) -> tuple[str, int, str]:
        """Sort key: file, place, code."""
        return self.source.name, self.span.start, self.code


def found(
    code: str, severity: Severity, source: Source, span: Span, message: str, hint: str | Suggestion | None
) -> Diagnostic:
    """Return a problem; a hint may be a suggestion."""
    if isinstance(hint, Suggestion):
        return Diagnostic(code, severity, source, span, message, hint.hint, hint if hint.text else None)
    return Diagnostic(code, severity, source, span, message, hint)


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that a misspelt word most likely meant, or None."""
    from difflib import get_close_matches  # noqa: PLC0415 - for faulty files alone

    matches = get_close_matches(word, sorted(set(candidates)), n=1, cutoff=0.6)
    return matches[0] if matches else None


def render(problem: Diagnostic) -> str:
    """Return the problem as `file:line:column: severity[CODE]: message`, the line underlined, and the hint."""
    line, column = problem.source.position(problem.span.start)
    shown, start = _excerpt(problem.source.line(line).replace("\t", " "), column)
    width = max(1, min(problem.span.end - problem.span.start, len(shown) - start + 1))
    gutter = f"{line:>5}"
    parts = [
        f"{problem.source.name}:{line}:{column}: {problem.severity}[{problem.code}]: {problem.message}",
        f"{gutter} | {shown}",
        f"{'':>5} | {'':>{start - 1}}{'^' * width}",
    ]
    if problem.hint:
        parts.append(f"{'':>5} = hint: {problem.hint}")
    return "\n".join(parts)


def _excerpt(text: str, column: int) -> tuple[str, int]:
    """Return a line as it is shown, and the column in it: of a very long line, what stands around the column."""
    if len(text) <= LONGEST_LINE:
        return text, column
    begin = max(0, min(column - LONGEST_LINE // 3, len(text) - LONGEST_LINE))
    before, after = "..." * (begin > 0), "..." * (begin + LONGEST_LINE < len(text))
    return f"{before}{text[begin : begin + LONGEST_LINE]}{after}", column - begin + len(before)
