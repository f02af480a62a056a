"""Problems found while expanding, and problems of elements put back to their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from dsl.diagnostics import Diagnostic, Severity, nearest
from dsl.source import ElementSource

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dsl.source import Source, Span


class Reported:
    """What is wrong with lists, families and ladders."""

    def __init__(self) -> None:
        self.problems: list[Diagnostic] = []

    def error(self, code: str, source: Source, span: Span, message: str, hint: str | None = None) -> None:
        """Write down an error."""
        self.problems.append(Diagnostic(code, Severity.ERROR, source, span, message, hint))

    def warn(self, code: str, source: Source, span: Span, message: str, hint: str | None = None) -> None:
        """Write down a warning."""
        self.problems.append(Diagnostic(code, Severity.WARNING, source, span, message, hint))


def guess(word: str, candidates: Collection[str]) -> str | None:
    """Return "did you mean ...?", or None where nothing is near."""
    name = nearest(word, candidates)
    return None if name is None else f"did you mean `{name}`?"


def settled(problems: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return problems with those of elements put back to their files.

    Of one family each is reported once, for the first element, with the number of the others.
    """
    kept: list[Diagnostic] = []
    first: dict[tuple[str, Source, Span], int] = {}
    elements: dict[int, list[str]] = {}
    for problem in problems:
        source = problem.source
        if not isinstance(source, ElementSource):
            kept.append(problem)
            continue
        key = problem.code, source.whole, problem.span
        place = first.setdefault(key, len(kept))
        if place == len(kept):
            kept.append(replace(problem, source=source.whole))
        elements.setdefault(place, []).append(source.element)
    for place, named in elements.items():
        others = len(dict.fromkeys(named)) - 1
        more = "" if not others else f" and {others:,} other{'s' * (others > 1)}"
        kept[place] = replace(kept[place], message=f"{kept[place].message} (for {named[0]}{more})")
    return kept
