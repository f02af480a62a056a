"""Parts of a composition that change nothing, because another part implies them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.syntax import Combine, RepeatEvery
from dsl.trees import whens

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems, Report
    from dsl.syntax import Condition

    Implies = Callable[[Condition, Condition], bool]

MAX_PARTS: Final = 40
"""Parts of one composition that are compared with each other."""


def advise_on_parts(book: Rulebook, problems: Problems) -> None:
    """Report the parts of `all` and `any` that can be left out."""
    for source, version in book.versions():
        report = problems.of(source)
        for when in whens(version):
            if isinstance(when, Combine):
                _walk(book, when, report, strong=isinstance(version.repeat, RepeatEvery))


def _walk(book: Rulebook, node: Combine, report: Report, *, strong: bool) -> None:
    """Check a composition and those within it; with `strong`, something above needs its latest start."""
    mods = node.mods
    strong = strong or mods.within is not None or mods.per is not None or mods.unless is not None
    if len(node.parts) <= MAX_PARTS and node.kind in ("all", "any"):
        _report(node, lambda one, two: book.conditions.implies(one, two, strong=strong), report)
    for part in node.parts:
        if isinstance(part, Combine):
            _walk(book, part, report, strong=strong)


def _report(node: Combine, implies: Implies, report: Report) -> None:
    left = list(node.parts)
    for part in reversed(node.parts):
        others = [other for other in left if other is not part]
        if node.kind == "all" and any(implies(other, part) for other in others):
            report.warn("ACH507", part.span, "another part of this `all` never holds without it", "leave it out")
            left.remove(part)
        elif node.kind == "any" and any(implies(part, other) for other in others):
            report.warn("ACH507", part.span, "it never holds without another part of this `any`", "leave it out")
            left.remove(part)
