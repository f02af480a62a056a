"""A message's bytes to events: the contract, and every way to break it. Pure, and total: no bytes raise anything.

A message is one event, a JSON object, or an array of events. An element of an array that is no event is rejected alone,
with its own bytes; the others go on. Fields of the object that the contract does not name are ignored.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec

from dsl.event import Event
from dsl.payload import Fault, Reader, is_usual, read_instant
from worker.partition import tenant_token, token
from worker.row import row_of
from worker.verdict import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.schema import EventSchema

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""The broker's own default limit."""
MAX_DEPTH: Final = 64
"""Objects and arrays around the innermost value of an event, itself included."""
MAX_ID_BYTES: Final = 512
"""UTF-8 bytes of each id, the event type and the source; three of them have to fit a key of the ledger's index."""
MAX_INSTANT_CHARACTERS: Final = 64

_EMPTY: Final = "Expected `str` of length >= 1"
"""What the decoder says of an empty text."""
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")
_SPACE: Final = " \t\n\r"
_SPACE_BYTES: Final = _SPACE.encode()


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """An event that keeps the contract."""

    event: Event
    row: str
    """What the ledger will have of it, as in worker/row.py."""


class Written(NamedTuple):
    """What is kept of an event as received."""

    occurred_at: str
    source: str | None
    payload: str | None


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """What is no event; `body` is the whole message, or the bytes of one element of it."""

    reason: Reason
    detail: str
    body: bytes


_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Wire(msgspec.Struct, frozen=True, gc=False):
    event_id: _Text
    event_type: _Text
    user_id: _Text
    tenant_id: _Text
    occurred_at: str
    source: str | None = None
    payload: msgspec.Raw = msgspec.Raw(b"")


_event = msgspec.json.Decoder(_Wire)
_anything = msgspec.json.Decoder(msgspec.Raw)
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_events = msgspec.json.Decoder(list[_Wire])


class Contract:
    """The contract under one rule set.

    `prefix` is the subject prefix whose next token is the tenant, `skew` how far ahead of the clock an event may be, in
    microseconds.
    """

    def __init__(self, schemas: Mapping[str, EventSchema], *, prefix: str, skew: int) -> None:
        self._readers = {name: Reader(schema) for name, schema in schemas.items()}
        self._prefix = prefix
        self._skew = skew

    def read(self, subject: str, body: bytes, *, now: int, seq: int = 0) -> list[Accepted | Rejected]:
        """Return what a message holds, in its order; `now` in microseconds, `seq` its place in the stream."""
        if len(body) > MAX_MESSAGE_BYTES:
            detail = f"{len(body)} bytes, of which at most {MAX_MESSAGE_BYTES} are read"
            return [Rejected(Reason.OVERSIZE, detail, body)]
        if not body.isascii() and (flaw := _no_utf8(body)) is not None:
            return [flaw]
        told, place = tenant_token(self._prefix, subject), str(seq)
        if not _is_array(body):
            return [self._read_one(told, body, now, place)]
        events = self._read_plain(told, body, now, place)
        if events is not None:
            return events
        elements = _split(body)
        if isinstance(elements, Rejected):
            return [elements]
        return [self._read_one(told, element, now, place) for element in elements]

    def fields(self, event_type: str, payload: str | None) -> dict[str, Any]:
        """Return the declared fields of a payload of the ledger that fit the contract of today."""
        reader = self._readers.get(event_type)
        return {} if reader is None else reader.lenient(b"{}" if payload is None else payload.encode())

    def _read_plain(self, told: str | None, body: bytes, now: int, seq: str) -> list[Accepted | Rejected] | None:
        """Return the events of an array as a whole; None where one of them needs a closer look."""
        if b"\\" in body:
            return None
        try:
            wires = _events.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return None
        # Each event has two brackets at least, so that none has more than MAX_DEPTH.
        if body.count(b"{") + body.count(b"[") > 2 * len(wires) + MAX_DEPTH - 1:
            return None
        events: list[Accepted | Rejected] = []
        for wire in wires:
            payload = str(wire.payload, "utf-8")
            if payload[:1] != "{":
                return None
            event = self._judge(told, wire, payload, now, seq)
            if not isinstance(event, Accepted) or len(event.row) - len(payload) > MAX_ID_BYTES // 4:
                return None
            events.append(event)
        return events

    def _read_one(self, told: str | None, body: bytes, now: int, seq: str) -> Accepted | Rejected:
        """Return one event; `told` is the token of the tenant that the message was published for, where it says so."""
        try:
            wire = _event.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            return _undecodable(body, error)
        payload = str(wire.payload, "utf-8")
        # What is small, plain and flat has nothing that a closer look would find.
        if (
            len(body) > MAX_ID_BYTES
            or b"\\" in body
            or payload[:1] != "{"
            or body.count(b"{") + body.count(b"[") > MAX_DEPTH
        ) and (flaw := _unfit(wire, payload, body)) is not None:
            return flaw
        judged = self._judge(told, wire, payload, now, seq)
        return judged if isinstance(judged, Accepted) else Rejected(*judged, body)

    def _judge(self, told: str | None, wire: _Wire, payload: str, now: int, seq: str) -> Accepted | tuple[Reason, str]:
        """Return an event whose texts are fit to be stored, or why it is none."""
        tenant, written = wire.tenant_id, wire.occurred_at
        usual = is_usual(written)
        moment = read_instant(written, usual=usual)
        if moment is None or len(written) > MAX_INSTANT_CHARACTERS:
            return Reason.INVALID_EVENT, "occurred_at: expected an RFC 3339 instant with an offset"
        if told is not None and told != token(tenant):
            return Reason.TENANT_MISMATCH, f"tenant_id: the subject says {told}"
        at, offset = moment
        if at > now + self._skew:
            return Reason.FROM_THE_FUTURE, f"occurred_at: {(at - now) // 1_000_000} s ahead of the clock"
        given = _given(payload)
        reader = self._readers.get(wire.event_type)
        fields = {} if reader is None else reader.strict(given or "{}")
        if isinstance(fields, Fault):
            return Reason.CONTRACT, f"payload.{fields.field}: expected {fields.expected}, got {fields.got}"
        event = Event(tenant, wire.event_id, wire.event_type, wire.user_id, at, offset, fields)
        return Accepted(event, row_of(event, written, wire.source, given, seq, usual=usual))


