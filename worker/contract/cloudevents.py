"""CloudEvents 1.0 as events of our envelope. Pure, and total: no bytes and no headers raise anything.

An event is read in structured mode (one JSON object), as a JSON batch, or in binary mode (attributes in headers, the
data as body). What is read is an event that may lack its tenant and its user: on the stream the NATS subject says them,
over HTTP the key says the tenant. `envelope` puts them in, and makes the bytes that a producer of our envelope would
have sent.

    id, source    event_id `source#id`, the key of CloudEvents; `#` in the source is written `%23`, `%23` is `%2523`
    source        source
    type          event_type
    subject       user_id
    tenantid      tenant_id, an extension of ours
    time          occurred_at; an event without it is refused, since no clock but the producer's knows it
    data          payload, a JSON object or nothing

Other attributes and extensions are dropped, as are fields that our envelope does not name. Docs: docs/producing.md.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from worker.contract.fields import MAX_DEPTH, MAX_ID_BYTES, given, is_object, no_utf8
from worker.contract.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONTENT_TYPE: Final = "content-type"
STRUCTURED_TYPE: Final = "application/cloudevents+json"
BATCH_TYPE: Final = "application/cloudevents-batch+json"
PREFIX: Final = "ce-"
"""Of the headers of binary mode."""
SPECVERSION: Final = "specversion"
VERSION: Final = "1.0"
_JSON: Final = "application/json"

_STRUCTURED: Final = "application/cloudevents"
_BATCH: Final = "application/cloudevents-batch"
_CHARSETS: Final = ("utf-8", "utf8", "us-ascii")
_ATTRIBUTES: Final = (SPECVERSION, "id", "source", "type", "subject", "time", "tenantid", "datacontenttype")
THEIR_NAMES: Final = {
    "event_id": "id",
    "event_type": "type",
    "user_id": "subject",
    "tenant_id": "tenantid",
    "occurred_at": "time",
    "source": "source",
    "payload": "data",
}
_EMPTY: Final = "Expected `str` of length >= 1"
_CARRIED: Final = re.compile(r"ce-[a-z0-9]{1,64}|content-type", re.IGNORECASE)
_LINE_END: Final = re.compile("[\r\n]")
# What a producer that percent-encodes never writes: a space, a quote, anything beyond ASCII, or a lone percent sign.
_NOT_ENCODED: Final = re.compile(r"[^!#-~]|%(?![0-9A-Fa-f]{2})")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPE: Final = re.compile("%(?=(25)*23)")

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Attributes(msgspec.Struct, frozen=True, gc=False):
    """A CloudEvent in the JSON format; an attribute that is null is not there."""

    specversion: str
    id: _Text
    source: _Text
    type: _Text
    subject: _Text | None = None
    time: str | None = None
    tenantid: _Text | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: msgspec.Raw = msgspec.Raw(b"")


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    """Our envelope without its payload."""

    event_id: str
    event_type: str
    user_id: str
    tenant_id: str
    occurred_at: str
    source: str


_decode: Final = msgspec.json.Decoder(_Attributes).decode
_anything: Final = msgspec.json.Decoder(msgspec.Raw).decode
_elements: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_names: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


class Refusal(NamedTuple):
    """Why something is no event for us: the attribute at fault, "" for the whole, and what is wrong with it."""

    reason: Reason
    attribute: str
    problem: str

    @property
    def detail(self) -> str:
        """The whole in one line."""
        return f"CloudEvent {self.attribute}: {self.problem}" if self.attribute else f"CloudEvent: {self.problem}"


class RawEvent(msgspec.Struct, frozen=True, gc=False):
    """An event by the names of our envelope; tenant and user are None where the CloudEvent does not say them.

    `occurred_at` is as written, and `payload` JSON text of an object or None: what they say is not looked at.
    """

    event_id: str
    event_type: str
    occurred_at: str
    source: str
    user_id: str | None = None
    tenant_id: str | None = None
    payload: str | None = None

    def envelope(self, *, tenant: str | None = None, user: str | None = None) -> bytes | Refusal:
        """Return our envelope as JSON; `tenant` and `user` are for an event that does not say its own."""
        tenant_id, user_id = self.tenant_id or tenant, self.user_id or user
        if not tenant_id:
            return _invalid("tenantid", "missing, and nothing else says the tenant")
        if not user_id:
            return _invalid("subject", "missing; it names the user of the event")
        head = _encode(_Envelope(self.event_id, self.event_type, user_id, tenant_id, self.occurred_at, self.source))
        if self.payload is None:
            return head
        return b'%s,"payload":%s}' % (head[:-1], self.payload.encode())


class Mode(Enum):
    """How a message carries CloudEvents, by its headers."""

    STRUCTURED = "structured"
    BATCH = "batch"
    BINARY = "binary"


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with their names in lower case, as every function here expects them."""
    return {name.lower(): value for name, value in headers.items()}


