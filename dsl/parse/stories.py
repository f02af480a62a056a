"""The lines of an example.

A line has no end mark: `at INSTANT` may end an `expect` or start the next line, and only the following pieces decide
which. So the grammar passes on the pieces between the braces, and this module reads them with as much lookahead as it
needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.diagnostics import nearest
from dsl.parse.operators import split
from dsl.parse.reading import Mark, error
from dsl.source import Span
from dsl.syntax import Duration, Expect, Given, Instant, Literal, Name, Target, Until

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.types import Json, Number

AT: Final = "at INSTANT USER EVENT { ... } [times N every DURATION] [tenant T] [id ID]"
EXPECT: Final = "expect USER [not] NAME[.TIER] [occurrence X] [at INSTANT] [progress C/T]"

UNTIL: Final = "until INSTANT"
_FORMS: Final = {"at": AT, "expect": EXPECT, "until": UNTIL}


class Payload(NamedTuple):
    """A JSON object and where it stands."""

    values: dict[str, Json]
    span: Span


Piece = Name | Literal | Instant | Duration | Mark | Payload


class Unreadable(Exception):  # noqa: N818 - a signal within this file
    """This line cannot be read further; the error is already reported."""


class Cursor:
    """A place in the pieces of one example."""

    def __init__(self, pieces: tuple[Piece, ...]) -> None:
        self.pieces = pieces
        self.at = 0

    def peek(self, ahead: int = 0) -> Piece | None:
        """Return a piece that is still to come, or None behind the last one."""
        place = self.at + ahead
        return self.pieces[place] if place < len(self.pieces) else None

    def next_is(self, word: str, ahead: int = 0) -> bool:
        """Return whether a piece to come is that word."""
        piece = self.peek(ahead)
        return isinstance(piece, Name) and piece.text == word

    def take(self) -> Piece | None:
        """Step over one piece."""
        piece = self.peek()
        self.at += 1
        return piece

    def fail(self, expected: str, form: str) -> Unreadable:
        """Report that something else was expected at this place."""
        piece = self.peek()
        span = self.pieces[-1].span if piece is None else piece.span
        found = "the end of the example" if piece is None else words(piece)
        error("ACH120", span, f"expected {expected}, found {found}", f"write: {form}")
        return Unreadable()


def words(piece: Piece) -> str:
    """Name a piece for a message."""
    match piece:
        case Name() | Mark():
            return f"`{piece.text}`"
        case Literal():
            return "a string" if isinstance(piece.value, str) else "a number"
        case Instant():
            return "an instant"
        case Duration():
            return "a duration"
        case _:
            return "`{`"


_VERBS: Final = frozenset("has have had earns earned gets got unlocks unlocked gains gained receives to".split())  # noqa: SIM905 - a list of words
_DENIED: Final = frozenset("no never without lacks misses".split())  # noqa: SIM905 - another


def read_lines(pieces: tuple[Piece, ...]) -> tuple[Given | Expect | Until, ...]:
    """Read the lines; report each line with an error and continue with the next one."""
    cursor = Cursor(pieces)
    lines: list[Given | Expect | Until] = []
    while cursor.peek() is not None:
        start = cursor.at
        try:
            lines.append(_line(cursor))
        except Unreadable:
            cursor.at = max(cursor.at, start + 1)
            _skip_to_line(cursor)
    return tuple(lines)


def _line(cursor: Cursor) -> Given | Expect | Until:
    if cursor.next_is("at"):
        return _given(cursor)
    if cursor.next_is("expect"):
        return _expect(cursor)
    if cursor.next_is("until"):
        return _until(cursor)
    piece = cursor.peek()
    guess = nearest(piece.text, tuple(_FORMS)) if isinstance(piece, Name) else None
    form = _without_verb(cursor) or _FORMS[guess or "at"]
    raise cursor.fail("a line that begins with `at`, `expect` or `until`", form)


def _without_verb(cursor: Cursor) -> str | None:
    """Return the line that `expect USER has NAME` stands for, where the reader has come to its NAME."""
    before, piece = cursor.pieces[max(0, cursor.at - 3) : cursor.at], cursor.peek()
    if len(before) < 3 or not isinstance(piece, Name) or not isinstance(before[0], Name):  # noqa: PLR2004 - expect USER has
        return None
    verb = before[2].text if before[0].text == "expect" and isinstance(before[2], Name) else ""
    if verb in _DENIED:
        return f"expect USER not {piece.text}"
    return f"expect USER {piece.text}" if verb in _VERBS else None


def _until(cursor: Cursor) -> Until:
    start = _span(cursor.take()).start
    at = _instant(cursor, UNTIL)
    return Until(at=at, span=Span(start, at.span.end))


def _skip_to_line(cursor: Cursor) -> None:
    while cursor.peek() is not None and not _begins_line(cursor):
        cursor.take()


def _begins_line(cursor: Cursor) -> bool:
    if cursor.next_is("at"):
        return isinstance(cursor.peek(1), Instant)
    if cursor.next_is("until"):
        return isinstance(cursor.peek(1), Instant)
    return cursor.next_is("expect") and isinstance(cursor.peek(1), Name | Literal)


# -- at ------------------------------------------------------------------------------------------------------


def _given(cursor: Cursor) -> Given:
    start = _span(cursor.take()).start
    at = _instant(cursor, AT)
    user = _user(cursor, AT)
    event = _name(cursor, "an event", AT)
    payload = cursor.peek()
    if not isinstance(payload, Payload):
        raise cursor.fail("the payload in braces", AT)
    cursor.take()
    extras = _Extras(payload.span.end)
    while (piece := cursor.peek()) is not None and isinstance(piece, Name) and piece.text in _SUFFIXES:
        _SUFFIXES[piece.text](cursor, extras)
    return Given(
        at=at,
        user=user,
        event=event,
        payload=payload.values,
        times=extras.times,
        every=extras.every,
        tenant=extras.tenant,
        id=extras.id,
        span=Span(start, extras.end),
    )


class _Extras:
    """What may follow the payload."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.times = 1
        self.every: Duration | None = None
        self.tenant: str | None = None
        self.id: str | None = None


