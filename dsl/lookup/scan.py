"""Any text to tokens, even broken text.

The parser's lexer stops at the first character that the language does not use, but an editor asks while the author
types such a character.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.source import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOKEN: Final = re.compile(
    r"""
      (?P<COMMENT>\#[^\n]*)
    | (?P<STRING>"[^"\\\n]*(?:\\.?[^"\\\n]*)*"?)
    | (?P<INSTANT>\d{4}-\d{1,2}-\d{1,2}(?:[Tt]\d[\d:]*(?:\.\d+)?(?:[Zz]|[+-]\d[\d:]*)?)?(?!\w))
    | (?P<NUMBER>-?\d(?:[\w%]|\.(?=\d))*)
    | (?P<WORD>[^\W\d]\w*(?:\.[^\W\d]\w*)*)
    | (?P<SIGN>>=|<=|==|=>|=<|!=|<>|\.\.|\S)
    """,
    re.VERBOSE,
)
_DECLARATION: Final = re.compile(r"^(?:event|traits|list|achievement|example)(?![\w.])(?!\s*[=:,)\]}])", re.MULTILINE)


class Kind(Enum):
    """The kinds of tokens; durations and percentages are numbers here."""

    COMMENT = auto()
    STRING = auto()
    INSTANT = auto()
    NUMBER = auto()
    WORD = auto()
    SIGN = auto()


class Token(NamedTuple):
    """A piece of text and where it begins."""

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.start + len(self.text)

    @property
    def span(self) -> Span:
        """Where it stands."""
        return Span(self.start, self.end)


def scan(text: str, start: int = 0, end: int | None = None) -> list[Token]:
    """Cut a text, or the part of it from `start` to `end`, into tokens."""
    stop = len(text) if end is None else end
    return [Token(Kind[str(match.lastgroup)], match[0], match.start()) for match in _TOKEN.finditer(text, start, stop)]


def declaration_start(text: str, offset: int) -> int:
    """Return where the declaration begins that an offset lies in: the last such word in column 1 at or before it."""
    start = 0
    for match in _DECLARATION.finditer(text, 0, min(len(text), offset + len("achievement"))):
        if match.start() > offset:
            break
        start = match.start()
    return start


def token_at(tokens: Sequence[Token], offset: int) -> Token | None:
    """Return the token that an offset lies in or touches; a word rather than a sign where two meet."""
    touched = [token for token in tokens if token.start <= offset <= token.end]
    return max(touched, key=lambda token: (token.kind is not Kind.SIGN, token.start), default=None)