def mode_of(headers: Mapping[str, str]) -> Mode | None:
    """Return the mode that headers (names in lower case) speak of; None where they speak of no CloudEvent.

    The content type goes first: an event in structured mode may repeat its attributes in headers.
    """
    media = _media(headers.get(CONTENT_TYPE, ""))
    if media.startswith(_BATCH):
        return Mode.BATCH
    if media.startswith(_STRUCTURED):
        return Mode.STRUCTURED
    return Mode.BINARY if PREFIX + SPECVERSION in headers else None


def read_any(mode: Mode | None, headers: Mapping[str, str], body: bytes) -> RawEvent | Refusal | None:
    """Return the event of a message on the stream, or of one element of it; None where it is no CloudEvent.

    `headers` are those of the message, their names in lower case; both readings of the NATS binding are known.
    """
    if mode is Mode.BINARY:
        return read_binary(headers, body, encoded=is_encoded(headers))
    if mode is not None:
        return refused_format(headers) or read_structured(body)
    return read_structured(body) if looks_structured(body) else None


def refused_format(headers: Mapping[str, str]) -> Refusal | None:
    """Return why a content type of CloudEvents is none that is read here: a format other than JSON."""
    media = _media(headers.get(CONTENT_TYPE, ""))
    if media in (_STRUCTURED, _BATCH, STRUCTURED_TYPE, BATCH_TYPE):
        return None
    return _invalid("", f"content type {media[:100]!r}; expected {STRUCTURED_TYPE} or {BATCH_TYPE}")


def in_its_words(detail: str) -> str:
    """Return what is wrong with our envelope in the words of the CloudEvent that it was made of."""
    field, colon, problem = detail.partition(":")
    name, dot, rest = field.partition(".")
    if name not in THEIR_NAMES:
        return detail
    # They have a subject of their own, which names the user.
    return f"CloudEvent {THEIR_NAMES[name]}{dot}{rest}{colon}{problem.replace('the subject ', 'the NATS subject ')}"


def looks_structured(body: bytes) -> bool:
    """Tell whether a body is a JSON object with a `specversion`: a CloudEvent, whatever its headers say.

    Names of our envelope have a `_`, which no attribute may have: no object is both.
    """
    if b'"specversion"' not in body:
        return False
    try:
        return SPECVERSION in _names(body)
    except (msgspec.DecodeError, RecursionError):
        return False


# -- structured mode and batches ---------------------------------------------------------------------------------------


def read_structured(body: bytes) -> RawEvent | Refusal:
    """Return the event of a JSON object."""
    if (at := no_utf8(body)) is not None:
        return Refusal(Reason.MALFORMED_JSON, "", f"no UTF-8: byte {at}")
    try:
        said = _decode(body)
    except msgspec.ValidationError as error:
        return _invalid(*_where(str(error)))
    except msgspec.DecodeError as error:
        return Refusal(Reason.MALFORMED_JSON, "", str(error))
    except RecursionError:
        return _nested()
    if given(str(said.data_base64, "utf-8")) is not None:
        return _invalid("data_base64", "binary data; expected `data`, a JSON object")
    return _event(said, given(str(said.data, "utf-8")))


def read_batch(body: bytes) -> list[RawEvent | Refusal] | Refusal:
    """Return what each element of a JSON array is, in their order."""
    elements = _split(body)
    return elements if isinstance(elements, Refusal) else [read_structured(bytes(one)) for one in elements]


def _split(body: bytes) -> list[msgspec.Raw] | Refusal:
    if (at := no_utf8(body)) is not None:
        return Refusal(Reason.MALFORMED_JSON, "", f"no UTF-8: byte {at}")
    try:
        return _elements(body)
    except msgspec.ValidationError:
        return Refusal(Reason.INVALID_EVENT, "", "a batch: expected a JSON array")
    except msgspec.DecodeError as error:
        return Refusal(Reason.MALFORMED_JSON, "", str(error))
    except RecursionError:
        return _nested()


# -- binary mode -------------------------------------------------------------------------------------------------------


