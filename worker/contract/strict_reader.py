"""A message's bytes to events: the contract, and every way to break it. Pure, and total: no bytes raise anything.

A message is one event, a JSON object, or an array of events. An element of an array that is no event is rejected alone,
with its own bytes; the others go on. Fields of the object that the contract does not name are ignored.

What is none of our envelopes may be a CloudEvent (worker/contract/cloudevents.py), which is made an envelope and read
as one. A body that is an envelope is read as one, whatever its headers say: so the bulk reader looks at no header.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from dsl.event import Event
from dsl.payload import Fault, Reader, instant, is_usual
from worker.contract.bulk_reader import PlainReader
from worker.contract.cloudevents import Mode, RawEvent, Refusal, in_its_words, lowered, mode_of, read_any
from worker.contract.fields import (
    MAX_DEPTH,
    MAX_ID_BYTES,
    MAX_INSTANT_CHARACTERS,
    MAX_MESSAGE_BYTES,
    SPACE,
    Wire,
    decode_event,
    given,
    is_array,
    is_object,
    no_utf8,
    too_long,
)
from worker.contract.message import parse_headers
from worker.contract.partition import bound_by, event_subject, name_of, raw_subject
from worker.contract.reasons import Reason
from worker.contract.row import row_of
from worker.contract.transport import NOWHERE, with_attribute

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.schema import EventSchema
    from worker.contract.partition import Bound

_EMPTY: Final = "Expected `str` of length >= 1"
"""What the decoder says of an empty text."""
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")

_anything = msgspec.json.Decoder(msgspec.Raw)
_elements = msgspec.json.Decoder(list[msgspec.Raw])


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """An event that keeps the contract, and its row."""

    event: Event
    row: str
    """What the ledger will have of it, as in worker/contract/row.py."""
    envelope: bytes | None = None
    """Of what came as a CloudEvent: the same event in our envelope."""


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """What is no event; `body` is the whole message as far as it is kept, or the bytes of one element of it."""

    reason: Reason
    detail: str
    body: bytes


def _oversize(body: bytes) -> Rejected:
    """Return what is kept of a message that is too large: its beginning, so that no producer fills the database."""
    detail = (
        f"{len(body)} bytes, more than the limit of {MAX_MESSAGE_BYTES}; the first {MAX_MESSAGE_BYTES} are kept,"
        f" SHA-256 of all {sha256(body).hexdigest()}"
    )
    return Rejected(Reason.OVERSIZE, detail, body[:MAX_MESSAGE_BYTES])


class _Place(NamedTuple):
    """Where an event comes from: whose it may be, the clock, the end of its row, and what the headers say."""

    bound: Bound
    now: int
    end: str
    mode: Mode | None
    headers: Mapping[str, str]


class Contract:
    """The contract under one rule set.

    `prefix` is the subject prefix whose next token is the tenant, `skew` how far ahead of the clock an event may be, in
    microseconds, `mark` a secret number of up to 62 bits, for the bulk reader.
    """

    def __init__(self, schemas: Mapping[str, EventSchema], *, prefix: str, skew: int, mark: int | None = None) -> None:
        self._readers = {name: Reader(schema) for name, schema in schemas.items()}
        self._prefix = prefix
        self._skew = skew
        self.plain = PlainReader(self._readers, prefix=prefix, skew=skew, mark=mark)
        """Reads many events at once."""

    def read(self, subject: str, body: bytes, *, now: int, end: str = NOWHERE) -> list[Accepted | Rejected]:
        """Return what a message holds, in its order; `now` in microseconds, `end` of its rows (transport.py)."""
        plain = self.plain.read((subject,), (body,), now=now, ends=(end,))
        if plain is None:
            return self.look_closely(subject, body, now=now, end=end)
        return [*map(Accepted, plain.events, plain.rows)]

    def look_closely(
        self, subject: str, body: bytes, *, now: int, end: str, block: bytes = b""
    ) -> list[Accepted | Rejected]:
        """Return what `read` does, one event after the other; `block` is the message's block of headers."""
        if len(body) > MAX_MESSAGE_BYTES:
            return [_oversize(body)]
        headers = lowered(parse_headers(block)) if block else {}
        where = _Place(bound_by(self._prefix, subject), now, end, mode_of(headers), headers)
        if where.mode is Mode.BINARY:
            if not _has_envelope(body):
                return [self._read_foreign(where, body, read_any(where.mode, headers, body))]
            where = where._replace(mode=None)
        if (at := no_utf8(body)) is not None:
            return [Rejected(Reason.MALFORMED_JSON, f"no UTF-8: byte {at}", body)]
        if not is_array(body):
            return [self._read_one(where, body)]
        elements = _split(body)
        if isinstance(elements, Rejected):
            return [elements]
        return [self._read_one(where, element) for element in elements]

    def read_trusted(self, body: bytes, *, now: int) -> list[Accepted | Rejected]:
        """Return what `read` does, for a message that may hold events of any user, such as a recorded line."""
        return self.read(raw_subject(self._prefix), body, now=now)

    def fields(self, event_type: str, payload: str | None) -> dict[str, Any]:
        """Return the declared fields of a payload of the ledger that fit the contract of today."""
        reader = self._readers.get(event_type)
        return {} if reader is None or payload is None else reader.lenient(payload)

    def fields_of(self, event_type: str, payloads: Sequence[str]) -> list[dict[str, Any]]:
        """Return what `fields` does of many payloads of one event type."""
        reader = self._readers.get(event_type)
        return [{} for _ in payloads] if reader is None else reader.lenient_of(payloads)

    def _read_one(self, where: _Place, body: bytes) -> Accepted | Rejected:
        """Return one event."""
        try:
            wire = decode_event(body)
        except (msgspec.DecodeError, RecursionError) as error:
            foreign = read_any(where.mode, where.headers, body)
            return _undecodable(body, error) if foreign is None else self._read_foreign(where, body, foreign)
        payload = given(str(wire.payload, "utf-8"))
        if (flaw := _unfit(wire, payload, body)) is not None:
            return flaw
        judged = self._judge(where.bound, wire, payload, where.now, where.end)
        return judged if isinstance(judged, Accepted) else Rejected(*judged, body)

    def _read_foreign(self, where: _Place, body: bytes, foreign: RawEvent | Refusal | None) -> Accepted | Rejected:
        """Return one event that came as a CloudEvent; the subject says what it leaves out."""
        if isinstance(foreign, RawEvent):
            tenant, user = (name_of(one) if one else None for one in where.bound)
            envelope = foreign.envelope(tenant=tenant, user=user)
            if isinstance(envelope, bytes):
                found = self._read_one(where, envelope)
                if isinstance(found, Rejected):
                    return Rejected(found.reason, in_its_words(found.detail), body)
                return msgspec.structs.replace(found, envelope=envelope)
            foreign = envelope
        if foreign is None:
            raise AssertionError("the headers name a mode, and no event of it was read")
        return Rejected(foreign.reason, foreign.detail, body)

    def _judge(
        self, bound: Bound, wire: Wire, payload: str | None, now: int, end: str
    ) -> Accepted | tuple[Reason, str]:
        """Return an event whose texts are fit to be stored, or why it is none."""
        tenant, written = wire.tenant_id, wire.occurred_at
        moment = instant(written)
        if moment is None or len(written) > MAX_INSTANT_CHARACTERS:
            return Reason.INVALID_EVENT, "occurred_at: expected an RFC 3339 instant with an offset"
        if not bound.fits_tenant(tenant):
            return Reason.TENANT_MISMATCH, f"tenant_id: the subject says {bound.tenant or 'none'}; {self._right(wire)}"
        if not bound.fits_user(wire.user_id):
            return Reason.USER_MISMATCH, f"user_id: the subject says {bound.user or 'none'}; {self._right(wire)}"
        at, offset = moment
        if at > now + self._skew:
            return Reason.FROM_THE_FUTURE, f"occurred_at: {(at - now) // 1_000_000} s ahead of the clock"
        reader = self._readers.get(wire.event_type)
        fields = {} if reader is None else reader.strict(payload or "{}")
        if isinstance(fields, Fault):
            return Reason.CONTRACT, f"payload.{fields.field}: expected {fields.expected}, got {fields.got}"
        event = Event(tenant, wire.event_id, wire.event_type, wire.user_id, at, offset, fields)
        end = with_attribute(end, wire.region)
        return Accepted(event, row_of(event, written, wire.source, payload, end, usual=is_usual(written)))

    def _right(self, wire: Wire) -> str:
        """Return the subject that an event would have had to come on: its names may have had to be encoded."""
        subject = event_subject(self._prefix, wire.tenant_id, wire.user_id, wire.event_type)
        return f"expected the subject {subject}"


