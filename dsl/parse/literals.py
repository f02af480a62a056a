"""The text of one literal to its value: numbers, instants, durations, strings, percentages.

The grammar accepts everything that looks like a literal, so that this module can report a wrong one in words. It
reports an invalid literal as an error and returns a harmless value instead.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl import payload
from dsl.parse.reading import READING, error, place, slip
from dsl.source import Span
from dsl.syntax import Duration, Instant, Literal
from dsl.types import DAY, HOUR, MAX_DIGITS, MINUTE, SECOND, WEEK

if TYPE_CHECKING:
    from dsl.parse.reading import Token
    from dsl.types import Number

MAX_DURATION: Final = 10_000 * 366 * DAY
"""Longer than the calendar; no two events can lie further apart."""

_LENGTHS: Final = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_DURATION: Final = re.compile(r"(\d+(?:_\d+)*)([smhdw])", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d{1,150}(?:\.\d{1,150})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_OF_A_DATE: Final = re.compile(r"\bat\.date\b[^,(){}\n]*\Z")
_PERCENT: Final = re.compile(r"\d+%", re.ASCII)


class Percent(NamedTuple):
    """`30%`."""

    value: int
    span: Span


def number(token: Token) -> Literal:
    """Read a number: `int`, or `Decimal` where it has a fraction or an exponent."""
    text = token.value.replace("_", "")
    value: Number = 0
    if not _NUMBER.fullmatch(text):
        _bad_number(token)
    elif text.lstrip("-").isdigit():
        value = int(text)
    else:
        value = Decimal(text)
    if not fits(value):
        _bad_number(token)
        value = 0
    return Literal(value=value, span=place(token))


def fits(value: Number) -> bool:
    """Return whether a number has at most MAX_DIGITS digits, before and behind the point."""
    if isinstance(value, int):
        return abs(value) < 10**MAX_DIGITS
    return len(value.as_tuple().digits) <= MAX_DIGITS and abs(value.adjusted()) <= MAX_DIGITS


def _bad_number(token: Token) -> None:
    error("ACH105", place(token), f"a number has at most {MAX_DIGITS} digits")


def duration(token: Token) -> Duration:
    """Read a duration such as `90s`."""
    text = token.value
    match = _DURATION.fullmatch(text)
    if match is None:
        _bad_duration(token)
        return Duration(us=0, text=text, span=place(token))
    us = int(match[1].replace("_", "")[:40]) * _LENGTHS[match[2]]
    if us > MAX_DURATION:
        error("ACH107", place(token), "a duration is at most 10,000 years long")
        us = 0
    return Duration(us=us, text=text, span=place(token))


def _bad_duration(token: Token) -> None:
    text = token.value
    shown = text if len(text) <= MAX_DIGITS else text[:MAX_DIGITS] + "..."
    if re.fullmatch(r"[\d_.]+", text):
        error("ACH105", place(token), f"`{shown}` is not a number", "put underscores between digits: 10_000")
        return
    hint = "durations are whole numbers with s, m, h, d or w: 90s 15m 1h 7d 2w"
    if re.fullmatch(r"\d+(mo|month|months|y|year|years)", text):
        hint = "months and years have no exact length: write a number of days, or use per=month or per=year"
    elif found := re.fullmatch(r"(\d+)(sec|second|min|minute|hr|hour|day|wk|week)s?", text):
        hint = f"write a duration as one word: {found[1]}{found[2][0]}"
    elif found := re.fullmatch(r"(\d{1,12})k", text):
        hint = f"numbers have no unit: write {int(found[1]) * 1000:_}"
    elif found := re.fullmatch(r"(\d+)(?:km|mi|xp|kg|m2|pts?|points?|times|x|eur|usd|kb|mb|gb|percent|ms)", text):
        hint = f"numbers have no unit: write {found[1]}"
    error("ACH107", place(token), f"`{shown}` is neither a number nor a duration", hint)


def instant(token: Token) -> Instant:
    """Read an RFC 3339 instant."""
    text = token.value
    moment = payload.instant(text)
    if moment is None:
        whole = len(text) >= len("2026-05-01T00:00:00Z") and text[-1] not in "0123456789."
        hint = "write date, time and offset: 2026-05-01T00:00:00Z or 2026-05-01T02:00:00+02:00"
        before = READING.get().source.text[max(0, token.start_pos - 60) : token.start_pos]
        if _OF_A_DATE.search(before):
            hint = f'`at.date` is a string: write "{text[:10]}"'
        elif _DATE.fullmatch(text) and re.search(r"(?:[<>=]|\bin \[?)\s*\Z", before):
            hint = f'write an instant, {text}T00:00:00Z, or the date of the event as a string: at.date >= "{text}"'
        message = (
            f"`{text[:40]}` is not a valid instant"
            if whole or "+" in text
            else f"`{text[:40]}` is not a complete instant"
        )
        error("ACH106", place(token), message, hint)
        moment = (0, 0)
    return Instant(us=moment[0], offset=moment[1], text=text, span=place(token))


def string(token: Token) -> Literal:
    """Read a JSON string; report one that is not closed, and take it up to the end of its line."""
    text = token.value
    if "\\" not in text and text[-1] == '"' and len(text) > 1 and text.isprintable():
        return Literal(value=text[1:-1], span=place(token))
    return Literal(value=_unescape(token), span=place(token))


def _unescape(token: Token) -> str:
    text = token.value
    try:
        value: str = json.loads(text)
    except ValueError as problem:
        _bad_string(token, problem)
        return ""
    if not value.isprintable() and any("\ud800" <= char <= "\udfff" for char in value):
        hint = "write the character itself, or both halves"
        slip("ACH104", place(token), "half of a surrogate pair is not a character", hint)
        return ""
    if "\0" in value:
        slip("ACH103", place(token), "U+0000 is not allowed in a string: neither events nor the database can store it")
        return ""
    return value


def _bad_string(token: Token, problem: ValueError) -> None:
    if not (isinstance(problem, json.JSONDecodeError) and "Unterminated" not in problem.msg):
        slip("ACH103", place(token), 'this string is not closed: its closing `"` is missing')
        return
    at = token.start_pos + problem.pos
    what = "a tab or another control character" if "control" in problem.msg else "this escape"
    hint = r"use JSON escapes: \" \\ \/ \b \f \n \r \t \u00e9"
    slip("ACH103", Span(at, min(at + 2, token.end_pos)), f"{what} is not allowed in a string", hint)


def percent(token: Token) -> Percent:
    """Read a percentage such as `30%`; only whole ones are taken."""
    if not _PERCENT.fullmatch(token.value) or len(token.value) > MAX_DIGITS:
        error("ACH105", place(token), "a percentage is a whole number: 30%")
        return Percent(0, place(token))
    return Percent(int(token.value[:-1]), place(token))


def percent_of(value: object) -> int:
    """Return the percentage that a number may mean: 0.3 is 30 %."""
    if isinstance(value, Decimal):
        return int(value * 100) if 0 < value < 1 else int(min(value, Decimal(100)))
    return value if isinstance(value, int) and not isinstance(value, bool) else 30
