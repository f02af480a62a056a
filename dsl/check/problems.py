"""The problems that the checker finds, and its guesses at misspelt names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.diagnostics import Severity, found, nearest
from dsl.source import ElementSource

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dsl.diagnostics import Diagnostic, Suggestion
    from dsl.source import Source, Span
    from dsl.types import FieldType

MAX_COMPARED: Final = 50_000
"""Names compared with misspelt ones in one run; a file of nothing but errors must not take minutes."""


class Problems:
    """Every problem found so far, in all files."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []
        self.errors = 0
        self._compared = 0
        self._known: set[tuple[int, str, Span, str]] = set()

    def take(self, found: Iterable[Diagnostic]) -> None:
        """Add problems that were found elsewhere."""
        for problem in found:
            self.errors += problem.severity is Severity.ERROR
            self.found.append(problem)

    def add(self, problem: Diagnostic) -> None:
        """Add a problem, unless the same stands there already: all tiers of a ladder share one `when`."""
        self.errors += problem.severity is Severity.ERROR
        key = id(problem.source), problem.code, problem.span, problem.message
        if key not in self._known:
            self._known.add(key)
            self.found.append(problem)

    def of(self, source: Source) -> Report:
        """Return the page for one file."""
        return Report(self, source)

    def guess(self, word: str, candidates: Collection[str]) -> str | None:
        """Return "did you mean ...?", or None where nothing is near."""
        self._compared += len(candidates)
        name = nearest(word, candidates) if self._compared <= MAX_COMPARED else None
        return None if name is None else f"did you mean `{name}`?"


class Report:
    """The problems of one file."""

    def __init__(self, problems: Problems, source: Source) -> None:
        self._problems = problems
        self._source = source

    @property
    def errors(self) -> int:
        """The number of errors found so far, in all files."""
        return self._problems.errors

    def error(self, code: str, span: Span, message: str, hint: str | Suggestion | None = None) -> None:
        """Write down an error."""
        self._add(Severity.ERROR, code, span, message, hint)

    def warn(self, code: str, span: Span, message: str, hint: str | Suggestion | None = None) -> None:
        """Write down a warning."""
        self._add(Severity.WARNING, code, span, message, hint)

    def unknown(self, code: str, what: str, word: str, span: Span, candidates: Collection[str]) -> None:
        """Write down a name that nothing bears, with the nearest one that something does."""
        self.error(code, span, f"there is no {what} `{word}`", self.guess(word, candidates))

    def is_element(self, name: str) -> bool:
        """Return whether a name stands for the element of the family that is checked, if a `$` is put before it."""
        return isinstance(self._source, ElementSource) and self._source.var == name

    def guess(self, word: str, candidates: Collection[str]) -> str | None:
        """Return "did you mean ...?", or None where nothing is near."""
        return self._problems.guess(word, candidates)

    def _add(self, severity: Severity, code: str, span: Span, message: str, hint: str | Suggestion | None) -> None:
        self._problems.add(found(code, severity, self._source, span, message, hint))


def a(noun: str) -> str:
    """Return the noun with its article: `a string`, `an int`."""
    return f"an {noun}" if noun[0] in "aeio" else f"a {noun}"


def a_type(kind: FieldType) -> str:
    """Return a type in words: `a string`, `an int`, `a list [string]`."""
    return a(kind) if kind.element is None else f"a list {kind}"
