"""Messages that mean harm: good events with something done to them, by a seeded dice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from random import Random

RULES: Final = """
event lesson.completed {
  lesson: string?, minutes: int? >= 0, price: decimal?, good: bool?, due: timestamp?, team: string?
}
event quiz { score: int, team: string? once per score within 1h }
event free.form {}
traits from user.updated { timezone: string, plan: string }

achievement thrice { title "3" when count(event=lesson.completed, >= 3) }
achievement kinds { title "k" when count(event=lesson.completed, distinct=lesson, >= 3, within=1d) repeat each }
achievement long { title "l" when sum(event=lesson.completed, of=minutes, >= 100, within=1w, unless=quiz) }
achievement rich { title "r" when sum(event=lesson.completed, of=price, >= 10.5) settle 1h }
achievement top { title "t" when max(event=quiz, of=score, > 1000000) repeat every day tz=event }
achievement week { title "w" when streak(event=lesson.completed, per=day, >= 2, grace=1, tz=user) }
achievement month { title "m" when count(event=quiz, >= 2, per=month, tz="America/New_York") }
achievement year { title "y" when count(event=free.form, >= 1) repeat every year tz="Pacific/Auckland" }
achievement hour { title "h" when count(event=free.form, >= 1) repeat every hour tz=user }
achievement weeks { title "ws" when streak(event=free.form, per=week, >= 2, tz=event, within=4w) }
achievement path { title "p" when sequence([lesson.completed, quiz], by=team, within=1d) }
achievement pro { title "pro" for plan = "pro" when count(event=lesson.completed where good and at.hour < 12, >= 1) }
achievement team { title "te" scope team when count(event=[lesson.completed, quiz], >= 4, unless=free.form) }
achievement all { title "a" scope tenant when count(event=lesson.completed, distinct=team, >= 2) repeat each }
"""

NAMES: Final = (
    "plain",
    "a.b",
    "*",
    ">",
    "a b",
    " ",
    "\t",
    "line\nbreak",
    "carriage\r\nreturn",
    "o'brien",
    'quo"ted',
    "back\\slash",
    "semi;colon--",
    "'; DROP TABLE event; --",
    "$1",
    "$$",
    "%",
    "%2E",
    "%s%n",
    "~",
    "~0123456789abcdef0123456789abcdef",
    "🦀",
    "👩‍👩‍👧",
    "مرحبا",
    "\u202egnirts\u202c",
    "e\u0301",
    "é",
    "\ufeff",
    "\u200b",
    "\x7f",
    "\x01",
    "\u2028",
    "\ufffe",
    "\uffff",
    "\U0010ffff",
    "NULL",
    "null",
    "true",
    "0",
    "-1",
    "{}",
    "[]",
    "../../etc/passwd",
    "a" * 512,
    "é" * 256,
    "🦀" * 128,
    "A",
)
"""Names that subjects, SQL, JSON or a terminal might trip over; all of them are names."""

INSTANTS: Final = (
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00.000001Z",
    "0001-01-01T23:59:00+23:59",
    "0001-12-31T23:59:59.999999-23:59",
    "1582-10-10T00:00:00Z",
    "1900-02-28T24:00:00Z",
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "2016-12-31T23:59:60.999999999Z",
    "2017-01-01T08:59:60+09:00",
    "2024-02-29T12:00:00Z",
    "2026-03-29T02:30:00+01:00",
    "2026-02-29T12:00:00Z",
    "2026-04-13T24:00:00Z",
    "2026-04-13T23:59:59.9999999Z",
    "2026-04-13t09:00:00z",
    "2026-04-13T09:00:00-00:00",
    "2026-04-13T09:00:00+14:00",
    "2026-04-13T09:00:00+23:59",
    "2026-04-13T09:00:00-23:59",
    "2026-04-13T09:00:00+24:00",
    "2026-04-13 09:00:00Z",
    "2026-04-13T09:00:00",
    "2026-04-13",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:60Z",
    "9999-12-31T23:59:59-00:01",
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "-001-01-01T00:00:00Z",
    "٢٠٢٦-٠٤-١٣T09:00:00Z",  # noqa: RUF001 - digits that are none of RFC 3339
    "1776000000",
    "2026-04-13T09:00:00." + "9" * 100 + "Z",
)

VALUES: Final = (
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-0.0",
    "1",
    "-1",
    "1.5",
    "5.0",
    "1e0",
    "1e5",
    "1e38",
    "1E+400",
    "-1e400",
    "1e-400",
    "9" * 38,
    "9" * 39,
    "9" * 5000,
    "0." + "0" * 37 + "1",
    "0." + "0" * 5000 + "1",
    str(2**63),
    str(2**64),
    "1e" + "9" * 400,
    "NaN",
    "Infinity",
    "-Infinity",
    "01",
    "+1",
    ".5",
    "1.",
    "0x10",
    '""',
    '"x"',
    '"1.5"',
    '"NaN"',
    '"1e999"',
    '"' + "9" * 200 + '"',
    '"\\u0000"',
    '"\\ud800"',
    '"\\udfff\\ud800"',
    '"\\ud83e\\udd80"',
    '"\\\\u0000"',
    '"\\x"',
    '"\x00"',
    '"unclosed',
    '"' + "x" * 10_000 + '"',
    '"2026-04-13T09:00:00Z"',
    "[]",
    "{}",
    "[1, 2, 3]",
    '{"a": {"b": [null]}}',
    '{"a": 1, "a": 2}',
    "[" * 70 + "]" * 70,
    '{"a":' * 62 + "1" + "}" * 62,
    "[" * 5000,
    '"Europe/Berlin"',
    '"Not/AZone"',
    '"../../../etc/passwd"',
    '"pro"',
)
"""JSON texts, and texts that are not quite."""

BYTES: Final = (
    b"\x00",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xef\xbb\xbf",
    b"\\",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\u0000",
    b"\\ud800",
    b"\n",
    b"NaN",
    b"//",
)

FIELDS: Final = ("event_id", "event_type", "user_id", "tenant_id", "occurred_at", "source", "payload")
TYPES: Final = ("lesson.completed", "quiz", "free.form", "user.updated", "unknown.type")


def good_event(dice: Random, number: int) -> dict[str, Any]:
    """Return an event that keeps the contract of RULES."""
    kind = dice.choice(TYPES)
    payloads: dict[str, dict[str, Any]] = {
        "lesson.completed": {
            "lesson": f"l{dice.randrange(5)}",
            "minutes": dice.randrange(60),
            "price": round(dice.random() * 4, 2),
            "good": dice.random() < 0.5,
            "due": dice.choice(("2026-04-13T09:00:00Z", "0001-01-01T00:00:00Z")),
            "team": f"t{dice.randrange(3)}",
        },
        "quiz": {"score": dice.randrange(2_000_000), "team": f"t{dice.randrange(3)}"},
        "user.updated": {"timezone": dice.choice(("Europe/Berlin", "Asia/Tokyo", "No/Where")), "plan": "pro"},
    }
    seconds = dice.randrange(86400)
    return {
        "event_id": f"e{number}",
        "event_type": kind,
        "user_id": f"u{dice.randrange(20)}",
        "tenant_id": f"t{dice.randrange(2)}",
        "occurred_at": f"2026-04-{dice.randrange(1, 21):02d}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:00Z",
        "source": "test",
        "payload": payloads.get(kind, {}),
    }


def spoilt(dice: Random, number: int) -> bytes:
    """Return a good event with one or two things done to it; some survive that."""
    event = good_event(dice, number)
    if dice.random() < 0.35:
        return _spoil_bytes(dice, _text(event).encode("utf-8", "surrogatepass"))
    for _ in range(dice.choice((1, 1, 2))):
        _spoil_field(dice, event)
    body = _text(event)
    if dice.random() < 0.1:  # a key twice
        body = body[:-1] + f', "{dice.choice(FIELDS)}": {dice.choice(VALUES)}}}'
    if dice.random() < 0.1:
        body = f"[{body}, {dice.choice(VALUES)}, {_text(good_event(dice, number))}]"
    return body.encode("utf-8", "surrogatepass")


class _Raw(str):
    """A JSON text that is put in as it is."""

    __slots__ = ()


def _text(event: dict[str, Any]) -> str:
    """Return an event as JSON, raw texts as they are."""
    return "{" + ", ".join(f'"{name}": {_value(value)}' for name, value in event.items()) + "}"


def _value(value: object) -> str:
    if isinstance(value, _Raw):
        return str(value)
    if isinstance(value, dict):
        return _text({str(name): item for name, item in value.items()})  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return json.dumps(value)


def _spoil_field(dice: Random, event: dict[str, Any]) -> None:
    match dice.randrange(6):
        case 0:
            event["occurred_at"] = dice.choice(INSTANTS)
        case 1:
            event[dice.choice(FIELDS[:4])] = dice.choice(NAMES)
        case 2:
            event[dice.choice(FIELDS)] = _Raw(dice.choice(VALUES))
        case 3:
            event.pop(dice.choice(FIELDS), None)
        case 4:
            event[dice.choice(FIELDS[:4])] = dice.choice("xé🦀") * dice.choice((100, 600, 10_000))
        case _:
            payload = event.get("payload")
            if isinstance(payload, dict):
                names = list(payload) or ["more"]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
                payload[dice.choice(names)] = _Raw(dice.choice(VALUES))  # pyright: ignore[reportUnknownArgumentType]


def _spoil_bytes(dice: Random, body: bytes) -> bytes:
    at, end = sorted(dice.randrange(len(body) + 1) for _ in range(2))
    match dice.randrange(5):
        case 0:
            return body[:at]
        case 1:
            return body[:at] + dice.choice(BYTES) + body[at:]
        case 2:
            return body[:at] + body[end:]
        case 3:
            return body[:at] + body[at:end] * 2 + body[end:]
        case _:
            return body[:at] + bytes([dice.randrange(256)]) + body[at + 1 :]
