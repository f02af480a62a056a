"""Quick fixes: the hints of diagnostics as edits.

A hint says what to write, and the span says where. So this module parses hints; a hint that matches no row of the
table is only for people. tests/dsl/test_lookup.py has a fixed text for every row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.lookup.renaming import Edit
from dsl.lookup.scan import declaration_start
from dsl.source import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dsl.diagnostics import Diagnostic


class Fix(NamedTuple):
    """A fix for a problem: its title and its edits; `sure` if there is no other possible intent."""

    title: str
    edits: tuple[Edit, ...]
    sure: bool = True


def fixes(problem: Diagnostic) -> list[Fix]:
    """Return the fixes for a problem, the likeliest first."""
    found: list[Fix] = []
    if problem.instead is not None:
        text = problem.instead.text
        found.append(Fix(f"write `{text}`", (Edit(problem.source, problem.instead.span, text),), sure=False))
    elif problem.hint is not None:
        for pattern, make in _HINTS:
            match = pattern.search(problem.hint)
            if match is not None:
                found.extend(make(problem, match))
                break
    found.extend(make_other(problem) for make_other in _OTHERS.get(problem.code, ()))
    return [fix for fix in found if fix.edits]


# -- edits ------------------------------------------------------------------------------------------------------------


def _written(problem: Diagnostic) -> str:
    return problem.source.text[problem.span.start : problem.span.end]


def _replace(problem: Diagnostic, text: str, *, sure: bool = True) -> Fix:
    return Fix(f"replace with `{text}`", (Edit(problem.source, problem.span, text),), sure)


def _insert(problem: Diagnostic, at: int, text: str, title: str) -> Fix:
    return Fix(title, (Edit(problem.source, Span(at, at), text),))


# -- hints ------------------------------------------------------------------------------------------------------------


def _guess(problem: Diagnostic, match: re.Match[str]) -> Iterator[Fix]:
    yield _replace(problem, match[1])


def _span_or_unit(problem: Diagnostic, match: re.Match[str]) -> Iterator[Fix]:
    """Fix `within=day` and `per=1d`: an exact span or the calendar unit, with its modifier."""
    before = re.search(r"(within|per)\s*=\s*$", problem.source.text[: problem.span.start])
    if before is None:
        return
    span = Span(before.start(), problem.span.end)
    for text in (f"within={match[1]}", f"per={match[2]}"):
        yield Fix(f"replace with `{text}`", (Edit(problem.source, span, text),), sure=text.startswith(before[1]))


def _argument(problem: Diagnostic, _match: re.Match[str]) -> Iterator[Fix]:
    """Fix `lesson.completed >= 10` as the only argument."""
    edits = (
        Edit(problem.source, Span(problem.span.start, problem.span.start), "event="),
        Edit(problem.source, Span(problem.span.end, problem.span.end), ","),
    )
    yield Fix("write `event=` and a comma", edits)


def _comma(problem: Diagnostic, _match: re.Match[str]) -> Iterator[Fix]:
    at = len(problem.source.text[: problem.span.start].rstrip())
    yield _insert(problem, at, ",", "insert the missing comma")


def _before(problem: Diagnostic, match: re.Match[str]) -> Iterator[Fix]:
    space = "" if match[1].endswith("=") and match[1][0].isalpha() else " "
    yield _insert(problem, problem.span.start, match[1] + space, f"write `{match[1]}` before it")


def _quoted(problem: Diagnostic, match: re.Match[str]) -> Iterator[Fix]:
    yield _replace(problem, match[1])


def _quote(problem: Diagnostic, _match: re.Match[str]) -> Iterator[Fix]:
    if '"' not in _written(problem):
        yield _replace(problem, f'"{_written(problem)}"')


def _unquote(problem: Diagnostic, _match: re.Match[str]) -> Iterator[Fix]:
    inner = _written(problem)[1:-1]
    if re.fullmatch(r"[\w.:+-]+", inner):
        yield _replace(problem, inner)


def _either(problem: Diagnostic, match: re.Match[str]) -> Iterator[Fix]:
    for text in match.groups():
        yield _replace(problem, text, sure=False)


def _bound(problem: Diagnostic, match: re.Match[str]) -> Iterator[Fix]:
    if _written(problem).startswith(">"):
        yield _replace(problem, match[1], sure=False)


_HINTS: Final[tuple[tuple[re.Pattern[str], Callable[[Diagnostic, re.Match[str]], Iterator[Fix]]], ...]] = tuple(
    (re.compile(pattern), make)
    for pattern, make in (
        (r"^did you mean within=(\w+), or per=(\w+)", _span_or_unit),
        (r"^did you mean `([^`]+)`\?", _guess),
        (r"^write event=\.\.\., \S+ \.\.\.: count", _argument),
        (r"^write \w+=\.\.\., \S+ \.\.\.$|^(?:is a comma missing\?|a comma is missing before the bound)$", _comma),
        (r"^write `([^`]+)` before it$", _before),
        (r": write `([<>]=?)`$", _guess),
        (r'^write a string in quotes: (".*")$', _quoted),
        (r'^write strings in quotes: "pro"$', _quote),
        (r"without quotes|^write true or false$", _unquote),
        (r"^write (\d+%)$", _guess),
        (r"^only event names have dots; write (\w+)$", _guess),
        (r"^write ([<>]=? \d+) or ([<>]=? \d+)$", _either),
        (r"^write (>= 1) or more$", _bound),
    )
)


# -- without a hint ---------------------------------------------------------------------------------------------------


def _declare(problem: Diagnostic) -> Fix:
    name = _written(problem)
    at = declaration_start(problem.source.text, problem.span.start)
    return _insert(problem, at, f"event {name} {{}}\n\n", f"declare the event `{name}`")._replace(sure=False)


def _close(problem: Diagnostic) -> Fix:
    text = _written(problem)
    if not problem.message.startswith("this string is not closed") or not text.startswith('"'):
        return Fix("", ())
    return _insert(problem, problem.span.start + len(text.rstrip()), '"', "close the string")


_OTHERS: Final = {"ACH201": (_declare,), "ACH103": (_close,)}
