"""Reads many plain events at once. Pure, and total: no bytes raise anything.

It refuses nothing: if one message needs a closer look, it reads none, and worker/contract/strict_reader.py reads all.
Events that come in a message each are read as one array, with a number between any two.

Measured and tried: docs/decisions/0008-hot-path/bulk-reader.md, shared-texts.md.
"""

from __future__ import annotations

from itertools import chain, repeat
from operator import sub
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

import msgspec

from dsl.event import Event
from dsl.payload import Fault, read_instants
from worker.contract.fields import (
    MAX_DEPTH,
    MAX_ID_BYTES,
    MAX_INSTANT_CHARACTERS,
    MAX_MESSAGE_BYTES,
    UNSAID,
    Wire,
    given,
    is_array,
    is_object,
    no_utf8,
    too_long,
)
from worker.contract.partition import are_tokens, bound_by, event_subjects, token
from worker.contract.row import rows_of
from worker.contract.transport import region_of, with_attribute

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.payload import Reader
    from dsl.types import Value

T = TypeVar("T")

_OTHERS: Final = 32
"""Characters of a row, at least, that are of none of its texts: marks, the offset and the instant."""

_LEAST: Final = len(b'{"":}')
"""Bytes of an object around another one, at least."""

_decode: Final = msgspec.json.Decoder(list[Wire]).decode
_decode_marked: Final = msgspec.json.Decoder(list[Wire | int]).decode


class Plain(NamedTuple):
    """Events that keep the contract, side by side with their rows."""

    events: list[Event]
    rows: list[str]
    sizes: list[int] | None = None
    """Number of events of each message, if messages are arrays; None if each is one event."""
    regions: AbstractSet[str] = frozenset()
    """All regions of the events, if some have an attribute of their own."""


class Recorded(NamedTuple):
    """Events of a recording, side by side with their ids, and all tenants and users among them."""

    events: list[Event]
    ids: list[str]
    tenants: AbstractSet[str]
    users: AbstractSet[str]


