"""Many events of one user as a few bytes: how the archive keeps them. Pure.

A pack has its events in canonical order, column by column: instants and numbers as differences, byte plane by byte
plane, since the high ones are nearly always zero; texts joined by a character that PostgreSQL stores in no text. Both
are deflated, each by itself, as they have nothing in common. An id that is a UUID is its 16 bytes, or 9.5 where the
first six are the millisecond of `occurred_at` (version 7); these are random, and stay as they are.

The first byte is the version of the form: a reader that does not know it refuses the pack, and loses nothing. The last
four are a CRC: what is not as it was written is refused, too.
"""

from __future__ import annotations

import struct
import zlib
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

VERSION: Final = 1
MOST: Final = 512
"""Events of a pack: what a reader who wants one of them has to unpack."""

_END: Final = "\0"
_UUID, _TIMED = 32, 19
"""Digits that are kept of an id that is a UUID, and of one that begins with the millisecond of its event."""
_SEVENTH: Final = 7
"""The version of the latter."""
_WIDE: Final = 8
"""Bytes of a number that is unpacked."""
_LAGS, _STEPS = range(2)
"""What the instants are whose first byte says it."""
_SUM: Final = 4
"""Bytes of the CRC."""
_SEVEN_BITS: Final = 0x7F
_MILLISECOND: Final = 1000
_MOST_TIMED: Final = 2**48 * _MILLISECOND


EventRow = tuple[str, str, str, str, int, int, str | None]
"""Tenant, id, type, user, instant in microseconds, offset in seconds, payload."""


class PackedEvent(NamedTuple):
    """An event as the ledger has it, without tenant and user; instants in microseconds, the offset in seconds."""

    event_id: str
    event_type: str
    occurred_at: int
    utc_offset: int
    occurred_at_text: str | None
    source: str | None
    payload: str | None
    received_at: int
    stream_seq: int
    published_at: int | None
    region: str | None

    def row(self, tenant: str, user: str) -> EventRow:
        """Return what a fold needs of it."""
        return tenant, self.event_id, self.event_type, user, self.occurred_at, self.utc_offset, self.payload


class UnreadablePackError(Exception):
    """The bytes are no pack, or one that a later release has written."""


def pack_of(events: Sequence[PackedEvent]) -> bytes:
    """Return events of one user, in canonical order, as a pack."""
    ids, types, at, offsets, written, sources, payloads, received, seqs, published, regions = zip(*events, strict=True)
    kind, names = _packed_ids(ids, at)
    numbers = b"".join(
        (
            _plane(_steps(at)),
            _plane(_steps(offsets)),
            _received(at, received),
            _plane(_steps(seqs)),
            _plane([_transit(one, back) for one, back in zip(published, received, strict=True)]),
        )
    )
    columns: list[Iterable[str]] = [types, *map(_marked, (written, sources, payloads, regions))]
    texts = _END.join([text for column in (*columns, *([] if kind else [ids])) for text in column])
    parts = names, _deflated(numbers), _deflated(texts.encode())
    body = b"".join((bytes((VERSION, kind)), _number(len(events)), *(_number(len(part)) for part in parts), *parts))
    return body + zlib.crc32(body).to_bytes(_SUM, "big")


def unpack(body: bytes) -> list[PackedEvent]:
    """Return the events of a pack, in canonical order.

    Raises:
        UnreadablePackError: it is not as it was written, or of a later release.
    """
    found = _Found(memoryview(body))
    at, offsets = found.stepped(), found.stepped()
    received = found.received(at)
    seqs = found.stepped()
    published = [
        None if one == 0 else back + one - (one > 0) for one, back in zip(found.numbers(), received, strict=True)
    ]
    types, texts = found.texts(), [_unmarked(found.texts()) for _ in range(4)]
    written, sources, payloads, regions = texts
    ids = found.ids(at)
    rows = zip(
        ids, types, at, offsets, written, sources, payloads, received, seqs, published, regions, strict=True
    )  # fmt: skip
    return list(map(PackedEvent._make, rows))


def unpack_events(body: bytes, tenant: str, user: str) -> list[EventRow]:
    """Return what a fold needs of the events of a pack, in canonical order.

    Raises:
        UnreadablePackError: it is not as it was written, or of a later release.
    """
    found = _Found(memoryview(body))
    at, offsets, types = found.stepped(), found.stepped(), found.texts()
    payloads = found.texts(2)
    ids = found.ids(at)
    return [
        (tenant, event_id, event_type, user, when, offset, payload[1:] or None)
        for event_id, event_type, when, offset, payload in zip(ids, types, at, offsets, payloads, strict=True)
    ]


