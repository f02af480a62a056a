"""Text to tree.

`parse` never raises and never gives up early. It reports each error, continues at the next clause of the achievement
or at the next declaration word in column 1, and returns every readable declaration. One LALR(1) grammar
(dsl/grammar.lark) drives callbacks that create the nodes while reading; there is no parse tree. `lalr` follows the
tables that are made of it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from dsl.diagnostics import nearest
from dsl.parse.build import Builder
from dsl.parse.clauses import faulty_clause
from dsl.parse.lalr import END, Parser, Stumble, tables
from dsl.parse.long_lists import cut
from dsl.parse.messages import DECLARATIONS, Unexpected, report, report_depth, report_nul, report_unclosed
from dsl.parse.reading import READING, Reading, Stray, TooDeep, place
from dsl.source import Span
from dsl.syntax import File

if TYPE_CHECKING:
    from dsl.diagnostics import Diagnostic
    from dsl.source import Source

__all__ = ["parse"]

MAX_SYNTAX_ERRORS: Final = 200
"""Errors after which the rest of a file is left unread."""

_NAME: Final = re.compile(r"\w")
_COLUMN_ONE: Final = re.compile(r"^([a-z]+)(?![a-z0-9_.])(?!\s*[=:,)\]}])", re.MULTILINE)
_LONGEST_WORD: Final = 20


def parse(source: Source) -> tuple[File, list[Diagnostic]]:
    """Read one file; return what could be read, and every problem in the order of the text."""
    reading = Reading(source)
    token = READING.set(reading)
    try:
        _read(reading)
    finally:
        READING.reset(token)
    report_nul(reading)
    reading.problems.sort(key=lambda problem: problem.order)
    return File(source=source, declarations=tuple(reading.declarations)), reading.problems


# -- the parser ----------------------------------------------------------------------------------------------


@cache
def _parser() -> Parser:
    return Parser(tables(), Builder())


# -- reading on after an error -------------------------------------------------------------------------------


def _read(reading: Reading) -> None:
    text = reading.source.text
    if text.startswith("\ufeff"):
        text = " " + text[1:]
    text = cut(text)
    start: int | None = 0
    starts: list[int] | None = None
    for _ in range(MAX_SYNTAX_ERRORS):
        stumbled = _read_from(text, start, len(text))
        if stumbled is None:
            return
        _complete(reading, text, start, stumbled.span.start)
        starts = _declaration_starts(text) if starts is None else starts
        faulty = faulty_clause(reading, text, stumbled.span.start, starts)
        start = _recover(reading, stumbled, starts)
        if faulty is not None and not isinstance(stumbled, TooDeep):
            text, start = faulty.blanked(text), faulty.declaration
            reading.again, reading.broken = faulty.end, True
        if start is None:
            return
    message = f"{MAX_SYNTAX_ERRORS} syntax errors; the rest of the file was not read"
    reading.error("ACH121", Span(start or 0, (start or 0) + 1), message)


def _read_from(text: str, start: int, stop: int) -> Unexpected | TooDeep | None:
    """Read from an offset to another, or to the first error, which is returned."""
    try:
        _parser().parse(text, start, stop)
    except Stumble as problem:
        return _unexpected(problem)
    except Stray as problem:
        return Unexpected("", text[problem.at], Span(problem.at, problem.at + 1), frozenset())
    except TooDeep as problem:
        return problem
    return None


def _unexpected(problem: Stumble) -> Unexpected:
    token = problem.token
    kind = token.type
    return Unexpected(kind, "" if kind == END else token.value, place(token), problem.expected)


def _complete(reading: Reading, text: str, start: int, stop: int) -> None:
    """Read a declaration again that was complete before the error: the parser had not seen what follows it."""
    start = max(start, reading.done)
    if reading.open or not text[start:stop].strip():
        return
    known = list(reading.problems)
    reading.broken = False
    _read_from(text, start, stop)
    reading.problems[:] = known
    reading.open.clear()


def _recover(reading: Reading, stumbled: Unexpected | TooDeep, starts: list[int]) -> int | None:
    """Report the error and return where to continue, or None if nothing is left."""
    at = stumbled.span.start
    resume = next((start for start in starts if start >= at), None)
    if reading.open:
        outer = reading.open[0].start_pos
        inside = next((start for start in starts if outer < start <= at), None)
        if inside is not None:
            report_unclosed(reading)
            reading.problems[:] = [problem for problem in reading.problems if problem.span.start < inside]
            return _restart(reading, inside)
    elif resume == at and not _begins_declaration(reading.source.text, at):
        # A misspelt word: to begin with it again would report it again.
        resume = next((start for start in starts if start > at), None)
    if isinstance(stumbled, TooDeep):
        report_depth(reading, stumbled.span)
    else:
        report(reading, stumbled, tables().words)
    return _restart(reading, resume)


def _restart(reading: Reading, start: int | None) -> int | None:
    reading.open.clear()
    reading.open_bounds.clear()
    reading.broken = reading.open_names = reading.ladder = False
    return start


def _begins_declaration(text: str, at: int) -> bool:
    """Return whether a declaration word stands at an offset: the declaration before it is cut short."""
    word = _COLUMN_ONE.match(text, at)
    # `achievementThree` only begins like one: to begin with it again would report it again, and again.
    return word is not None and word[1] in DECLARATIONS and _NAME.match(text, word.end(1)) is None


@cache
def _meant(word: str) -> bool:
    """Return whether a word in column 1 is a declaration word, perhaps a misspelt one."""
    return word in DECLARATIONS or (len(word) <= _LONGEST_WORD and nearest(word, DECLARATIONS) is not None)


def _declaration_starts(text: str) -> list[int]:
    return [match.start() for match in _COLUMN_ONE.finditer(text) if _meant(match[1])]