def read_binary(headers: Mapping[str, str], body: bytes, *, encoded: bool = True) -> RawEvent | Refusal:
    """Return the event of headers (names in lower case) and a body.

    `encoded` tells whether values are percent-encoded, as the HTTP binding and the NATS binding have it.
    """
    values: dict[str, str] = {}
    for name in _ATTRIBUTES:
        value = headers.get(PREFIX + name)
        if value is None:
            continue
        text = _text(value, encoded=encoded)
        if not text:
            return _invalid(name, "empty" if text == "" else "no UTF-8")
        values[name] = text
    values.setdefault("datacontenttype", headers.get(CONTENT_TYPE, _JSON))
    try:
        said = msgspec.convert(values, _Attributes)
    except msgspec.ValidationError as error:
        lacking, problem = _where(str(error))
        return _invalid(lacking, f"{problem}; expected the header {PREFIX}{lacking}")
    if not body:
        return _event(said, None)
    data = _data(body) if _is_json(said.datacontenttype) else ""
    return data if isinstance(data, Refusal) else _event(said, data)


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Tell which reading of the NATS binding wrote headers: True for the specification's, which percent-encodes.

    The other, that of the Go SDK, writes values as they are, and the content type under `content-type` without a
    prefix. Where there is no content type at all, a value that no encoder writes tells.
    """
    if PREFIX + "datacontenttype" in headers:
        return True
    if CONTENT_TYPE in headers:
        return False
    return not any(_NOT_ENCODED.search(value) for name, value in headers.items() if name.startswith(PREFIX))


def carried(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that a message needs to be read as a CloudEvent again."""
    return {name: value for name, value in headers.items() if _CARRIED.fullmatch(name) and not _LINE_END.search(value)}


def _text(value: str, *, encoded: bool) -> str | None:
    """Return a header's value as text, without quotes around it; None where it is no UTF-8."""
    if encoded and len(value) > 1 and value.startswith('"') and value.endswith('"'):
        value = _ESCAPED.sub(r"\1", value[1:-1])
    try:
        written = value.encode()
        return (unquote_to_bytes(written) if encoded else written).decode()
    except UnicodeError:
        return None


def _data(body: bytes) -> str | Refusal:
    """Return a body that is one JSON value and nothing behind it."""
    if (at := no_utf8(body)) is not None:
        return Refusal(Reason.MALFORMED_JSON, "data", f"no UTF-8: byte {at}")
    try:
        return str(_anything(body), "utf-8")
    except msgspec.DecodeError as error:
        return Refusal(Reason.MALFORMED_JSON, "data", str(error))
    except RecursionError:
        return _nested()


# -- attributes to an event --------------------------------------------------------------------------------------------


def _event(said: _Attributes, data: str | None) -> RawEvent | Refusal:
    if said.specversion != VERSION:
        return _invalid(SPECVERSION, f"expected {VERSION}, got {said.specversion[:20]!r}")
    if said.time is None:
        return _invalid("time", "missing; an event needs the instant at which it occurred")
    if data is not None and not _is_json(said.datacontenttype):
        return _invalid("datacontenttype", f"expected application/json, got {(said.datacontenttype or '')[:100]!r}")
    data = given(data or "")
    if data is not None and not is_object(data):
        return _invalid("data", "expected a JSON object")
    event_id = f"{_escaped(said.source)}#{said.id}"
    if len(event_id.encode()) > MAX_ID_BYTES:
        return _invalid("id", f"longer than {MAX_ID_BYTES} bytes together with its source")
    return RawEvent(event_id, said.type, said.time, said.source, said.subject, said.tenantid, data)


def _escaped(source: str) -> str:
    """Return a source without `#`, so that the first `#` of an event id ends it; no two sources become one.

    What is an escape already gets a level more: `#`, `%23`, `%2523` become `%23`, `%2523`, `%252523`.
    """
    return _ESCAPE.sub("%25", source).replace("#", "%23")


def _is_json(content_type: str | None) -> bool:
    """Tell whether a content type is JSON in UTF-8; what is not said is."""
    if content_type is None:
        return True
    media, *parameters = content_type.lower().split(";")
    subtype = media.strip().partition("/")[2]
    charsets = [value.strip(' "') for name, _, value in _pairs(parameters) if name == "charset"]
    return (subtype == "json" or subtype.endswith("+json")) and all(charset in _CHARSETS for charset in charsets)


def _pairs(parameters: Iterable[str]) -> list[tuple[str, str, str]]:
    return [parameter.strip().partition("=") for parameter in parameters]


def _media(content_type: str) -> str:
    return content_type.split(";", 1)[0].strip().lower()


def _where(message: str) -> tuple[str, str]:
    """Return the attribute and the problem of what the decoder says."""
    said, _, place = message.partition(" - at `$.")
    if place:
        return place.rstrip("`"), "empty" if said == _EMPTY else f"{said[0].lower()}{said[1:]}"
    return (said.split("`")[1], "missing") if "missing required field" in said else ("", f"{said[0].lower()}{said[1:]}")


def _invalid(attribute: str, problem: str) -> Refusal:
    return Refusal(Reason.INVALID_EVENT, attribute, problem)


def _nested() -> Refusal:
    return Refusal(Reason.TOO_DEEP, "", f"nested deeper than {MAX_DEPTH}")
