"""Filters on dates that have all passed: no event of today can match them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.check.filters import refs
from dsl.syntax import And, Compare, Literal, Member, Or
from dsl.trees import counted, walk, whens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems
    from dsl.syntax import Achievement, Predicate


def advise_on_dates(book: Rulebook, problems: Problems, today: str) -> None:
    """Report filters whose last date lies before a day, such as `2026-04-13`; the newest version of each alone."""
    for versions in book.rules.achievements.values():
        version = versions[-1]
        report = problems.of(book.source(version))
        for where in _filters(version):
            for part in where.parts if isinstance(where, And) else (where,):
                last = _last(part)
                if last is not None and last < today:
                    message = f"the last of these dates, {last}, has passed: no event matches any more"
                    report.warn("ACH523", part.span, message, "name the next dates, or `# ach: allow ACH523`")


def _filters(version: Achievement) -> Iterator[Predicate]:
    for when in whens(version):
        for node in walk(when):
            for pattern in counted(node):
                yield from (each.where for each in pattern.alternatives if each.where is not None)
                if pattern.where is not None:
                    yield pattern.where


def _last(part: Predicate) -> str | None:
    """Return the last date at which a test can pass; None where there is none."""
    match part:
        case Member(negated=False, values=values) if _is_date(part):
            dates = [str(each.value) for each in values if isinstance(each, Literal)]
            return max(dates, default=None)
        case Compare(op="=" | "<" | "<=", right=Literal(value=value)) if _is_date(part):
            return str(value)
        case Or(parts=parts):
            found = [_last(each) for each in parts]
            return None if None in found else max(each for each in found if each is not None)
        case _:
            return None


def _is_date(part: Compare | Member) -> bool:
    return [ref.name for ref in refs(part)] == ["at.date"]
