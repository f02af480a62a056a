"""The quick way of the contract: many events at once, all of them plain. Pure, and total: no bytes raise anything.

Nothing is refused here: where one of them asks for a closer look (worker/contract.py), none is read. Events that come
in a message each are read as one array, with a number between any two.
"""

from __future__ import annotations

import secrets
from itertools import repeat
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

import msgspec

from dsl.event import Event
from dsl.payload import Fault, is_usual, read_instant
from worker.partition import event_subjects, tenant_token, token
from worker.row import row_of
from worker.wire import (
    MAX_DEPTH,
    MAX_ID_BYTES,
    MAX_INSTANT_CHARACTERS,
    MAX_MESSAGE_BYTES,
    Wire,
    given,
    is_array,
    is_object,
    no_utf8,
    too_long,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dsl.payload import Reader

T = TypeVar("T")

_MARK: Final = secrets.randbits(62)
"""Stands between events that came in a message each. Nobody knows it beforehand: whatever the bodies hold, none passes
for two, and none swallows its neighbour."""
_BETWEEN: Final = b",%d," % _MARK

_decode: Final = msgspec.json.Decoder(list[Wire]).decode
_decode_marked: Final = msgspec.json.Decoder(list[Wire | int]).decode


class Plain(NamedTuple):
    """Events that keep the contract, side by side with their rows."""

    events: list[Event]
    rows: list[str]


class PlainReader:
    """The contract under one rule set; see `Contract` for what it is made of."""

    def __init__(self, readers: Mapping[str, Reader], *, prefix: str, skew: int) -> None:
        self._readers = readers
        self._prefix = prefix
        self._skew = skew

    def objects(
        self, subjects: Sequence[str], bodies: Sequence[bytes], *, now: int, seqs: Sequence[int]
    ) -> Plain | None:
        """Return the event of each of many messages, as `read` does; None where one of them needs its closer look.

        Read as one array, which costs half as much.
        """
        if not bodies or is_array(bodies[0]) or max(map(len, bodies)) > MAX_MESSAGE_BYTES:
            return None
        joined = b"[" + _BETWEEN.join(bodies) + b"]"
        found = _decoded(_decode_marked, joined)
        if found is None or len(found) != 2 * len(bodies) - 1 or found[1::2] != [_MARK] * (len(bodies) - 1):
            return None
        wires = cast("list[Wire]", found[::2])
        if int in map(type, wires):
            return None
        told = map(self._told, subjects, wires)
        return self._read(wires, joined, told, map(str, seqs), now)

    def array(self, subject: str, body: bytes, *, now: int, seq: int) -> Plain | None:
        """Return the events of an array as a whole, as `read` does; None where one of them needs its closer look."""
        if not is_array(body) or len(body) > MAX_MESSAGE_BYTES:
            return None
        wires = _decoded(_decode, body)
        if wires is None:
            return None
        told = tenant_token(self._prefix, subject)
        return self._read(wires, body, repeat(told), repeat(str(seq)), now)

    def _read(
        self, wires: Sequence[Wire], body: bytes, told: Iterable[str | None], seqs: Iterable[str], now: int
    ) -> Plain | None:
        payloads = [str(wire.payload, "utf-8") for wire in wires]
        if not _is_flat(body, payloads):
            return None
        readers, latest = self._readers, now + self._skew
        events: list[Event] = []
        rows: list[str] = []
        for wire, payload, other, seq in zip(wires, payloads, told, seqs, strict=False):
            tenant, event_type, written = wire.tenant_id, wire.event_type, wire.occurred_at
            usual = is_usual(written)
            moment = read_instant(written, usual=usual)
            if moment is None or moment[0] > latest or len(written) > MAX_INSTANT_CHARACTERS:
                return None
            if other is not None and other != token(tenant):
                return None
            kept = given(payload)
            if kept is not None and not is_object(kept):
                return None
            at, offset = moment
            reader = readers.get(event_type)
            fields = {} if reader is None else reader.strict(kept or "{}")
            if isinstance(fields, Fault):
                return None
            event = Event(tenant, wire.event_id, event_type, wire.user_id, at, offset, fields)
            row = row_of(event, written, wire.source, kept, seq, usual=usual)
            # No character takes more than four bytes: most texts need no counting.
            if len(row) - len(payload) > MAX_ID_BYTES // 4 and too_long(wire) is not None:
                return None
            events.append(event)
            rows.append(row)
        return Plain(events, rows)

    def _told(self, subject: str, wire: Wire) -> str | None:
        """Return the tenant's token of a subject, where that may be another than the event's."""
        if subject.startswith(event_subjects(self._prefix, wire.tenant_id)):
            return None
        return tenant_token(self._prefix, subject)


def _decoded(decode: Callable[[bytes], list[T]], body: bytes) -> list[T] | None:
    """Return an array's elements; None where text or form need a closer look."""
    if b"\\u0000" in body or no_utf8(body) is not None:
        return None
    try:
        return decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _is_flat(body: bytes, payloads: Sequence[str]) -> bool:
    """Tell whether no element of an array, all of them events with these payloads, can be nested too deep."""
    brackets = body.count(b"{") + body.count(b"[") - 1
    # An event has one at least, and with a payload two: all that is beyond that may be in one of them.
    least = len(payloads) + sum(map(is_object, payloads))
    if brackets - least <= MAX_DEPTH - 2:
        return True
    inner = [payload.count("{") + payload.count("[") for payload in payloads]
    outside = brackets - sum(inner) - len(payloads)
    return max(inner) + 1 + outside <= MAX_DEPTH
