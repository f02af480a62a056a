"""What is kept of an event as received, and whether two of them say the same. Pure.

Measured and tried: docs/decisions/0008-hot-path/ledger.md.
"""

from __future__ import annotations

import json
from decimal import MAX_EMAX, Context, Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from worker.contract.fields import decode_event, given

if TYPE_CHECKING:
    from dsl.event import Event


_SHORT: Final = 18
"""Characters of an exponent that are an int at once."""


class Written(NamedTuple):
    """What is kept of an event as received."""

    occurred_at: str
    source: str | None
    payload: str | None


def written_of(body: bytes) -> Written:
    """Return what is kept as received of an event that was accepted; `body` is its own."""
    wire = decode_event(body)
    return Written(wire.occurred_at, wire.source, given(str(wire.payload, "utf-8")))


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
    digest: bytes | None = None
    """Of what was received, where pseudonyms stand for erased users by now: `digest_of`."""


def stored_body(event: Event, written: Written) -> StoredBody:
    """Return what the ledger will have under the id of an event."""
    return StoredBody(event.user, event.type, event.at, event.offset, written.source, written.payload)


def digest_of(event: Event, written: Written) -> bytes:
    """Return a digest (SHA-256) of an event as received: equal for those that `same_body` tells to be one."""
    said = [event.user, event.type, event.at, event.offset, written.source, _json(written.payload)]
    return sha256(json.dumps(said, sort_keys=True).encode()).digest()


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
    power = _sum(exponent or "0", len(digits) - len(kept) - len(fraction))
    return ("number", f"{'-' if text[0] == '-' else ''}{kept}e{power}")


def _sum(exponent: str, shift: int) -> str:
    """Return an exponent and a number added, however many digits a producer has written."""
    if len(exponent) <= _SHORT:
        return str(int(exponent) + shift)
    # Exact, and of time in proportion to its length, which an int of a million digits is not.
    return str(Context(prec=len(exponent) + _SHORT, Emax=MAX_EMAX).add(Decimal(exponent), shift))