class _Found:
    """A pack whose columns are read one after the other."""

    def __init__(self, body: memoryview) -> None:
        if len(body) and body[0] != VERSION:
            raise UnreadablePackError(f"the archive has a pack of form {body[0]}; this release reads form {VERSION}")
        body, said = body[:-_SUM], body[-_SUM:]
        if zlib.crc32(body).to_bytes(_SUM, "big") != bytes(said):
            raise UnreadablePackError("the archive has a pack that is not as it was written")
        self._kind, place, sizes = body[1], 2, list[int]()
        for _ in range(4):
            size, place = _read_number(body, place)
            sizes.append(size)
        self._count, *lengths = sizes
        ends = list(accumulate(lengths, initial=place))
        self._names, numbers, texts = (body[begin:end] for begin, end in pairwise(ends))
        self._numbers = memoryview(zlib.decompress(numbers, -zlib.MAX_WBITS))
        self._place = 0
        self._said = zlib.decompress(texts, -zlib.MAX_WBITS).decode().split(_END)
        self._column = 0

    def texts(self, skip: int = 0) -> list[str]:
        """Return the next column of texts, behind some that are passed over."""
        begin = (self._column + skip) * self._count
        self._column += skip + 1
        return self._said[begin : begin + self._count]

    def ids(self, at: Sequence[int]) -> list[str]:
        """Return the ids, given the instants."""
        return _ids(self._names, self._kind, at) if self._kind else self._said[-self._count :]

    def stepped(self) -> list[int]:
        """Return the next column of numbers, which are differences."""
        return list(accumulate(self.numbers()))

    def received(self, at: Sequence[int]) -> list[int]:
        """Return the next column of numbers, which are instants."""
        self._place += 1
        if self._numbers[self._place - 1] == _STEPS:
            return self.stepped()
        return list(map(int.__add__, at, self.numbers()))

    def numbers(self) -> list[int]:
        """Return the next column of numbers."""
        first, place = _read_number(self._numbers, self._place)
        width, rest = self._numbers[place], self._count - 1
        begin = place + 1
        self._place = begin + width * rest
        if not width:
            made = [0] * rest
        else:
            raw = bytearray(_WIDE * rest)
            for plane in range(width):
                raw[plane::_WIDE] = self._numbers[begin + plane * rest : begin + (plane + 1) * rest]
            made = struct.unpack_from(f"<{rest}Q", raw)
        return [one >> 1 if not one & 1 else -(one + 1 >> 1) for one in (first, *made)]


# -- ids ---------------------------------------------------------------------------------------------------------------


def _packed_ids(ids: Sequence[str], at: Sequence[int]) -> tuple[int, bytes]:
    """Return how many digits are kept of each id, and these; 0 and none where one is not a UUID in its usual form."""
    try:
        numbers = [UUID(one) for one in ids]
    except ValueError:
        return 0, b""
    if any(str(number) != one for number, one in zip(numbers, ids, strict=True)):
        return 0, b""
    whole = [number.bytes for number in numbers]
    if all(one[:6] == _millisecond(when) and one[6] >> 4 == _SEVENTH for one, when in zip(whole, at, strict=True)):
        digits = "".join([one[6:].hex()[1:] for one in whole])
        return _TIMED, bytes.fromhex(digits + "0" * (len(digits) % 2))
    return _UUID, b"".join(whole)


def _millisecond(at: int) -> bytes:
    return (at // _MILLISECOND).to_bytes(6, "big") if 0 <= at < _MOST_TIMED else b""


def _ids(names: memoryview, kind: int, at: Sequence[int]) -> list[str]:
    text = names.hex()
    parts = [text[begin : begin + kind] for begin in range(0, kind * len(at), kind)]
    if kind == _TIMED:
        parts = [f"{when // _MILLISECOND:012x}{_SEVENTH}{part}" for when, part in zip(at, parts, strict=True)]
    return [f"{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}" for one in parts]


# -- numbers -----------------------------------------------------------------------------------------------------------


def _steps(column: Sequence[int]) -> list[int]:
    """Return the first number, and the difference of each other one to the one before."""
    return [column[0], *(after - before for before, after in pairwise(column))]


def _received(at: Sequence[int], received: Sequence[int]) -> bytes:
    """Return instants as differences to other ones, or, as after a backlog, to the one before."""
    lags = _plane([after - before for before, after in zip(at, received, strict=True)])
    steps = _plane(_steps(received))
    return bytes((_LAGS,)) + lags if len(lags) <= len(steps) else bytes((_STEPS,)) + steps


def _plane(column: Sequence[int]) -> bytes:
    """Return numbers of any sign: the first by itself, as it is the only large one, the others plane by plane."""
    first, *rest = [one * 2 if one >= 0 else -one * 2 - 1 for one in column]
    width = (max(rest, default=0).bit_length() + 7) // 8
    raw = b"".join([one.to_bytes(width, "little") for one in rest])
    return _number(first) + bytes((width,)) + b"".join([raw[plane::width] for plane in range(width)])


def _transit(published: int | None, received: int) -> int:
    """Return the time between, which is never zero: that stands for null."""
    return 0 if published is None else published - received + (published >= received)


def _number(value: int) -> bytes:
    """Return a number that is not negative, seven bits a byte."""
    found = bytearray()
    while value > _SEVEN_BITS:
        found.append(value & _SEVEN_BITS | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _read_number(body: memoryview, place: int) -> tuple[int, int]:
    """Return a number, and the place behind it."""
    value = shift = 0
    while body[place] & 0x80:
        value |= (body[place] & _SEVEN_BITS) << shift
        shift, place = shift + 7, place + 1
    return value | body[place] << shift, place + 1


# -- texts -------------------------------------------------------------------------------------------------------------


def _marked(column: Iterable[str | None]) -> list[str]:
    """Return texts that may be null: what is not begins with a mark."""
    return ["" if text is None else "=" + text for text in column]


def _unmarked(column: Iterable[str]) -> list[str | None]:
    return [text[1:] if text else None for text in column]


def _deflated(raw: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    return deflate.compress(raw) + deflate.flush()