def _given(payload: str) -> str | None:
    return payload if payload and payload != "null" else None


def written_of(body: bytes) -> Written:
    """Return what is kept as received of an event that was accepted; `body` is its own."""
    wire = _event.decode(body)
    return Written(wire.occurred_at, wire.source, _given(str(wire.payload, "utf-8")))


def element_of(body: bytes, element: int) -> bytes:
    """Return the bytes of one element of a message that is an array, and the whole of any other."""
    elements = _elements_of(body) if _is_array(body) else [body]
    return body if isinstance(elements, Rejected) else elements[element]


def _is_array(body: bytes) -> bool:
    return not body.startswith(b"{") and body.lstrip(_SPACE_BYTES).startswith(b"[")


def same_body(event: Event, written: Written, stored: StoredBody) -> bool:
    """Tell whether an event says what the ledger has under its id: the same fields, and equal JSON."""
    mine = (event.user, event.type, event.at, event.offset, written.source)
    theirs = (stored.user_id, stored.event_type, stored.occurred_at, stored.utc_offset, stored.source)
    if mine != theirs:
        return False
    return written.payload == stored.payload or _json(written.payload) == _json(stored.payload)


class StoredBody(msgspec.Struct, frozen=True, gc=False):
    """What the ledger has under an id; instants in microseconds, the offset in seconds."""

    user_id: str
    event_type: str
    occurred_at: int
    utc_offset: int
    source: str | None
    payload: str | None


def stored_body(event: Event, written: Written) -> StoredBody:
    """Return what the ledger will have under the id of an event."""
    return StoredBody(event.user, event.type, event.at, event.offset, written.source, written.payload)


# -- decoding ----------------------------------------------------------------------------------------------------------


def _undecodable(body: bytes, error: msgspec.DecodeError | RecursionError) -> Rejected:
    if isinstance(error, RecursionError) or _too_deep(body):
        return Rejected(Reason.TOO_DEEP, f"nested deeper than {MAX_DEPTH}", body)
    if isinstance(error, msgspec.ValidationError):
        return _malformed(body) or _no_text(body) or Rejected(Reason.INVALID_EVENT, _where(str(error)), body)
    return _malformed(body) or Rejected(Reason.MALFORMED_JSON, str(error), body)