def element_of(body: bytes, element: int) -> bytes:
    """Return the bytes of one element of a message that is an array, and the whole of any other."""
    elements = _elements_of(body) if is_array(body) else body
    return elements[element] if isinstance(elements, list) else body


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


def _unfit(wire: Wire, payload: str | None, body: bytes) -> Rejected | None:
    """Return what is wrong with the whole, with ids or with the payload, the field first; or None."""
    if _too_deep(body):
        return Rejected(Reason.TOO_DEEP, f"nested deeper than {MAX_DEPTH}", body)
    if (flaw := _no_text(body)) is not None:
        return flaw
    if (name := too_long(wire)) is not None:
        return Rejected(Reason.INVALID_EVENT, f"{name}: longer than {MAX_ID_BYTES} bytes", body)
    if payload is not None and not is_object(payload):
        return Rejected(Reason.INVALID_EVENT, "payload: expected an object", body)
    return None


def _no_text(body: bytes) -> Rejected | None:
    if b"\\" in body and _NUL.search(body):
        return Rejected(Reason.INVALID_TEXT, "U+0000 cannot be stored", body)
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


def _has_envelope(body: bytes) -> bool:
    """Tell whether a body is our envelope, or an array with one in it."""
    elements = _elements_of(body) if is_array(body) else [body]
    return not isinstance(elements, Rejected) and any(map(_is_envelope, elements))


def _is_envelope(body: bytes) -> bool:
    try:
        decode_event(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


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
    while at < len(text) and text[at] in SPACE:
        at += 1
    return at


def _parses(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True