def _times(cursor: Cursor, extras: _Extras) -> None:
    _not_twice(cursor, extras.every)
    cursor.take()
    number = cursor.peek()
    if not isinstance(number, Literal) or isinstance(number.value, str | bool) or number.value != int(number.value):
        raise cursor.fail("a whole number of times", AT)
    cursor.take()
    extras.times = int(number.value)
    if not cursor.next_is("every"):
        raise cursor.fail("`every` and a duration", AT)
    cursor.take()
    every = cursor.peek()
    if not isinstance(every, Duration):
        raise cursor.fail("a duration", AT)
    cursor.take()
    extras.every, extras.end = every, every.span.end


def _tenant(cursor: Cursor, extras: _Extras) -> None:
    _not_twice(cursor, extras.tenant)
    cursor.take()
    extras.tenant, extras.end = _string(cursor, AT)


def _id(cursor: Cursor, extras: _Extras) -> None:
    _not_twice(cursor, extras.id)
    cursor.take()
    extras.id, extras.end = _string(cursor, AT)


def _not_twice(cursor: Cursor, before: object) -> None:
    if before is not None:
        raise cursor.fail("the next line", AT)


_SUFFIXES: Final[dict[str, Callable[[Cursor, _Extras], None]]] = {
    "times": _times,
    "tenant": _tenant,
    "id": _id,
}


# -- expect --------------------------------------------------------------------------------------------------


def _expect(cursor: Cursor) -> Expect:
    start = _span(cursor.take()).start
    user = _user(cursor, EXPECT)
    negated = _is_mark(cursor, "not")
    if negated:
        cursor.take()
    name = _name(cursor, "an achievement", EXPECT)
    parts = split(name)
    if parts is None:
        raise Unreadable
    target = Target(achievement=parts[0], tier=parts[1], span=name.span)
    end = name.span.end
    occurrence: str | None = None
    if cursor.next_is("occurrence"):
        cursor.take()
        occurrence, end = _string(cursor, EXPECT)
    at, progress = None, None
    if not negated and occurrence is None and cursor.next_is("progress"):
        cursor.take()
        progress, end = _progress(cursor)
    elif not negated and _closes_expect(cursor):
        cursor.take()
        at = _instant(cursor, EXPECT)
        end = at.span.end
    return Expect(
        user=user,
        target=target,
        negated=negated,
        occurrence=occurrence,
        at=at,
        progress=progress,
        span=Span(start, end),
    )


def _closes_expect(cursor: Cursor) -> bool:
    """Return whether `at INSTANT` belongs to the `expect` before it: an event and a payload make it a new line."""
    if not cursor.next_is("at"):
        return False
    follows = isinstance(cursor.peek(2), Name | Literal) and isinstance(cursor.peek(3), Name)
    return not (follows and isinstance(cursor.peek(4), Payload))


def _progress(cursor: Cursor) -> tuple[tuple[Number, Number], int]:
    current, _ = _number(cursor)
    if not _is_mark(cursor, "/"):
        raise cursor.fail("`/` and the target, as in 3/10", EXPECT)
    cursor.take()
    target, end = _number(cursor)
    return (current, target), end


# -- parts ---------------------------------------------------------------------------------------------------


def _is_mark(cursor: Cursor, text: str) -> bool:
    piece = cursor.peek()
    return isinstance(piece, Mark) and piece.text == text


def _span(piece: Piece | None) -> Span:
    return Span(0, 0) if piece is None else piece.span


def _instant(cursor: Cursor, form: str) -> Instant:
    piece = cursor.peek()
    if not isinstance(piece, Instant):
        raise cursor.fail("an instant such as 2026-04-13T09:00:00Z", form)
    cursor.take()
    return piece


def _user(cursor: Cursor, form: str) -> str:
    piece = cursor.peek()
    if isinstance(piece, Name) and "." not in piece.text:
        cursor.take()
        return piece.text
    if isinstance(piece, Literal) and isinstance(piece.value, str):
        cursor.take()
        return piece.value
    raise cursor.fail("a user, as a name or in quotes", form)


def _name(cursor: Cursor, what: str, form: str) -> Name:
    piece = cursor.peek()
    if not isinstance(piece, Name):
        raise cursor.fail(what, form)
    cursor.take()
    return piece


def _string(cursor: Cursor, form: str) -> tuple[str, int]:
    piece = cursor.peek()
    if not (isinstance(piece, Literal) and isinstance(piece.value, str)):
        raise cursor.fail("a string", form)
    cursor.take()
    return piece.value, piece.span.end


def _number(cursor: Cursor) -> tuple[Number, int]:
    piece = cursor.peek()
    if not isinstance(piece, Literal) or isinstance(piece.value, str | bool):
        raise cursor.fail("a number", EXPECT)
    cursor.take()
    return piece.value, piece.span.end