class PlainReader:
    """The contract under one rule set; see `Contract` for its arguments.

    `mark` stands between events that came in a message each, so no producer may know it: then no body can pass for two,
    and none can swallow its neighbour. Without one, such messages are read one by one.
    """

    def __init__(self, readers: Mapping[str, Reader], *, prefix: str, skew: int, mark: int | None) -> None:
        self._readers = readers
        self._quick = {name: reader.quick for name, reader in readers.items()}
        self._types = {name: name for name in readers}
        self._whole = {name: reader.whole or _in_steps(reader.quick) for name, reader in readers.items()}
        self._prefix = prefix
        self._skew = skew
        self._mark = mark
        self.between = b",%d," % (mark or 0)
        """What stands between messages of one event each that are read as one."""

    def read(
        self, subjects: Sequence[str], bodies: Sequence[bytes], *, now: int, ends: Sequence[str] | None
    ) -> Plain | None:
        """Return the events of messages, either all of them arrays or none; None if one needs a closer look.

        `now` is in microseconds, `ends` are those of the rows of each message, as in worker/contract/transport.py.
        Without ends no rows are made.
        """
        if not bodies or max(map(len, bodies)) > MAX_MESSAGE_BYTES:
            return None
        if not is_array(bodies[0]):
            return self._objects(subjects, bodies, now, ends)
        return self._arrays(subjects, bodies, now, ends) if all(map(is_array, bodies)) else None

    def _objects(
        self, subjects: Sequence[str], bodies: Sequence[bytes], now: int, ends: Sequence[str] | None
    ) -> Plain | None:
        """Read messages of one event each as one array, which costs half as much."""
        if self._mark is None and len(bodies) > 1:
            return None
        joined = b"[" + self.between.join(bodies) + b"]"
        wires = self._wires_of(joined, len(bodies))
        return None if wires is None else self._read(wires, (joined,), subjects, ends, now)

    def _wires_of(self, joined: bytes, number: int) -> list[Wire] | None:
        found = _decoded(_decode_marked, joined)
        if found is None or len(found) != 2 * number - 1 or found[1::2] != [self._mark] * (number - 1):
            return None
        wires = cast("list[Wire]", found[::2])
        return None if int in map(type, wires) else wires

    def read_joined(self, joined: bytes, number: int, longest: int, *, now: int) -> Recorded | None:
        """Return the events of some messages of one event each, without rows; None if one needs a closer look.

        They stand as one array with `between` between any two; `longest` is the size in bytes of the longest. Whose
        they are is not held against a subject: a recording has none.
        """
        if longest > MAX_MESSAGE_BYTES or (self._mark is None and number > 1):
            return None
        wires = self._wires_of(joined, number)
        if wires is None:
            return None
        written = [wire.occurred_at for wire in wires]
        instants = read_instants(written)
        if instants is None or not self._in_time(written, instants.at, now):
            return None
        fields = self._fields_within(wires)
        if fields is None or not (
            _is_too_short_to_be_deep(joined, longest) or _is_flat((joined,), _payloads_of(wires))
        ):
            return None
        tenants, houses = _one_of_each([wire.tenant_id for wire in wires])
        users, names = _one_of_each([wire.user_id for wire in wires])
        types = [self._types.get(wire.event_type, wire.event_type) for wire in wires]
        ids, sources = [wire.event_id for wire in wires], {wire.source or "" for wire in wires}
        if not _fit_keys(wires, (ids, types, names, houses, sources)):
            return None
        events = [*map(Event, tenants, ids, types, users, instants.at, instants.offset, fields)]
        return Recorded(events, ids, houses.keys(), names.keys())

    def _fields_within(self, wires: Sequence[Wire]) -> list[dict[str, Value]] | None:
        """Return the fields of each event; None if one breaks the contract of its type."""
        whole = self._whole
        try:
            return [whole.get(wire.event_type, _nothing_within)(wire.payload) for wire in wires]
        except msgspec.MsgspecError:
            payloads = _given_of(_payloads_of(wires))
            return None if payloads is None else self._strictly([wire.event_type for wire in wires], payloads)

    def _arrays(
        self, subjects: Iterable[str], bodies: Sequence[bytes], now: int, ends: Sequence[str] | None
    ) -> Plain | None:
        """Read arrays side by side, so that steps of a message are done once for all."""
        found = [_decoded(_decode, body) for body in bodies]
        arrays = [array for array in found if array is not None]
        if len(arrays) < len(bodies):
            return None
        wires, sizes = [*chain.from_iterable(arrays)], [*map(len, arrays)]
        of_each = None if ends is None else each_of(ends, sizes)
        plain = self._read(wires, bodies, each_of(subjects, sizes), of_each, now)
        return None if plain is None else plain._replace(sizes=sizes)

    def _read(
        self,
        wires: Sequence[Wire],
        arrays: Sequence[bytes],
        subjects: Iterable[str],
        ends: Iterable[str] | None,
        now: int,
    ) -> Plain | None:
        texts = [str(wire.payload, "utf-8") for wire in wires]
        written = [wire.occurred_at for wire in wires]
        instants = read_instants(written)
        if instants is None or not self._in_time(written, instants.at, now):
            return None
        tenants, houses = _one_of_each([wire.tenant_id for wire in wires])
        users, names = _one_of_each([wire.user_id for wire in wires])
        if not self._addressed(tenants, users, subjects, as_they_are=are_tokens(names)):
            return None
        payloads = _given_of(texts)
        if payloads is None or not _is_flat(arrays, texts):
            return None
        types = [self._types.get(wire.event_type, wire.event_type) for wire in wires]
        fields = self._fields_of(types, payloads)
        if fields is None:
            return None
        ids = [wire.event_id for wire in wires]
        events = [*map(Event, tenants, ids, types, users, instants.at, instants.offset, fields)]
        if ends is None:
            sources = {wire.source or "" for wire in wires}
            return Plain(events, []) if _fit_keys(wires, (ids, types, names, houses, sources)) else None
        named, regions = [wire.region for wire in wires], set[str]()
        if named.count(UNSAID) < len(named):
            ends = [*map(with_attribute, ends, named)]
            regions = set(map(region_of, ends))
        rows = rows_of(events, written, instants.usual, [wire.source for wire in wires], payloads, ends)
        return Plain(events, rows, regions=regions) if _are_short(wires, rows, texts) else None

    def _in_time(self, written: Sequence[str], instants: Sequence[int], now: int) -> bool:
        """Tell whether no instant is later than the clock and the skew allow, and none is written at great length."""
        if not instants:
            return True
        return max(instants) <= now + self._skew and max(map(len, written)) <= MAX_INSTANT_CHARACTERS

    def _addressed(
        self, tenants: Iterable[str], users: Iterable[str], subjects: Iterable[str], *, as_they_are: bool
    ) -> bool:
        """Tell whether every event is of the tenant and the user that its subject binds (worker/contract/partition.py).

        `as_they_are`: the token of each of these users is their name. Most are, and to look them up costs more.
        """
        prefix = self._prefix
        tenant, begins, anyones = "", "", ""
        for name, user, subject in zip(tenants, users, subjects, strict=False):
            # That of an array is the same for one element after another, and mostly binds no user.
            if subject is anyones and name is tenant:
                continue
            if name is not tenant:
                tenant, begins, anyones = name, event_subjects(prefix, name), ""
            if not subject.startswith(f"{begins}{user}." if as_they_are else f"{begins}{token(user)}."):
                bound = bound_by(prefix, subject)
                if not (bound.fits_tenant(name) and bound.fits_user(user)):
                    return False
                anyones = "" if bound.user is not None else subject
        return True

    def _fields_of(self, types: Sequence[str], payloads: Sequence[str | None]) -> list[dict[str, Value]] | None:
        """Return the fields of each payload; None if one breaks the contract of its type."""
        quick = self._quick
        try:
            # At most types nothing is left to do once a payload is decoded: a call less for each event.
            return [quick.get(name, _nothing)(payload or "{}") for name, payload in zip(types, payloads, strict=True)]
        except msgspec.MsgspecError:
            return self._strictly(types, payloads)

    def _strictly(self, types: Iterable[str], payloads: Iterable[str | None]) -> list[dict[str, Value]] | None:
        found: list[dict[str, Value]] = []
        for name, payload in zip(types, payloads, strict=True):
            reader = self._readers.get(name)
            fields = {} if reader is None else reader.strict(payload or "{}")
            if isinstance(fields, Fault):
                return None
            found.append(fields)
        return found


