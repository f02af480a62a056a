"""One reading of one file: what was found so far, and what is wrong with it.

The parser's callbacks are created once and find the current reading in `READING`, so that two threads may read at once
(docs/decisions/0018-pure-rooms.md). An *error* makes a declaration unreadable, and the parser drops it. A *slip* is
reported too, but its meaning is clear, and the parser keeps the declaration.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.diagnostics import Severity, found
from dsl.source import Span

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.diagnostics import Diagnostic, Suggestion
    from dsl.source import Source
    from dsl.syntax import Declaration

MAX_DEPTH: Final = 64
"""Brackets open at once, and operators of a filter above one another."""

MAX_PROBLEMS: Final = 1000
"""Maximum number of problems reported for one file."""

_MISSING: Final = frozenset({"ACH112", "ACH119"})
"""Errors that a blanked-out clause causes."""


class Token:
    """What the lexer hands out: a piece of text that knows its kind and its place."""

    __slots__ = ("end_pos", "start_pos", "type", "value")

    def __init__(self, kind: str, value: str, start: int, end: int) -> None:
        self.type = kind
        self.value = value
        self.start_pos = start
        self.end_pos = end


class Mark(NamedTuple):
    """A word or sign that carries no value, such as `not` or `/`."""

    text: str
    span: Span


class TooDeep(Exception):  # noqa: N818 - a signal to the recovery, never seen outside
    """More brackets are open than MAX_DEPTH."""

    def __init__(self, span: Span) -> None:
        super().__init__()
        self.span = span


class Stray(Exception):  # noqa: N818 - a signal to the recovery, never seen outside
    """No token begins with the character at this place."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at


class Reading:
    """What has been read of a file, and the problems found on the way."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Diagnostic] = []
        self.declarations: list[Declaration] = []
        self.open: list[Token] = []
        self.done = 0
        """Where the last declaration ended."""
        self.broken = False
        self.again = 0
        """The end of the part that is read a second time, without a clause that was already reported."""
        self.open_names = False
        """Whether the declaration that is read has names that only the whole rule set can resolve."""
        self.ladder = False
        """Whether a tier of that declaration has a bound."""
        self.open_bounds: list[tuple[Span, str, str | Suggestion]] = []
        """Operators without a bound: where, the message that one is missing, and the hint."""

    def slip(self, code: str, span: Span, message: str, hint: str | Suggestion | None = None) -> None:
        """Report a problem whose meaning is clear; the declaration is kept."""
        if span.start < self.again and (code in _MISSING or self._knows(code, span)):
            return
        if len(self.problems) == MAX_PROBLEMS:
            code, message, hint = "ACH121", f"more than {MAX_PROBLEMS} errors; the others are not shown", None
        if len(self.problems) <= MAX_PROBLEMS:
            self.problems.append(found(code, Severity.ERROR, self.source, span, message, hint))

    def _knows(self, code: str, span: Span) -> bool:
        return any((problem.code, problem.span) == (code, span) for problem in self.problems)

    def error(self, code: str, span: Span, message: str, hint: str | Suggestion | None = None) -> None:
        """Report a problem that makes the declaration unreadable; it is dropped."""
        self.slip(code, span, message, hint)
        self.broken = True

    def declare(self, make: Callable[[], Declaration], end: int) -> None:
        """Keep the declaration that ends here, unless something in it could not be read."""
        if not self.broken:
            self.declarations.append(make())
        self.broken = False
        self.done = end

    def close_names(self) -> bool:
        """End a declaration; report the bounds that it leaves out, where no tier gives them."""
        found, ladder = self.open_names, self.ladder
        self.open_names = self.ladder = False
        for span, message, hint in self.open_bounds:
            if not ladder:
                self.error("ACH112", span, message, hint)
        self.open_bounds.clear()
        return found

    def enter(self, bracket: Token) -> None:
        """An opening bracket was read."""
        self.open.append(bracket)
        if len(self.open) > MAX_DEPTH:
            raise TooDeep(Span(bracket.start_pos, bracket.end_pos))

    def leave(self) -> None:
        """A closing bracket was read."""
        self.open.pop()


READING: Final[ContextVar[Reading]] = ContextVar("reading")
"""The reading that the parser's callbacks add to."""


def slip(code: str, span: Span, message: str, hint: str | Suggestion | None = None) -> None:
    """Add a slip to the current reading."""
    READING.get().slip(code, span, message, hint)


def error(code: str, span: Span, message: str, hint: str | Suggestion | None = None) -> None:
    """Add an error to the current reading."""
    READING.get().error(code, span, message, hint)


def place(token: Token) -> Span:
    """Return where a token stands."""
    return Span(token.start_pos, token.end_pos)