def _malformed(body: bytes) -> Rejected | None:
    """Return what is wrong with the whole of a body as JSON, where the first fault found may have been another."""
    try:
        _anything.decode(body)
    except msgspec.DecodeError as error:
        reason = Reason.INVALID_TEXT if _SURROGATE.search(body) and _parses(body) else Reason.MALFORMED_JSON
        return Rejected(reason, str(error), body)
    except RecursionError:
        return Rejected(Reason.TOO_DEEP, f"nested deeper than {MAX_DEPTH}", body)
    return None


def _where(message: str) -> str:
    """Turn msgspec's message around, so that the field comes first: `user_id: expected `str`, got `int``."""
    said, _, place = message.partition(" - at `$.")
    if place:
        wrong = "empty" if said == _EMPTY else f"{said[0].lower()}{said[1:]}"
        return f"{place.rstrip('`')}: {wrong}"
    return f"{said.split('`')[1]}: missing" if "missing required field" in said else said


def _unfit(wire: _Wire, payload: str, body: bytes) -> Rejected | None:
    """Return what is wrong with the whole, with ids or with the payload, the field first; or None."""
    if _too_deep(body):
        return Rejected(Reason.TOO_DEEP, f"nested deeper than {MAX_DEPTH}", body)
    if (flaw := _no_text(body)) is not None:
        return flaw
    # No character takes more than four bytes: most texts need no counting.
    length = len(wire.event_id) + len(wire.event_type) + len(wire.user_id) + len(wire.tenant_id)
    if (length + len(wire.source or "")) * 4 > MAX_ID_BYTES:
        for name in _TEXTS:
            if len((getattr(wire, name) or "").encode()) > MAX_ID_BYTES:
                return Rejected(Reason.INVALID_EVENT, f"{name}: longer than {MAX_ID_BYTES} bytes", body)
    if payload and not payload.startswith("{") and payload != "null":
        return Rejected(Reason.INVALID_EVENT, "payload: expected an object", body)
    return None


_TEXTS: Final = ("event_id", "event_type", "user_id", "tenant_id", "source")


def _no_text(body: bytes) -> Rejected | None:
    if b"\\" in body and _NUL.search(body):
        return Rejected(Reason.INVALID_TEXT, "U+0000 cannot be stored", body)
    return None


def _no_utf8(body: bytes) -> Rejected | None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return Rejected(Reason.MALFORMED_JSON, f"no UTF-8: byte {error.start}", body)
    return None


def _too_deep(body: bytes) -> bool:
    return body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth(body) > MAX_DEPTH


def _depth(body: bytes) -> int:
    """Return how deep brackets nest outside of strings."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


# -- arrays ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _elements_of(body: bytes) -> list[bytes] | Rejected:
    """Return what `_split` does; many elements of one array may be asked for, one after the other."""
    return _split(body)


def _split(body: bytes) -> list[bytes] | Rejected:
    try:
        return [bytes(element) for element in _elements.decode(body)]
    except msgspec.DecodeError as error:
        if _SURROGATE.search(body):  # one bad element should not take the others with it
            elements = _split_slowly(body.decode())
            if elements is not None:
                return elements
        return Rejected(Reason.MALFORMED_JSON, str(error), body)
    except RecursionError:
        return Rejected(Reason.TOO_DEEP, f"nested deeper than {MAX_DEPTH}", body)


_scanner = json.JSONDecoder()


def _split_slowly(text: str) -> list[bytes] | None:
    """Return the elements of an array by a parser that passes over lone surrogates; None where it is no array."""
    elements: list[bytes] = []
    at = _skip(text, _skip(text, 0) + 1)
    try:
        while True:
            _, end = _scanner.raw_decode(text, at)
            elements.append(text[at:end].encode())
            at = _skip(text, end)
            if text[at : at + 1] == ",":
                at = _skip(text, at + 1)
                continue
            closed = text[at : at + 1] == "]" and _skip(text, at + 1) == len(text)
            return elements if closed else None
    except (ValueError, RecursionError):
        return None


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


# -- comparing bodies --------------------------------------------------------------------------------------------------


def _parses(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _json(payload: str | None) -> object:
    """Return JSON with numbers by value and apart from bools and strings, so that `==` compares what was meant."""
    if payload is None:
        return None
    return json.loads(payload, parse_int=_number, parse_float=_number)


def _number(text: str) -> tuple[str, str]:
    """Return a number in one form: no sign of zero, no trailing zeros, any size."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return ("number", "0")
    kept = digits.rstrip("0")
    power = int(exponent[:19] or "0") - len(fraction) + len(digits) - len(kept)
    return ("number", f"{'-' if text[0] == '-' else ''}{kept}e{power}")
