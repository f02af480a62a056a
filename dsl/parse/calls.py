"""The call around a place in the text: its name, and its arguments as they are written.

The hints need it where nothing could be read. It looks at a bounded piece of text, and knows strings, comments and
brackets alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.source import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

_REACH: Final = 4000
"""Characters on each side of the place that are looked at."""
_PIECE: Final = r'"(?:[^"\\\n]|\\.)*"?|#[^\n]*|[()\[\]{},]|[^"#()\[\]{},]+'
_NAME: Final = r"([a-z_][a-z0-9_]*)\s*\Z"
_OPEN: Final = frozenset("([{")
_CLOSED_BY: Final = {"(": ")", "[": "]", "{": "}"}
_SPACE: Final = r'("(?:[^"\\\n]|\\.)*"?)|#[^\n]*|\s+'


class Argument(NamedTuple):
    """Where an argument stands, and what it says in one line."""

    span: Span
    text: str


class Call(NamedTuple):
    """`name(argument, ...)`."""

    name: str
    span: Span
    arguments: tuple[Argument, ...]


def call_at(text: str, at: int, name: str | None = None) -> Call | None:
    """Return the innermost call around a place, or the innermost of a name; None where its brackets do not close."""
    for opening in _open_before(text, at):
        if text[opening] != "(":
            continue
        found = re.search(_NAME, text[max(0, opening - 80) : opening])
        if found is None or (name is not None and found[1] != name):
            continue
        return _call(text, max(0, opening - 80) + found.start(), found[1], opening)
    return None


def items(text: str) -> list[str] | None:
    """Return the parts of `[...]`; None where a text is no whole list."""
    if not text.startswith("["):
        return None
    parts, end = _parts(text, 0)
    return [part.text for part in parts] if end == len(text) else None


def arguments_of(text: str) -> tuple[Argument, ...] | None:
    """Return the arguments of a text that is one whole call."""
    opening = text.find("(")
    parts, end = _parts(text, opening) if opening >= 0 else ((), None)
    return parts if end == len(text) else None


def flat(text: str) -> str:
    """Return a text in one line, without comments; strings stay as they are."""
    return re.sub(_SPACE, lambda found: found[1] or " ", text).strip()


def _open_before(text: str, at: int) -> list[int]:
    """Return where the brackets around a place open, the innermost first."""
    begin = max(text.rfind("\n", 0, max(0, at - _REACH)) + 1, at - 2 * _REACH)
    stack: list[int] = []
    for piece, start in _pieces(text, begin, at):
        if piece in _OPEN:
            stack.append(start)
        elif piece in (")", "]", "}") and stack:
            stack.pop()
    return stack[::-1]


def _call(text: str, start: int, name: str, opening: int) -> Call | None:
    parts, end = _parts(text, opening)
    return None if end is None else Call(name, Span(start, end), parts)


def _parts(text: str, opening: int) -> tuple[tuple[Argument, ...], int | None]:
    """Return what stands between a bracket and its end, cut at commas, and where that end is."""
    closers: list[str] = []
    cuts = [opening + 1]
    for piece, start in _pieces(text, opening, min(len(text), opening + _REACH)):
        if piece in _OPEN:
            closers.append(_CLOSED_BY[piece])
        elif piece == "," and len(closers) == 1:
            cuts.append(start + 1)
        elif closers and piece == closers[-1]:
            closers.pop()
            if not closers:
                ends = [*(cut - 1 for cut in cuts[1:]), start]
                return tuple(
                    _trimmed(text, *pair) for pair in zip(cuts, ends, strict=True) if text[slice(*pair)].strip()
                ), start + 1
    return (), None


def _trimmed(text: str, start: int, end: int) -> Argument:
    part = text[start:end]
    start += len(part) - len(part.lstrip())
    return Argument(Span(start, start + len(part.strip())), flat(part))


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[str, int]]:
    for found in re.finditer(_PIECE, text[start:end]):
        yield found[0], start + found.start()
