"""The quick way of the contract: many events at once, all of them plain. Pure, and total: no bytes raise anything.

Nothing is refused here: where one of them asks for a closer look (worker/contract.py), none is read. Events that come
in a message each are read as one array, with a number between any two.
"""

from __future__ import annotations

import secrets
from itertools import repeat
from operator import sub
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

import msgspec

from dsl.event import Event
from dsl.payload import Fault, read_instants
from worker.partition import event_subjects, tenant_token, token
from worker.row import rows_of
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
    from dsl.types import Value

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
        return self._read(wires, joined, subjects, map(str, seqs), now)

    def array(self, subject: str, body: bytes, *, now: int, seq: int) -> Plain | None:
        """Return the events of an array as a whole, as `read` does; None where one of them needs its closer look."""
        if not is_array(body) or len(body) > MAX_MESSAGE_BYTES:
            return None
        wires = _decoded(_decode, body)
        if wires is None:
            return None
        return self._read(wires, body, repeat(subject), repeat(str(seq)), now)

    def _read(
        self, wires: Sequence[Wire], body: bytes, subjects: Iterable[str], seqs: Iterable[str], now: int
    ) -> Plain | None:
        texts = [str(wire.payload, "utf-8") for wire in wires]
        written = [wire.occurred_at for wire in wires]
        instants = read_instants(written)
        if instants is None or not (self._in_time(written, instants, now) and self._addressed(wires, subjects)):
            return None
        payloads = [given(text) for text in texts]
        if not (_are_objects(payloads) and _is_flat(body, texts)):
            return None
        fields = self._fields_of(wires, payloads)
        if fields is None:
            return None
        events = [
            Event(wire.tenant_id, wire.event_id, wire.event_type, wire.user_id, at, offset, read)
            for wire, (at, offset, _), read in zip(wires, instants, fields, strict=True)
        ]
        told = zip(written, [usual for _, _, usual in instants], strict=True)
        rows = rows_of(events, told, [wire.source for wire in wires], payloads, seqs)
        return Plain(events, rows) if _are_short(wires, rows, texts) else None

    def _in_time(self, written: Sequence[str], instants: Sequence[tuple[int, int, bool]], now: int) -> bool:
        """Tell whether instants are of the past, give or take the clocks' difference, and of any decent length."""
        if not instants:
            return True
        return max(instants)[0] <= now + self._skew and max(map(len, written)) <= MAX_INSTANT_CHARACTERS

    def _addressed(self, wires: Sequence[Wire], subjects: Iterable[str]) -> bool:
        """Tell whether no subject names another tenant than its event does."""
        tenant, begins = "", ""
        for wire, subject in zip(wires, subjects, strict=False):
            if wire.tenant_id != tenant:
                tenant = wire.tenant_id
                begins = event_subjects(self._prefix, tenant)
            if not subject.startswith(begins) and tenant_token(self._prefix, subject) not in {None, token(tenant)}:
                return False
        return True

    def _fields_of(self, wires: Sequence[Wire], payloads: Sequence[str | None]) -> list[dict[str, Value]] | None:
        """Return the fields of each; None where one breaks the contract of its type."""
        readers = self._readers
        found: list[dict[str, Value]] = []
        for wire, payload in zip(wires, payloads, strict=True):
            reader = readers.get(wire.event_type)
            fields = {} if reader is None else reader.strict(payload or "{}")
            if isinstance(fields, Fault):
                return None
            found.append(fields)
        return found


def _decoded(decode: Callable[[bytes], list[T]], body: bytes) -> list[T] | None:
    """Return an array's elements; None where text or form need a closer look."""
    if b"\\u0000" in body or no_utf8(body) is not None:
        return None
    try:
        return decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _are_objects(payloads: Iterable[str | None]) -> bool:
    """Tell whether payloads are objects, as far as there are any."""
    return all(payload is None or payload[:1] == "{" for payload in payloads)


def _are_short(wires: Iterable[Wire], rows: Iterable[str], payloads: Iterable[str]) -> bool:
    """Tell whether keys have room for everything in a row that is not its payload."""
    # No character takes more than four bytes: most texts need no counting.
    longest = max(map(sub, map(len, rows), map(len, payloads)), default=0)
    return longest <= MAX_ID_BYTES // 4 or all(too_long(wire) is None for wire in wires)


def _is_flat(body: bytes, payloads: Sequence[str]) -> bool:
    """Tell whether no element of an array, all of them events with these payloads, can be nested too deep."""
    brackets = len(body) - len(body.translate(None, b"{[")) - 1
    # An event has one at least, and with a payload two: all that is beyond that may be in one of them.
    least = len(payloads) + sum(map(is_object, payloads))
    if brackets - least <= MAX_DEPTH - 2:
        return True
    inner = [payload.count("{") + payload.count("[") for payload in payloads]
    outside = brackets - sum(inner) - len(payloads)
    return max(inner) + 1 + outside <= MAX_DEPTH
