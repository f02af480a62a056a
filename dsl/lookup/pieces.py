"""A file in pieces, one declaration each, so that a keystroke costs the parsing of one piece.

A piece reaches from one declaration word in column 1 to the next, where the parser also continues after an error. It
is its own source: its offsets do not move when the text above changes. The problems of a piece equal those of the
whole file: a piece with an error is parsed together with the next one, so that the parser sees the following text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from dsl.lookup.index import occurrences
from dsl.parse import parse
from dsl.source import Source
from dsl.syntax import File

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsl.diagnostics import Diagnostic
    from dsl.lookup.index import Occurrence

_WORD: Final = re.compile(r"^(?:event|traits|list|achievement|example)(?![a-z0-9_.])(?!\s*[=:,)\]}])", re.MULTILINE)


class Piece:
    """One parsed declaration; `following` is the text that was parsed together with it."""

    def __init__(self, file: File, problems: list[Diagnostic], following: str) -> None:
        self.file = file
        self.problems = problems
        self.following = following

    @property
    def source(self) -> Source:
        """Its text, with offsets from its own begin."""
        return self.file.source

    @cached_property
    def names(self) -> list[Occurrence]:
        """The names that stand in it."""
        return occurrences(self.file)


class Placed(NamedTuple):
    """A piece and its offset in its file."""

    start: int
    piece: Piece


def read(name: str, text: str, before: Iterable[Piece] = ()) -> list[Placed]:
    """Read a file; pieces of an earlier reading whose text is unchanged are taken over."""
    known: defaultdict[str, list[Piece]] = defaultdict(list)
    for piece in before:
        known[piece.source.text].append(piece)
    parts = _cut(text)
    found: list[Placed] = []
    start = 0
    while len(found) < len(parts):
        part = parts[len(found)]
        following = parts[len(found) + 1] if len(found) + 1 < len(parts) else ""
        piece = _known(known, part, following) or _read(name, part, following)
        if piece is None:
            parts[len(found) : len(found) + 2] = [part + following]
        else:
            found.append(Placed(start, piece))
            start += len(part)
    return found


def _cut(text: str) -> list[str]:
    starts = [match.start() for match in _WORD.finditer(text)]
    starts = [0, *starts[1:]] if starts else [0]
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def _known(known: Mapping[str, list[Piece]], part: str, following: str) -> Piece | None:
    """Take a piece over, if it has no error or is still followed by the same."""
    candidates = known.get(part, [])
    for at, piece in enumerate(candidates):
        if not piece.problems or piece.following == following:
            return candidates.pop(at)
    return None


def _read(name: str, part: str, following: str) -> Piece | None:
    """Read a piece; None where it does not end before the declaration word that follows, which then is a name."""
    source = Source(name, part)
    file, problems = parse(source)
    if not problems or not following:
        return Piece(file, problems, following)
    more, found = parse(Source(name, part + following))
    end = len(part)
    if any(node.span.start < end < node.span.end for node in more.declarations):
        return None
    declarations = tuple(node for node in more.declarations if node.span.end <= end)
    found = [replace(problem, source=source) for problem in found if problem.span.start <= end]
    return Piece(File(source=source, declarations=declarations), found or problems, following)
