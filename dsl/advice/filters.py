"""Filters that exclude nothing, as a whole or in a part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl import notation
from dsl.analyze import patterns
from dsl.built_ins import AT
from dsl.expressions import expression_key
from dsl.prove.predicates import conjuncts
from dsl.syntax import And, Arithmetic, Compare, Or, Ref
from dsl.trees import walk, whens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems, Report
    from dsl.prove import Patterns
    from dsl.syntax import Alternative, Expression, Pattern, Predicate

    Follows = Callable[[Sequence[Predicate], Predicate], bool]


MAX_PARTS: Final = 20
"""Parts of a filter that are compared with each other."""


def advise_on_filters(book: Rulebook, problems: Problems) -> None:
    """Report filters and `for` clauses that exclude nothing, and parts that the other parts imply."""
    proof = book.patterns
    for source, version in book.versions():
        report = problems.of(source)
        if version.where is not None:
            _idle(version.where, proof.follows_for_users, "every user", report)
        for when in whens(version):
            for part in walk(when):
                for pattern in patterns(part):
                    _pattern(proof, pattern, report)


def _pattern(proof: Patterns, pattern: Pattern, report: Report) -> None:
    for test in (pattern.where, *(one.where for one in pattern.alternatives)):
        if test is not None:
            _ages(test, report)
    for one in pattern.alternatives:
        if one.where is not None:
            event = one.event.text
            _idle(
                one.where,
                lambda given, then, event=event: proof.follows(event, given, then),
                f"every `{event}`",
                report,
            )
    if pattern.where is not None:
        behind = pattern.where

        def follows(given: Sequence[Predicate], then: Predicate) -> bool:
            return all(proof.follows(one.event.text, _known(one, given), then) for one in pattern.alternatives)

        _idle(behind, follows, "every event in the list", report)


def _ages(test: Predicate, report: Report) -> None:
    """Report `at - f < 5m` that is also true where f lies in the future, unless the filter asks for that too."""
    parts = list(conjuncts(test))
    for part in parts if len(parts) <= MAX_PARTS else ():
        if not isinstance(part, Compare) or part.op not in ("<", "<=") or not isinstance(part.left, Arithmetic):
            continue
        span, since = part.left, part.left.right
        if span.op != "-" or not _is_at(span.left) or not isinstance(since, Ref) or _is_at(since):
            continue
        if not any(isinstance(other, Compare) and _is_past(other, span, since) for other in parts):
            message = f"this is also true where `{since.name}` lies after the event"
            report.warn(
                "ACH544", part.span, message, f"ask for both: {since.name} <= at and {notation.predicate(part)}"
            )


def _is_past(test: Compare, span: Arithmetic, since: Ref) -> bool:
    """Return whether a comparison asks that a field lies before the event: `f <= at`, `at >= f`, `at - f >= 0s`."""
    left, right, of = expression_key(test.left), expression_key(test.right), expression_key(since)
    if test.op in ("<", "<="):
        return left == of and _is_at(test.right)
    later = _is_at(test.left) and right == of
    return test.op in (">", ">=") and (later or (left == expression_key(span) and right.isdigit()))


def _is_at(node: Expression) -> bool:
    return isinstance(node, Ref) and node.builtin and node.name == AT


def _known(one: Alternative, given: Sequence[Predicate]) -> list[Predicate]:
    return [*given] if one.where is None else [one.where, *given]


def _idle(test: Predicate, follows: Follows, what: str, report: Report) -> None:
    """Report a filter that excludes nothing, or the first part that can be left out."""
    if follows((), test):
        report.warn("ACH504", test.span, f"{what} passes this", "leave it out")
        return
    if isinstance(test, And) and len(test.parts) <= MAX_PARTS:
        for part in reversed(test.parts):
            if follows([other for other in test.parts if other is not part], part):
                message = "the other parts already imply this"
                report.warn("ACH504", part.span, message, "leave it out")
                return
    if isinstance(test, Or) and len(test.parts) <= MAX_PARTS:
        for part in reversed(test.parts):
            rest = [other for other in test.parts if other is not part]
            if follows((part,), rest[0] if len(rest) == 1 else Or(parts=tuple(rest))):
                message = "everything that passes this also passes another part"
                report.warn("ACH504", part.span, message, "leave it out")
                return