def _one_of_each(texts: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return texts, one object for all that are equal, and those objects.

    What many events share is found in the processor's cache.
    """
    known: dict[str, str] = {}
    return [*map(known.setdefault, texts, texts)], known


def _in_steps(quick: Callable[[str], dict[str, Value]]) -> Callable[[msgspec.Raw], dict[str, Value]]:
    """Return what reads the fields of a payload that may not be there, or be no object."""

    def fields(payload: msgspec.Raw) -> dict[str, Value]:
        text = given(str(payload, "utf-8"))
        if text is not None and not is_object(text):
            raise msgspec.ValidationError(text)
        return quick(text or "{}")

    return fields


def _payloads_of(wires: Iterable[Wire]) -> list[str]:
    return [str(wire.payload, "utf-8") for wire in wires]


def _nothing(payload: str) -> dict[str, Value]:
    """Return the fields of an event type that is not declared."""
    del payload
    return {}


_nothing_within: Final = _in_steps(_nothing)


def each_of(values: Iterable[T], sizes: Iterable[int]) -> Iterator[T]:
    """Yield each value as many times as its size says."""
    return chain.from_iterable(map(repeat, values, sizes))


def _decoded(decode: Callable[[bytes], list[T]], body: bytes) -> list[T] | None:
    """Return an array's elements; None if text or form need a closer look."""
    if (b"\\" in body and b"\\u0000" in body) or no_utf8(body) is not None:
        return None
    try:
        return decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _given_of(texts: Sequence[str]) -> Sequence[str | None] | None:
    """Return payloads, None for those that are not there; None where one is there and no object."""
    if {text[:1] for text in texts} == {"{"}:
        return texts
    payloads = [given(text) for text in texts]
    return payloads if all(payload is None or is_object(payload) for payload in payloads) else None


def _are_short(wires: Iterable[Wire], rows: Iterable[str], payloads: Iterable[str]) -> bool:
    """Tell whether keys have room for everything in a row that is not its payload."""
    # No character takes more than four bytes: most texts need no counting.
    longest = max(map(sub, map(len, rows), map(len, payloads)), default=0)
    return longest <= MAX_ID_BYTES // 4 + _OTHERS or all(too_long(wire) is None for wire in wires)


def _fit_keys(wires: Iterable[Wire], texts: Iterable[Collection[str]]) -> bool:
    """Tell whether keys have room for everything of some events; `texts` are all that becomes a part of one."""
    # No character takes more than four bytes: most texts need no counting.
    longest = max([max(map(len, some), default=0) for some in texts])
    return longest <= MAX_ID_BYTES // 4 or all(too_long(wire) is None for wire in wires)


def _inner(array: bytes) -> int:
    """Return how many brackets there may be within an array. To look for one costs a tenth of counting."""
    second = array.find(b"[", array.find(b"[") + 1)
    return 0 if second < 0 else array.count(b"[", second)


def _is_too_short_to_be_deep(joined: bytes, longest: int) -> bool:
    """Tell whether no object of an array can be nested too deep: it has no array, and `longest` bytes at the most."""
    return longest <= MAX_DEPTH * _LEAST and joined.find(b"[", 1) < 0


def _is_flat(arrays: Iterable[bytes], payloads: Sequence[str]) -> bool:
    """Tell whether no element of some arrays, all of them events with these payloads, can be nested too deep."""
    brackets = sum([array.count(b"{") + _inner(array) for array in arrays])
    # An event has one at least, and with a payload two: all that is beyond that may be in one of them.
    least = len(payloads) + sum(map(is_object, payloads))
    if brackets - least <= MAX_DEPTH - 2:
        return True
    inner = [payload.count("{") + payload.count("[") for payload in payloads]
    outside = brackets - sum(inner) - len(payloads)
    return max(inner) + 1 + outside <= MAX_DEPTH
