"""An event as it travels: the fields of its JSON object, and the limits of what is read. Pure."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""The broker's own default limit."""
MAX_DEPTH: Final = 64
"""Objects and arrays around the innermost value of an event, itself included."""
MAX_ID_BYTES: Final = 512
"""UTF-8 bytes of each id, the event type and the source; three of them have to fit a key of the ledger's index."""
MAX_INSTANT_CHARACTERS: Final = 64
SPACE: Final = " \t\n\r"
"""What JSON allows between its tokens."""
UNSAID: Final = msgspec.Raw(b"")
"""A region that is not there: any JSON is read as one, since a bad one costs no event."""

_TEXTS: Final = ("event_id", "event_type", "user_id", "tenant_id", "source")
_NOTHING: Final = ("", "null")
_SPACE_BYTES: Final = SPACE.encode()

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class Wire(msgspec.Struct, frozen=True, gc=False):
    """One event as received; what else its object says is passed over."""

    event_id: _Text
    event_type: _Text
    user_id: _Text
    tenant_id: _Text
    occurred_at: str
    source: str | None = None
    payload: msgspec.Raw = msgspec.Raw(b"")
    region: msgspec.Raw = UNSAID


decode_event: Final = msgspec.json.Decoder(Wire).decode


def given(payload: str) -> str | None:
    """Return a payload, None where there is none."""
    return None if payload in _NOTHING else payload


def is_object(payload: str) -> bool:
    """Tell whether JSON is an object."""
    return payload[:1] == "{"


def is_array(body: bytes) -> bool:
    """Tell whether JSON is an array, if it is any."""
    return not body.startswith(b"{") and body.lstrip(_SPACE_BYTES).startswith(b"[")


def no_utf8(body: bytes) -> int | None:
    """Return where the first byte stands that is no UTF-8, None where all is well."""
    if body.isascii():
        return None
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def too_long(wire: Wire) -> str | None:
    """Return the name of the first text that no key has room for."""
    for name in _TEXTS:
        if len((getattr(wire, name) or "").encode()) > MAX_ID_BYTES:
            return name
    return None
